"""Holds are summed in every scope, so that a limit set later sees what is in flight."""

from __future__ import annotations

import time
from typing import Any

import pytest

from guard.engine import hold, keys, settle
from guard.engine.decision import Decision
from guard.engine.state import Quota
from guard.tests.edge import Edge

SESSION = "a session's own name"
CALL: dict[str, Any] = {
    "request_id": "r",
    "amount_micros": 60,
    "tokens": 9,
    "units": {"pages": 4},
    "session": SESSION,
}
# Every sum that CALL moves.
MOVED = {
    b"n": 1,
    b"m": 60,
    b"sub_1": 60,
    b"agt_1": 60,
    b"tem_1": 60,
    keys.session_sum_field(SESSION): 60,
    keys.unit_sum_field("sub_1", "tokens").encode(): 9,
    keys.unit_sum_field("sub_1", "requests").encode(): 1,
    keys.unit_sum_field("sub_1", "pages").encode(): 4,
}


def sums(edge: Edge) -> dict[bytes, int]:
    raw: Any = edge.client.hgetall(keys.hold_keys(edge.tag)[2])
    return {name: int(value) for name, value in raw.items()}


def pages(limit: int) -> dict[str, Any]:
    return {"quotas": (Quota(metric="pages", limit=limit, on_exceed="deny"),)}


def test_a_hold_is_summed_in_every_scope_though_nothing_is_limited(edge: Edge) -> None:
    edge.project()
    edge.ask(**CALL)
    assert sums(edge) == MOVED


def test_a_call_without_agent_session_and_money_moves_what_there_is(edge: Edge) -> None:
    edge.project()
    edge.ask(digest="", tenant_id="ten_acme", amount_micros=0)
    assert sums(edge) == {b"n": 1, b"sub_1|requests": 1}


@pytest.mark.parametrize(
    ("_case", "limits", "reason"),
    [
        ("customer cap", {"customer": {"spend_cap": 70}}, "spend_cap.customer.period"),
        ("agent cap", {"agent": {"spend_cap": 70}}, "spend_cap.agent.period"),
        ("team cap", {"agent": {"team_spend_cap": 70}}, "spend_cap.team.period"),
        ("plan cap", {"spend_cap": 70}, "spend_cap.subscription.period"),
        ("quota", pages(5), "quota.subscription.period"),
        ("wallet", {"wallet": True}, "wallet.customer.balance"),
    ],
)
def test_a_limit_set_while_a_call_is_in_flight_sees_it(
    edge: Edge, _case: str, limits: dict[str, Any], reason: str
) -> None:
    edge.project()
    edge.total(available=70)
    edge.ask(**CALL)
    edge.config_version = 2
    edge.project(**limits)
    again = {**CALL, "request_id": "s", "amount_micros": 11, "units": {"pages": 2}}
    assert edge.verdict(**again) == reason


def ended_by_release(edge: Edge, decision: Decision) -> None:
    hold.release(edge.client, hold.HoldId(edge.tag, decision.hold_key))


def ended_by_usage(edge: Edge, _decision: Decision) -> None:
    edge.total(version=2, settled=["r"])


def ended_by_an_old_version(edge: Edge, _decision: Decision) -> None:
    edge.total(version=0, settled=["r"])


@pytest.mark.parametrize(
    "end", [ended_by_release, ended_by_usage, ended_by_an_old_version]
)
def test_an_ended_hold_leaves_no_sum_behind(edge: Edge, end: Any) -> None:
    edge.project()
    end(edge, edge.ask(**CALL))
    assert sums(edge) == {}


def test_a_hold_that_ran_out_leaves_no_sum_behind(edge: Edge) -> None:
    edge.project(max_call_s=-59)
    edge.ask(**CALL)
    edge.config_version = 2
    edge.project(max_call_s=900, customer={"spend_cap": 100})
    assert edge.verdict(amount_micros=50) == "spend_cap.customer.period"
    time.sleep(1.05)
    assert edge.verdict(amount_micros=50, tokens=1, session="t") == "allow"
    assert sums(edge) == {
        b"n": 1,
        **dict.fromkeys((b"m", b"sub_1", b"agt_1", b"tem_1"), 50),
        keys.session_sum_field("t"): 50,
        b"sub_1|tokens": 1,
        b"sub_1|requests": 1,
    }


def test_a_refused_check_also_returns_what_ran_out(edge: Edge) -> None:
    edge.project(max_call_s=-59)
    edge.ask(**CALL)
    time.sleep(1.05)
    edge.config_version = 2
    edge.project(customer={"spend_cap": 0})
    assert edge.verdict(amount_micros=1) == "spend_cap.customer.period"
    assert sums(edge) == {}


def test_a_recount_makes_every_sum_anew_and_counts_those_that_were_wrong(
    edge: Edge,
) -> None:
    edge.project()
    edge.ask(**CALL)
    key = keys.hold_keys(edge.tag)[2]
    edge.client.hincrby(key, "agt_1", 7)
    edge.client.hdel(key, "tem_1")
    edge.client.hset(key, "agt_gone", 3)
    assert settle.recount(edge.client, edge.tag) == settle.Recounted(1, 60, 0, 3)
    assert sums(edge) == MOVED
    assert settle.recount(edge.client, edge.tag) == settle.Recounted(1, 60, 0, 0)


def test_holds_beyond_the_stack_of_lua_are_summed_and_returned(edge: Edge) -> None:
    edge.project()
    requests = [f"r{number}" for number in range(300)]
    for number, request_id in enumerate(requests):
        units = {f"unit {number} {i}": 1 for i in range(32)}
        edge.ask(request_id=request_id, session=f"s{number}", units=units)
    assert len(sums(edge)) == 300 * 33 + 6
    assert edge.total(version=2, settled=requests).settled == 300
    assert sums(edge) == {}


def test_no_words_of_a_caller_name_a_field(edge: Edge) -> None:
    edge.project()
    edge.ask(session="Mind's session", units={"my pages": 3}, request_id="my request")
    names: list[Any] = []
    for key in keys.customer_keys(edge.tag)[2:]:
        if edge.client.type(key) == b"hash":
            names += edge.client.hkeys(key)
    assert len(names) > 8
    assert [name for name in names if b"m" in name and b"y " in name] == []


@pytest.mark.parametrize("unit", ["tokens", "requests", "pages", "é", "x" * 80, "|"])
def test_script_and_names_agree_on_a_unit(edge: Edge, unit: str) -> None:
    edge.project()
    edge.ask(tokens=1, units={unit: 1})
    assert keys.unit_sum_field("sub_1", unit).encode() in sums(edge)
