"""Caps of an agent and of its team: checked in order, warned of, reset and lifted."""

from __future__ import annotations

from typing import Any

import pytest

from guard.engine.state import Exemption
from guard.tests.edge import Edge, now_ms

AGENT, TEAM = "spend_cap.agent.period", "spend_cap.team.period"


@pytest.mark.parametrize(
    ("agent", "more", "spends", "expected"),
    [
        ({"spend_cap": 100}, {}, {"agt_1": 99}, "allow"),
        ({"spend_cap": 100}, {}, {"agt_1": 100}, AGENT),
        ({"spend_cap": 100}, {}, {"tem_1": 100}, "allow"),
        ({"spend_cap": 100}, {}, {"agt_2": 100}, "allow"),
        ({"team_spend_cap": 100}, {}, {"tem_1": 99}, "allow"),
        ({"team_spend_cap": 100}, {}, {"tem_1": 100}, TEAM),
        ({"team_spend_cap": 100}, {}, {"agt_1": 100}, "allow"),
        ({"spend_cap": 5, "team_spend_cap": 5}, {}, {"agt_1": 5, "tem_1": 5}, AGENT),
        (
            {"team_spend_cap": 5},
            {"spend_cap": 0, "customer": {"spend_cap": 0}},
            {"tem_1": 5},
            TEAM,
        ),
        ({}, {}, {"agt_1": 2**50, "tem_1": 2**50}, "allow"),
    ],
)
def test_the_narrowest_cap_that_is_met_refuses(
    edge: Edge,
    agent: dict[str, int],
    more: dict[str, Any],
    spends: dict[str, int],
    expected: str,
) -> None:
    edge.project(agent=agent, **more)
    edge.total(spends=spends)
    assert edge.verdict(amount_micros=1) == expected


def test_spend_of_a_window_that_is_over_counts_no_more(edge: Edge) -> None:
    edge.project(agent={"spend_cap": 100, "team_spend_cap": 100})
    edge.total(spends={"agt_1": 100, "tem_1": 100}, ends_in_ms=-1)
    assert edge.verdict(amount_micros=1) == "allow"


def test_at_four_fifths_the_cap_is_named_as_nearly_met(edge: Edge) -> None:
    edge.project(agent={"spend_cap": 100})
    edge.total(spends={"agt_1": 78})
    assert edge.ask(amount_micros=1).nearly is None
    nearly = edge.ask(amount_micros=1).nearly
    assert nearly is not None
    assert (nearly.name, nearly.used, nearly.limit) == (AGENT, 80, 100)


def test_a_refusal_says_when_the_period_ends(edge: Edge) -> None:
    edge.project(agent={"spend_cap": 100})
    edge.total(spends={"agt_1": 100}, ends_in_ms=5_000)
    refused = edge.ask(amount_micros=1)
    assert refused.reason == AGENT
    assert 0 < refused.retry_at_ms - refused.now_ms <= 5_000
    assert refused.binding is not None
    assert refused.binding.remaining == 0


def test_a_released_cap_does_not_bind(edge: Edge) -> None:
    lifted = Exemption(
        id="ovr_1", limit=AGENT, agent_id="agt_1", ends_at=now_ms() + 60_000
    )
    edge.project(agent={"spend_cap": 0}, exemptions=[lifted])
    assert edge.verdict(amount_micros=1) == "allow"


def test_a_call_without_an_agent_meets_no_agents_cap(edge: Edge) -> None:
    edge.project(agent={"spend_cap": 0, "team_spend_cap": 0})
    who = {"digest": "", "tenant_id": "ten_acme", "customer": "cus_bob"}
    assert edge.verdict(amount_micros=1, **who) == "allow"
