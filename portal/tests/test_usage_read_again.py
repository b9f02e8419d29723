"""Recorded usage is the same to whoever reads it again: backtests, impact, composer."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from aforo.core import fx
from aforo.lib import clock, ids
from billing import subscriptions
from billing.models import BillingPeriod
from billing.tests.cast import DAY, HOUR, NOVEMBER, OCTOBER, close_month
from catalog import products
from catalog.models import Metric
from catalog.pricing import UsageEvent as Usage
from metering import amending, history, pipeline, repricing, unrateable, voiding
from metering.identity import Event
from metering.models import Unrateable, UsageEvent
from portal.selectors import month_usage
from tests.factories import Shop, add_cost, make_shop, make_version, store_event

pytestmark = pytest.mark.django_db
# Priced by what it cost us: without a cost an event has no price.
COST_PLUS = {
    "currency": "USD",
    "charges": [
        {
            "key": "markup",
            "name": "Cost plus",
            "metric": "cost",
            "price": {"model": "percentage", "rate": "130"},
        }
    ],
}


@pytest.fixture
def shop() -> Shop:
    """A seller whose customer pays by cost since October, in November."""
    with clock.travel(OCTOBER - DAY):
        made = make_shop(since=OCTOBER - DAY)
        products.create_metric(
            tenant=made.tenant,
            code="cost",
            name="Cost",
            aggregation=Metric.Aggregation.SUM,
            field="cogs",
            unit="USD",
            actor=None,
        )
        subscriptions.change_plan(
            subscription=made.subscription,
            plan_version=make_version(made.product, COST_PLUS),
            at=OCTOBER,
            actor=None,
        )
        add_cost(made.tenant, model="known", unit="output_tokens", amount="0.1")
    return made


def use(shop: Shop, name: str, model: str = "known", tokens: int = 10) -> UsageEvent:
    """Store an event of the shop's agent in October."""
    return store_event(
        shop,
        {"output_tokens": tokens},
        event_id=name,
        properties={"model": model},
        at=OCTOBER + 9 * DAY,
        session_key="work",
    )


def amend(old: UsageEvent, name: str, tokens: int) -> None:
    """Put an event right that counted other tokens."""
    right = Event(
        id=ids.new_id(),
        shown_id=name,
        event_id=name,
        body_hash=name.encode().ljust(32),
        customer_id=old.customer_id,
        credential_id=None,
        agent_id=old.agent_id,
        team_id=old.team_id,
        product_id=old.product_id,
        event_type=old.event_type,
        tool_name="",
        status="",
        request_id="",
        correlation_id="",
        session_key=old.session_key,
        occurred_at=old.occurred_at,
        received_at=clock.now(),
        flags=[],
        body=json.dumps(
            {
                "properties": {"model": "known"},
                "measurements": {"output_tokens": str(tokens)},
            }
        ),
    )
    amending.amend(old, right, reason="a digit too many")


def price_late(shop: Shop) -> None:
    """Let what had no cost have one, and rate it now."""
    (listed,) = Unrateable.objects.filter(resolved_at=None)
    add_cost(shop.tenant, model="late", unit="output_tokens", amount="0.7")
    assert unrateable.replay([listed.pk], actor=shop.owner) == (1, 0)


def october(shop: Shop) -> BillingPeriod:
    """Return the customer's period."""
    return BillingPeriod.objects.get(customer=shop.customer, start_at=OCTOBER)


def by_backtest(shop: Shop) -> list[Usage]:
    """Return October as backtests read it."""
    rates = fx.Rates([shop.tenant.pk])
    reader = history.Reader(october(shop), [shop.subscription.pk], "USD", rates)
    return sorted(event for chunk in reader.read() for _, event in chunk)


def by_impact(shop: Shop) -> list[Usage]:
    """Return October as the impact of another version reads it."""
    periods = {shop.customer.pk: october(shop)}
    return sorted(repricing._events([shop.subscription], periods)[shop.subscription.pk])


def by_composer(shop: Shop) -> list[Usage]:
    """Return October as the composer reads it."""
    span = month_usage.last_month(NOVEMBER + HOUR)
    found = month_usage._events(shop.customer, shop.product, span, "USD")
    assert found is not None
    return sorted(found)


def test_a_void_an_amendment_and_a_late_price_are_the_same_to_all(shop: Shop) -> None:
    with clock.travel(OCTOBER + 10 * DAY):
        use(shop, "sound")
        wrong = use(shop, "wrong")
        large = use(shop, "large", tokens=10_000)
        use(shop, "late", model="late")
        pipeline.rate()
        voiding.void(wrong, reason="sent twice")
        amend(large, "large~2", tokens=100)
        price_late(shop)
    found = by_backtest(shop)
    assert [(event.event_id, event.cost) for event in found] == [
        ("large~2", Decimal(10)),
        ("late", Decimal(7)),
        ("sound", Decimal(1)),
    ]
    assert {event.properties["agent.type"] for event in found} == {"CUSTOM"}
    assert len({event.session for event in found}) == 1
    assert by_impact(shop) == found
    assert by_composer(shop) == found


def test_only_what_was_invoiced_stays_as_it_was_invoiced(shop: Shop) -> None:
    with clock.travel(OCTOBER + 10 * DAY):
        sound, wrong = use(shop, "sound"), use(shop, "wrong")
        pipeline.rate()
    close_month()
    with clock.travel(NOVEMBER + 3 * DAY):
        use(shop, "forgotten")
        pipeline.rate()
        voiding.void(wrong, reason="sent twice")
    invoiced = [event.event_id for event in by_backtest(shop)]
    assert invoiced == [sound.event_id, wrong.event_id]
    by_now = [event.event_id for event in by_impact(shop)]
    assert by_now == ["forgotten", "sound"]
    assert by_composer(shop) == by_impact(shop)
