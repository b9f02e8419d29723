"""Caps of agents and teams, from the record to the edge: real rating, real Redis."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
import redis

from aforo.core.models import AuditEntry
from aforo.lib import clock, ids
from billing import accounts, agent_caps, periods
from billing.models import Agent, BillingPeriod, Team
from guard import drift, facts, projection
from guard.engine import keys
from guard.engine.check import check
from guard.engine.decision import CheckRequest, Decision
from metering import pipeline
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db
AGENT, TEAM = "spend_cap.agent.period", "spend_cap.team.period"
COST = Decimal("0.0027")  # 400 × $3 + 100 × $15 per million.


@pytest.fixture
def shop(store: redis.Redis) -> Shop:
    return make_shop(limits={"default_estimate": "0.01"})


def judged(store: redis.Redis, shop: Shop) -> Decision:
    asked = CheckRequest(
        tag=shop.customer.tag,
        request_id=str(ids.new_id()),
        decision_id="dec_1",
        digest=shop.credential.digest,
        amount_micros=0,
    )
    decision = check(store, asked)
    assert isinstance(decision, Decision)
    return decision


def used(decision: Decision) -> dict[str, int]:
    return {one.name: one.used for one in decision.limits}


def use(shop: Shop) -> None:
    store_event(shop, {"input_tokens": 400, "output_tokens": 100})
    pipeline.rate()


def cap(target: Agent | Team, amount: str | None) -> None:
    agent_caps.set_spend_cap(
        target=target, amount=None if amount is None else Decimal(amount), actor=None
    )


def project(shop: Shop) -> None:
    projection.project(shop.customer.pk)


def test_rated_usage_counts_towards_the_agent_and_its_team(
    store: redis.Redis, shop: Shop
) -> None:
    cap(shop.agent, "1")
    cap(shop.team, "2")
    second = accounts.create_agent(
        team=shop.team, name="Second", kind=Agent.Kind.APP, actor=None
    )
    cap(second, "1")
    use(shop)
    project(shop)
    decision = judged(store, shop)
    assert used(decision) == {AGENT: 2_700, TEAM: 2_700}
    use(shop)
    projection.project_customers([shop.customer.pk], config=False)
    assert used(judged(store, shop)) == {AGENT: 5_400, TEAM: 5_400}
    spends = agent_caps.spent(period(shop))
    assert spends == {shop.agent.pk: 2 * COST, shop.team.pk: 2 * COST}


def period(shop: Shop) -> BillingPeriod:
    found = periods.find(shop.customer.pk, clock.now())
    assert found is not None
    return found


@pytest.mark.parametrize("scope", ["agent", "team"])
def test_a_cap_that_is_met_pauses_until_it_is_raised(
    store: redis.Redis, shop: Shop, scope: str
) -> None:
    target: Agent | Team = getattr(shop, scope)
    use(shop)
    project(shop)
    assert judged(store, shop).outcome == "allow"
    # A restriction is at the edge before the commit: nobody projected here.
    cap(target, "0.0027")
    refused = judged(store, shop)
    assert refused.reason == f"spend_cap.{scope}.period"
    assert agent_caps.met(target, agent_caps.spent(period(shop)))
    assert shop.agent.state == Agent.State.ACTIVE
    # What permits arrives after it.
    cap(target, "0.0028")
    assert judged(store, shop).reason == f"spend_cap.{scope}.period"
    project(shop)
    assert judged(store, shop).outcome == "allow"
    assert not agent_caps.met(target, agent_caps.spent(period(shop)))
    cap(target, None)
    project(shop)
    assert judged(store, shop).limits == ()
    entries = AuditEntry.objects.filter(action=f"{scope}.spend_cap_set")
    assert [one.changes["spend_cap"] for one in entries.order_by("created_at")] == [
        [None, "0.0027"],
        ["0.0027", "0.0028"],
        ["0.0028", None],
    ]


def test_the_next_period_begins_at_nothing(store: redis.Redis, shop: Shop) -> None:
    cap(shop.agent, "0.0027")
    use(shop)
    project(shop)
    assert judged(store, shop).reason == AGENT
    with clock.travel(clock.now() + dt.timedelta(days=32)):
        found = periods.find(shop.customer.pk, clock.now())
        assert agent_caps.spent(found) == {}
        (read,) = facts.read([shop.customer.pk])
    assert not [name for name in read.totals if name.startswith("m:")]


def test_the_edge_is_compared_with_the_record_in_caps_too(
    store: redis.Redis, shop: Shop
) -> None:
    cap(shop.agent, "1")
    use(shop)
    project(shop)
    assert not drift.reconcile([shop.customer.pk]).wrong
    store.hset(
        keys.totals_key(shop.customer.tag), keys.spend_field(shop.agent.public_id), "1"
    )
    assert drift.reconcile([shop.customer.pk]).wrong == 1
    assert used(judged(store, shop)) == {AGENT: 2_700}
