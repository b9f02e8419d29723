"""Replaying listed events, and costs in another currency than the price."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aforo.core.models import FxRate
from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing.models import UsageTotal
from catalog import products
from catalog.models import Metric
from metering import pipeline, unrateable
from metering.models import CostFact, Session, Unrateable, UsageRollup
from tests.factories import Shop, add_cost, make_shop, make_version, store_event

pytestmark = pytest.mark.django_db


def _clean() -> None:
    assert {code: found for code, found in breaks().items() if found} == {}


def _on_plan(body: dict[str, Any]) -> Shop:
    """Return a shop whose customer is on another plan since half an hour."""
    from billing import subscriptions

    shop = make_shop()
    products.create_metric(
        tenant=shop.tenant,
        code="cost",
        name="Cost",
        aggregation=Metric.Aggregation.SUM,
        field="cogs",
        unit="USD",
        actor=None,
    )
    subscriptions.change_plan(
        subscription=shop.subscription,
        plan_version=make_version(shop.product, body),
        at=clock.now() - dt.timedelta(minutes=30),
        actor=None,
    )
    return shop


def _cost_plus(currency: str = "USD") -> dict[str, Any]:
    return {
        "currency": currency,
        "charges": [
            {
                "key": "markup",
                "name": "Cost plus",
                "metric": "cost",
                "price": {"model": "percentage", "rate": "130"},
            }
        ],
    }


def test_a_cost_that_is_known_at_the_replay_is_booked_once() -> None:
    shop = _on_plan(_cost_plus())
    event = store_event(
        shop,
        {"output_tokens": 10},
        properties={"model": "new-model"},
        session_key="s-1",
    )
    pipeline.rate()
    listed = Unrateable.objects.get()
    assert listed.reason == Unrateable.Reason.UNKNOWN_COST
    add_cost(shop.tenant, model="new-model", unit="output_tokens", amount="0.2")
    assert unrateable.replay([listed.pk], actor=shop.owner) == (1, 0)
    total = UsageTotal.objects.get(spend__gt=0)
    assert (total.spend, total.cost, total.cost_unknown_count) == (
        Decimal("2.6"),
        Decimal(2),
        0,
    )
    rollup = UsageRollup.objects.get()
    assert (rollup.event_count, rollup.cost, rollup.cost_unknown_count) == (1, 2, 0)
    session = Session.objects.get()
    assert (session.event_count, session.cost, session.cost_unknown_count) == (1, 2, 0)
    facts = CostFact.objects.filter(event=event).order_by("id")
    assert [(f.kind, f.amount) for f in facts] == [("original", None), ("delta", 2)]
    _clean()


def test_a_replay_leaves_a_session_as_it_ended() -> None:
    shop = make_shop()
    store_event(shop, {"reviews": 1, "input_tokens": 1}, session_key="s-1")
    pipeline.rate()
    Session.objects.update(state=Session.State.EXPIRED, ended_at=clock.now())
    products.create_metric(
        tenant=shop.tenant,
        code="reviews",
        name="Reviews",
        aggregation=Metric.Aggregation.SUM,
        field="reviews",
        unit="review",
        actor=None,
    )
    listed = Unrateable.objects.get()
    assert unrateable.replay([listed.pk], actor=shop.owner) == (1, 0)
    assert Session.objects.get().state == Session.State.EXPIRED
    _clean()


def test_a_batch_reads_its_rates_of_exchange_once() -> None:
    body = _cost_plus("EUR")
    shop = _on_plan(body)
    add_cost(shop.tenant, model="m", unit="output_tokens", amount="0.01")
    FxRate.objects.create(
        tenant=shop.tenant,
        base="USD",
        quote="EUR",
        rate=Decimal("0.9"),
        valid_from=clock.now() - dt.timedelta(days=2),
    )

    def rate(count: int) -> int:
        for _ in range(count):
            store_event(shop, {"output_tokens": 1}, properties={"model": "m"})
        with CaptureQueriesContext(
            connection,
        ) as seen:
            assert pipeline.rate() == count
        return len(seen)

    rate(1)
    assert rate(12) == rate(2)
    assert UsageTotal.objects.get(spend__gt=0).cost == Decimal("0.135")
    _clean()
