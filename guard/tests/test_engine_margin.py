"""What the script makes of margins and spend levels."""

from __future__ import annotations

from typing import Any, cast

import pytest

from guard import wording
from guard.asking import Ask
from guard.engine import settle, state
from guard.engine.decision import Decision, Outcome
from guard.tests.edge import PRODUCT, Edge, now_ms

WARN, THROTTLE, BLOCK = 1, 2, 3


def stand(edge: Edge, *, ends_in_ms: int = 3_600_000, **more: Any) -> None:
    """Project totals with margins or levels."""
    customer = state.CustomerTotals(spend=0, ends_at=now_ms() + ends_in_ms, available=0)
    fields = state.totals_fields(customer=customer, subscriptions={}, **more)
    settle.project(
        edge.client, settle.State(edge.tag, version=edge.version, totals=fields)
    )


def told(decision: Decision, edge: Edge) -> wording.Answer:
    ask = cast(Ask, {"request_id": "r"})
    return wording.answer(decision, ask, edge.tag)


SUBJECTS = [
    ("sub_1", "subscription"),
    ("cus_bob", "customer"),
    ("agt_1", "agent"),
    (PRODUCT, "product"),
]


@pytest.mark.parametrize(("subject", "scope"), SUBJECTS)
def test_a_blocked_margin_refuses_and_moves_nothing(
    edge: Edge, subject: str, scope: str
) -> None:
    edge.project()
    stand(edge, margins={subject: (BLOCK, 0)})
    decision = edge.ask()
    assert (decision.outcome, decision.reason) == (
        Outcome.DENY,
        f"margin.{scope}.period",
    )
    assert decision.facts is not None
    assert decision.facts.margin_level == "block"
    assert edge.client.keys("*:hold") == edge.client.keys("*:win") == []
    answer = told(decision, edge)
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "60"
    assert b'"title":"Margin Limit Exceeded"' in answer.body
    # The figures are the seller's.
    assert b"%" not in answer.body


def test_a_throttled_margin_proceeds_with_the_cheaper_model(edge: Edge) -> None:
    edge.project(throttle_model="gpt-4o-mini")
    stand(edge, margins={"cus_bob": (WARN, 0), "agt_1": (THROTTLE, 0)})
    decision = edge.ask()
    assert (decision.outcome, decision.reason) == (
        Outcome.THROTTLE,
        "margin.agent.period",
    )
    headers = told(decision, edge).headers
    assert headers["X-Aforo-Throttle"] == "true"
    assert headers["X-Aforo-Throttle-Reason"] == "margin.agent.period"
    assert headers["X-Aforo-Throttle-Model"] == "gpt-4o-mini"


def test_a_warned_margin_proceeds_and_is_told(edge: Edge) -> None:
    edge.project()
    stand(edge, margins={"sub_1": (WARN, 0)})
    decision = edge.ask()
    assert (decision.outcome, decision.reason) == (Outcome.ALLOW, None)
    assert b'"margin_level":"warn"' in told(decision, edge).body


def test_the_hardest_of_several_binds(edge: Edge) -> None:
    edge.project()
    stand(edge, margins={"sub_1": (THROTTLE, 0), "cus_bob": (BLOCK, 0)})
    assert edge.verdict() == "margin.customer.period"


def test_a_released_block_only_warns_until_its_time(edge: Edge) -> None:
    edge.project()
    stand(edge, margins={"sub_1": (BLOCK, now_ms() + 60_000)})
    assert edge.verdict() == "allow"
    stand(edge, margins={"sub_1": (BLOCK, now_ms() - 1)})
    assert edge.verdict() == "margin.subscription.period"


def test_margins_end_with_their_period(edge: Edge) -> None:
    edge.project()
    stand(edge, margins={"sub_1": (BLOCK, 0)}, ends_in_ms=-1)
    assert edge.verdict() == "allow"


def test_others_are_not_bound(edge: Edge) -> None:
    edge.project()
    stand(edge, margins={"agt_2": (BLOCK, 0), "sub_9": (BLOCK, 0)})
    assert edge.verdict() == "allow"


def limit(decision: Decision, name: str) -> int:
    return next(one.limit for one in decision.limits if one.name.startswith(name))


def test_limits_a_minute_are_multiplied_by_the_spend_level(edge: Edge) -> None:
    edge.project(requests_per_minute=60, tokens_per_minute=1_001)
    stand(edge, levels={"sub_1": (4_000, "scale", 2_000, "build")})
    decision = edge.ask()
    assert limit(decision, "requests") == 240
    assert limit(decision, "tokens") == 4_004
    assert decision.facts is not None
    assert decision.facts.spend_level == "scale"


def test_after_the_window_the_level_is_that_of_no_spend(edge: Edge) -> None:
    edge.project(requests_per_minute=60)
    levels = {"sub_1": (4_000, "scale", 2_000, "build")}
    stand(edge, levels=levels, ends_in_ms=-1)
    decision = edge.ask()
    assert limit(decision, "requests") == 120
    assert decision.facts is not None
    assert decision.facts.spend_level == "build"


def test_a_limit_is_a_limit_at_every_level(edge: Edge) -> None:
    edge.project(requests_per_minute=2)
    stand(edge, levels={"sub_1": (1_500, "build", 1_000, "free")})
    assert [edge.verdict() for _ in range(4)] == [
        "allow",
        "allow",
        "allow",
        "requests.subscription.minute",
    ]
