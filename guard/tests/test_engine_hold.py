from __future__ import annotations

import time
from typing import Any

import pytest

from guard.engine import hold, keys, settle
from guard.engine.decision import Decision
from guard.engine.state import Quota
from guard.tests.edge import Edge

CAP: dict[str, Any] = {"customer": {"spend_cap": 100}}


def hold_of(edge: Edge, decision: Decision) -> hold.HoldId:
    return hold.HoldId(edge.tag, decision.hold_key)


def test_a_release_frees_what_was_reserved(edge: Edge) -> None:
    edge.project(**CAP)
    first = edge.ask(amount_micros=100)
    assert edge.verdict(amount_micros=1) == "spend_cap.customer.period"
    assert hold.release(edge.client, hold_of(edge, first)) == "released"
    assert edge.verdict(amount_micros=100) == "allow"


def test_a_release_happens_once(edge: Edge) -> None:
    edge.project(**CAP)
    first = edge.ask(amount_micros=50)
    edge.ask(amount_micros=50)
    assert hold.release(edge.client, hold_of(edge, first)) == "released"
    assert hold.release(edge.client, hold_of(edge, first)) == "before"
    assert hold.release(edge.client, hold_of(edge, first)) == "before"
    assert edge.ask(amount_micros=1).limits[0].used == 51


def test_a_settled_hold_is_not_released(edge: Edge) -> None:
    edge.project(**CAP)
    first = edge.ask(request_id="r", amount_micros=50)
    edge.total(version=2, spend=25, settled=["r"])
    assert hold.release(edge.client, hold_of(edge, first)) == "used"
    assert edge.ask(amount_micros=1).limits[0].used == 26


def test_usage_that_comes_after_a_release_settles(edge: Edge) -> None:
    edge.project(**CAP)
    first = edge.ask(request_id="r", amount_micros=50)
    hold.release(edge.client, hold_of(edge, first))
    edge.total(version=2, spend=25, settled=["r"])
    assert hold.release(edge.client, hold_of(edge, first)) == "used"
    assert edge.ask(amount_micros=1).limits[0].used == 26


def test_a_hold_that_ran_out_is_not_released(edge: Edge) -> None:
    edge.project(max_call_s=-59, **CAP)
    first = edge.ask(amount_micros=30)
    time.sleep(1.05)
    assert hold.release(edge.client, hold_of(edge, first)) == "used"
    assert hold.release(edge.client, hold_of(edge, first)) == "used"
    assert edge.ask(amount_micros=1).limits[0].used == 1


def test_an_unknown_hold_is_unknown(edge: Edge) -> None:
    edge.project()
    assert hold.release(edge.client, hold.HoldId(edge.tag, b"0" * 16)) == "unknown"


def test_a_hold_is_released_by_its_own_decision_only(edge: Edge) -> None:
    edge.project()
    first = edge.ask()
    place = hold_of(edge, first)
    assert hold.release(edge.client, place, decision_id="dec_x") == "unknown"
    assert hold.release(edge.client, place, decision_id=first.decision_id) == "released"


def test_a_request_id_cannot_be_used_after_its_release(edge: Edge) -> None:
    edge.project()
    hold.release(edge.client, hold_of(edge, edge.ask(request_id="r")))
    assert edge.verdict(request_id="r") == "request_id.used"


def test_a_hold_expires_by_itself_and_its_request_id_is_used(edge: Edge) -> None:
    edge.project(max_call_s=-59, **CAP)
    edge.ask(request_id="r", amount_micros=100)
    assert edge.verdict(amount_micros=1) == "spend_cap.customer.period"
    time.sleep(1.05)
    assert edge.verdict(request_id="r", amount_micros=1) == "request_id.used"
    assert edge.ask(amount_micros=30).limits[0].used == 30
    assert edge.verdict(request_id="r", amount_micros=1) == "request_id.used"


def test_a_hold_lives_for_the_longest_call_and_a_minute(edge: Edge) -> None:
    edge.project(max_call_s=900)
    decision = edge.ask()
    assert decision.hold_until_ms - decision.now_ms == 960_000


def test_settling_replaces_the_hold_by_the_real_amount(edge: Edge) -> None:
    edge.project(**CAP)
    edge.ask(request_id="r", amount_micros=60)
    told = edge.total(version=2, spend=25, settled=["r"])
    assert (told.totals, told.settled) == (True, 1)
    decision = edge.ask(amount_micros=1)
    assert decision.limits[0].used == 26
    assert edge.verdict(request_id="r") == "request_id.used"


def test_settling_gives_back_quota_and_plan_cap(edge: Edge) -> None:
    edge.project(
        spend_cap=100, quotas=(Quota(metric="tokens", limit=10, on_exceed="deny"),)
    )
    edge.ask(request_id="r", amount_micros=60, tokens=9)
    edge.total(version=2, sub_spend=5, tokens=2, settled=["r"])
    decision = edge.ask(amount_micros=1, tokens=1)
    assert [one.used for one in decision.limits] == [3, 6]


def test_settling_twice_gives_back_once(edge: Edge) -> None:
    edge.project(**CAP)
    edge.ask(request_id="r", amount_micros=60)
    edge.ask(amount_micros=20)
    edge.total(version=2, spend=25, settled=["r"])
    assert edge.total(version=2, spend=25, settled=["r"]).settled == 0
    assert edge.ask(amount_micros=1).limits[0].used == 46


def test_a_check_after_its_usage_reserves_nothing(edge: Edge) -> None:
    edge.project(**CAP)
    edge.total(version=2, spend=25, settled=["late"])
    assert edge.verdict(request_id="late", amount_micros=5) == "request_id.used"
    assert edge.ask(amount_micros=1).limits[0].used == 26


def test_an_older_version_changes_no_total_and_still_settles(edge: Edge) -> None:
    edge.project(**CAP)
    edge.ask(request_id="r", amount_micros=60)
    edge.total(version=7, spend=50)
    told = edge.total(version=6, spend=10, settled=["r"])
    assert told == settle.Projected(config=False, totals=False, settled=1)
    assert edge.ask(amount_micros=1).limits[0].used == 51


def test_the_same_version_may_be_written_again(edge: Edge) -> None:
    edge.project(**CAP)
    edge.total(version=7, spend=50)
    assert edge.total(version=7, spend=51).totals
    assert edge.ask(amount_micros=1).limits[0].used == 52


def test_versions_are_compared_as_numbers(edge: Edge) -> None:
    edge.project(**CAP)
    edge.total(version=9, spend=1)
    assert edge.total(version=10, spend=2).totals
    assert not edge.total(version=9, spend=1).totals


def test_an_older_configuration_does_not_come_back(edge: Edge) -> None:
    edge.config_version = 5
    edge.project(credential={"revoked": True})
    edge.config_version = 4
    assert not edge.project().config
    assert edge.verdict() == "credential.revoked"


def test_a_repair_replaces_newer_state(edge: Edge) -> None:
    edge.project()
    edge.total(version=9, spend=1)
    totals: Any = edge.client.hget(keys.totals_key(edge.tag), "cust")
    fields = {"cust": totals}
    repair = settle.State(edge.tag, version=3, totals=fields, repair=True)
    assert settle.project(edge.client, repair).totals
    assert edge.client.hget(keys.totals_key(edge.tag), "v") == b"3"


def test_a_configuration_of_10000_fields_is_written_whole(edge: Edge) -> None:
    many = {f"c:{n}": b"x" for n in range(10_000)}
    settle.project(edge.client, settle.State(edge.tag, config_version=1, config=many))
    assert edge.client.hlen(keys.config_key(edge.tag)) == 10_001


def test_fields_that_are_gone_from_the_record_are_gone_from_the_edge(
    edge: Edge,
) -> None:
    edge.project()
    edge.digest, edge.config_version = "f" * 64, 2
    edge.project()
    assert edge.verdict(digest="d" * 64) == "credential.unknown"


def test_a_recount_repairs_what_is_in_flight(edge: Edge) -> None:
    edge.project(**CAP)
    edge.ask(amount_micros=30)
    edge.ask(amount_micros=12)
    assert settle.recount(edge.client, edge.tag) == settle.Recounted(2, 42, 0, 0)
    edge.client.delete(keys.hold_keys(edge.tag)[2])
    assert settle.recount(edge.client, edge.tag) == settle.Recounted(2, 42, -42, 6)
    assert edge.ask(amount_micros=1).limits[0].used == 43


def test_a_recount_drops_what_ran_out(edge: Edge) -> None:
    edge.project(max_call_s=-59, **CAP)
    edge.ask(request_id="r", amount_micros=30)
    time.sleep(1.05)
    assert settle.recount(edge.client, edge.tag) == settle.Recounted(0, 0, 0, 0)
    assert edge.verdict(request_id="r") == "request_id.used"


def test_a_hold_id_leads_back_to_its_place() -> None:
    place = hold.HoldId("abcdefghijkl", bytes(range(16)))
    assert hold.parse_hold_id(str(place)) == place


@pytest.mark.parametrize(
    "text",
    ["", "hld_", "hld_ABC", f"hld_{'a' * 38}x", f"cus_{'a' * 38}", "hld_" + "1" * 38],
)
def test_what_is_no_hold_id_is_none(text: str) -> None:
    assert hold.parse_hold_id(text) is None
