"""Rules in shadow: judged as if enforced, and refusing nothing."""

from __future__ import annotations

from typing import Any

import pytest

from guard.engine.decision import Decision
from guard.engine.state import Loop, Quota, Repeats
from guard.tests.edge import Edge

RULES: list[tuple[str, dict[str, Any], str]] = [
    (
        "requests.subscription.minute",
        {"requests_per_minute": 2},
        "requests.subscription.minute",
    ),
    (
        "tokens.subscription.minute",
        {"tokens_per_minute": 11},
        "tokens.subscription.minute",
    ),
    (
        "quota.subscription.period",
        {"quotas": (Quota(metric="tokens", limit=11, on_exceed="deny"),)},
        "quota.subscription.period|tokens",
    ),
    (
        "quota.subscription.period",
        {"quotas": (Quota(metric="tokens", limit=11, on_exceed="throttle"),)},
        "quota.subscription.period|tokens",
    ),
    (
        "spend_cap.subscription.period",
        {"spend_cap": 110},
        "spend_cap.subscription.period",
    ),
    (
        "spend_cap.customer.period",
        {"customer": {"spend_cap": 110}},
        "spend_cap.customer.period",
    ),
    (
        "loop.call.window",
        {"loop": Loop(same_call=Repeats(count=2, seconds=60))},
        "loop.call.window",
    ),
    ("loop.agent.streak", {"loop": Loop(errors=3)}, "loop.agent.streak"),
]
ASKED = {
    "tokens": 5,
    "amount_micros": 50,
    "tool": "search",
    "args_hash": "a",
    "last_tool_status": "error",
}


def stopped(decision: Decision) -> list[str]:
    """Return what stopped or slowed a call."""
    return [decision.reason] if decision.reason else []


@pytest.mark.parametrize(("reason", "limits", "code"), RULES)
def test_it_would_stop_what_it_stops_when_enforced(
    edge: Edge, reason: str, limits: dict[str, Any], code: str
) -> None:
    edge.project(**limits)
    enforced = [stopped(edge.ask(**ASKED)) for _ in range(4)]
    assert enforced == [[], [], [reason], [reason]]
    watched = Edge(edge.client)
    watched.project(**limits, shadow={code: True})
    seen = [watched.ask(**ASKED) for _ in range(4)]
    assert [stopped(one) for one in seen] == [[]] * 4
    assert [[rule.name for rule in one.shadow] for one in seen] == enforced
    assert all(one.decision_id for one in seen)
    for one in seen:
        assert reason not in {limit.name for limit in one.limits}
        for rule in one.shadow:
            assert rule.limit in {2, 3, 11, 110}
            assert rule.used <= rule.limit or reason.startswith(("quota", "spend"))


def test_a_rate_in_shadow_counts_only_what_it_would_let_pass(edge: Edge) -> None:
    edge.project(requests_per_minute=3, shadow={"requests.subscription.minute": True})
    hits = [len(edge.ask().shadow) for _ in range(9)]
    assert hits == [0, 0, 0] + [1] * 6
    edge.config_version += 1
    edge.project(requests_per_minute=4)
    assert edge.verdict() == "allow"
    assert edge.verdict() == "requests.subscription.minute"


def test_only_the_named_quota_is_in_shadow(edge: Edge) -> None:
    quotas = tuple(
        Quota(metric=metric, limit=0, on_exceed="deny")
        for metric in ("tokens", "pages")
    )
    edge.project(quotas=quotas, shadow={"quota.subscription.period|tokens": True})
    refused = edge.ask()
    assert refused.binding is not None
    assert refused.binding.unit == "pages"


def test_what_another_rule_refuses_would_not_be_stopped_by_shadow(edge: Edge) -> None:
    edge.project(
        requests_per_minute=0,
        customer={"spend_cap": 0},
        shadow={"requests.subscription.minute": True},
    )
    refused = edge.ask()
    assert refused.reason == "spend_cap.customer.period"
    assert refused.shadow == ()


def test_a_replay_is_not_judged_again(edge: Edge) -> None:
    edge.project(spend_cap=10, shadow={"spend_cap.subscription.period": True})
    first = edge.ask(request_id="r", amount_micros=20)
    again = edge.ask(request_id="r", amount_micros=20)
    assert [len(first.shadow), len(again.shadow)] == [1, 0]


def test_retries_are_judged_on_a_replay(edge: Edge) -> None:
    edge.project(
        loop=Loop(retries=Repeats(count=1, seconds=60)),
        shadow={"loop.request.window": True},
    )
    asked = [edge.ask(request_id="r") for _ in range(3)]
    assert [len(one.shadow) for one in asked] == [0, 0, 1]
    assert [one.replayed for one in asked] == [False, True, True]


def test_a_bill_only_quota_stops_nothing_in_shadow_either(edge: Edge) -> None:
    edge.project(
        quotas=(Quota(metric="tokens", limit=1, on_exceed="bill"),),
        shadow={"quota.subscription.period|tokens": True},
    )
    assert edge.ask(tokens=5).shadow == ()
