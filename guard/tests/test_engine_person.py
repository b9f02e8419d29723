"""What a person decided, on the edge: exemptions, throttles, observe-only, dry runs."""

from __future__ import annotations

from typing import Any

import pytest

from guard.engine import keys
from guard.engine.decision import Outcome, Reason
from guard.engine.state import Exemption, Quota
from guard.tests.edge import Edge, now_ms

CAP = "spend_cap.customer.period"
WALLET = "wallet.customer.balance"


def exemption(limit: str = CAP, **changes: Any) -> Exemption:
    given: dict[str, Any] = {
        "id": "ovr_1",
        "limit": limit,
        "ends_at": now_ms() + 60_000,
    }
    return Exemption(**{**given, **changes})


def dump(edge: Edge) -> dict[str, Any]:
    """Return everything that the store has of the customer."""
    cfg, use, hold, exp, win, held, loop = keys.customer_keys(edge.tag)
    hashes = {
        name: edge.client.hgetall(name) for name in (cfg, use, hold, win, held, loop)
    }
    return {**hashes, exp: edge.client.zrange(exp, 0, -1, withscores=True)}


def full(edge: Edge, **more: Any) -> None:
    """Project a customer whose cap is used up."""
    edge.config_version += 1
    edge.project(customer={"spend_cap": 1_000}, **more)
    edge.version += 1
    edge.total(spend=1_000)


def test_a_limit_that_was_lifted_does_not_bind_and_the_call_is_held(edge: Edge) -> None:
    full(edge)
    assert edge.verdict() == CAP
    full(edge, exemptions=[exemption()])
    decision = edge.ask(amount_micros=500)
    assert decision.outcome == Outcome.ALLOW
    assert decision.override_id == "ovr_1"
    assert decision.hold_until_ms > now_ms()


@pytest.mark.parametrize(
    "given",
    [
        {"ends_at": now_ms() - 1},
        {"agent_id": "agt_other"},
        {"limit": "quota.subscription.period"},
    ],
    ids=["over", "of another agent", "of another limit"],
)
def test_an_exemption_lifts_its_own_limit_for_its_own_time(
    edge: Edge, given: dict[str, Any]
) -> None:
    full(edge, exemptions=[exemption(**given)])
    assert edge.verdict() == CAP


def test_a_lifted_cap_leaves_the_limits_after_it_in_force(edge: Edge) -> None:
    full(edge, exemptions=[exemption(agent_id="agt_1")], wallet=True)
    assert edge.verdict() == WALLET


def test_rates_and_quotas_can_be_lifted(edge: Edge) -> None:
    edge.project(
        requests_per_minute=0,
        quotas=(Quota(metric="tokens", limit=0, on_exceed="deny"),),
        exemptions=[
            exemption("requests.subscription.minute"),
            exemption("quota.subscription.period"),
        ],
    )
    assert edge.verdict() == "allow"


def test_an_exemption_for_one_call_is_taken_once(edge: Edge) -> None:
    full(edge, exemptions=[exemption(once=True)])
    assert edge.verdict() == "allow"
    assert edge.verdict() == CAP


def test_a_retry_of_the_one_call_gets_its_answer_again(edge: Edge) -> None:
    full(edge, exemptions=[exemption(once=True)])
    first, again = (edge.ask(request_id="same") for _ in range(2))
    assert again.replayed
    assert (again.outcome, again.override_id) == (first.outcome, "ovr_1")


def test_a_call_that_another_limit_refuses_does_not_take_the_exemption(
    edge: Edge,
) -> None:
    full(edge, exemptions=[exemption(once=True)], wallet=True)
    assert edge.verdict() == WALLET
    edge.version += 1
    edge.total(spend=1_000, available=100_000)
    assert edge.verdict() == "allow"


@pytest.mark.parametrize(
    ("part", "reason"),
    [("agent", "agent.throttled"), ("customer", "customer.throttled")],
)
def test_a_person_slows_a_subject_until_an_instant(
    edge: Edge, part: str, reason: str
) -> None:
    slowed: dict[str, Any] = {part: {"throttled_until": now_ms() + 60_000}}
    edge.project(**slowed)
    decision = edge.ask()
    assert decision.outcome == Outcome.THROTTLE
    assert decision.reason == Reason(reason)
    edge.config_version += 1
    over: dict[str, Any] = {part: {"throttled_until": now_ms() - 1}}
    edge.project(**over)
    assert edge.verdict() == "allow"


def test_observe_only_lets_pass_what_a_limit_would_refuse_and_says_so(
    edge: Edge,
) -> None:
    full(edge, observe_until=now_ms() + 60_000)
    decision = edge.ask(request_id="one")
    assert decision.outcome == Outcome.ALLOW
    assert (decision.would, decision.would_reason) == (Outcome.DENY, Reason(CAP))
    again = edge.ask(request_id="one")
    assert (again.replayed, again.would_reason) == (True, Reason(CAP))


def test_observe_only_ends_by_itself(edge: Edge) -> None:
    full(edge, observe_until=now_ms() - 1)
    assert edge.verdict() == CAP


def test_the_first_refusal_is_what_would_have_been_decided(edge: Edge) -> None:
    edge.project(
        customer={"spend_cap": 0},
        quotas=(Quota(metric="tokens", limit=0, on_exceed="throttle"),),
        wallet=True,
        observe_until=now_ms() + 60_000,
    )
    decision = edge.ask()
    assert decision.outcome == Outcome.ALLOW
    assert (decision.would, decision.would_reason) == (Outcome.DENY, Reason(CAP))


def test_observe_only_still_refuses_credentials_pauses_and_the_callers_ceiling(
    edge: Edge,
) -> None:
    observing: dict[str, Any] = {"observe_until": now_ms() + 60_000}
    edge.project(**observing)
    assert edge.verdict(digest="f" * 64) == "credential.unknown"
    assert edge.verdict(amount_micros=10, ceiling_micros=5) == "ceiling.request.call"
    edge.config_version += 1
    edge.project(agent={"state": "paused"}, **observing)
    assert edge.verdict() == "agent.paused"
    edge.config_version += 1
    edge.project(credential={"revoked": True}, **observing)
    assert edge.verdict() == "credential.revoked"


@pytest.mark.parametrize("spend", [0, 1_000], ids=["would pass", "would be refused"])
def test_a_dry_run_answers_as_a_check_would_and_writes_nothing(
    edge: Edge, spend: int
) -> None:
    edge.project(customer={"spend_cap": 1_000}, requests_per_minute=10)
    edge.version += 1
    edge.total(spend=spend)
    # A hold that ran out is given back by checks, but not by a question.
    edge.ask(amount_micros=0)
    before = dump(edge)
    asked = edge.ask(dry_run=True, amount_micros=300)
    assert dump(edge) == before
    told = edge.ask(amount_micros=300)
    assert (asked.outcome, asked.reason) == (told.outcome, told.reason)
    assert asked.limits == told.limits
    assert asked.hold_until_ms == 0


def test_a_dry_run_does_not_take_an_exemption_for_one_call(edge: Edge) -> None:
    full(edge, exemptions=[exemption(once=True)])
    assert edge.verdict(dry_run=True) == "allow"
    assert edge.verdict() == "allow"
