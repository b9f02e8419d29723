"""Last month priced again: the old plan gives the invoice, the new one its own bill."""

from __future__ import annotations

import copy
import datetime as dt
from decimal import Decimal

import pytest

from aforo.core.tenancy import as_web
from aforo.lib import clock
from billing import accounts, invoicing, subscriptions
from billing.models import Invoice
from catalog.plans import load_plans
from catalog.pricing import parse_plan
from metering import pipeline, repricing
from tests.factories import TOKENS_PLAN, Shop, add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db
SEPTEMBER = dt.datetime(2026, 9, 1, tzinfo=dt.UTC)
OCTOBER = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
NOVEMBER = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
NOW = dt.datetime(2026, 11, 18, 12, tzinfo=dt.UTC)
FEE = {
    "key": "fee",
    "name": "Fee",
    "price": {"model": "flat", "amount": "99", "due": "advance"},
}
ARREARS = {
    "key": "later",
    "name": "Later",
    "price": {"model": "flat", "amount": "1", "due": "arrears"},
}
BODY = {**TOKENS_PLAN, "charges": [FEE, ARREARS, *TOKENS_PLAN["charges"]]}


@pytest.fixture
def shop():
    """A seller with usage in October, invoiced, and some in November."""
    with clock.travel(SEPTEMBER):
        made = make_shop(body=BODY, since=SEPTEMBER)
        add_cost(made.tenant, model="m", unit="output_tokens", amount="0.001")
        add_cost(made.tenant, model="m", unit="input_uncached_tokens", amount="0")
    with clock.travel(OCTOBER + dt.timedelta(days=10)):
        for _ in range(3):
            use(made, {"input_tokens": 1_234_567, "output_tokens": 700_001})
        use(made, {"tool_calls": 7})
        pipeline.rate()
    for at in (NOVEMBER, NOVEMBER + dt.timedelta(hours=2)):
        with clock.travel(at):
            invoicing.close_periods(at)
    with clock.travel(NOW):
        use(made, {"tool_calls": 1000})
        pipeline.rate()
        yield made


def use(shop: Shop, measurements, **more):
    """Store an event of the shop's customer."""
    store_event(shop, measurements, properties={"model": "m"}, **more)


def old_plan(shop: Shop):
    """Return what the customer pays by."""
    return load_plans({shop.version.pk})[shop.version.pk].plan


def another(shop: Shop, index: int, price):
    """Return the shop's plan with another price of one charge."""
    body = copy.deepcopy(shop.version.body)
    body["charges"][index]["price"] = price
    return parse_plan(body)


def last_month(shop: Shop, new, **more):
    """Price the shop's one contract again."""
    return repricing.last_month({shop.subscription: old_plan(shop)}, new, **more)


def test_the_old_bill_is_the_invoice_and_the_new_one_differs_by_the_price(shop):
    price = {"model": "per_unit", "unit_amount": "0.02"}
    with as_web(tenant_id=shop.tenant.pk):
        impact = last_month(shop, another(shop, 4, price))
    invoice = Invoice.objects.get(period__start_at=OCTOBER)
    assert impact.old == invoice.subtotal
    assert (impact.change, impact.more, impact.less) == (Decimal("0.07"), 1, 0)
    (effect,) = impact.effects
    assert (effect.event_count, effect.unpriced) == (4, 0)
    assert effect.period == invoice.period
    assert impact.ratio == effect.ratio == effect.change / invoice.subtotal


def test_late_usage_belongs_to_its_month(shop):
    before = last_month(shop, old_plan(shop)).old
    use(shop, {"tool_calls": 100}, at=OCTOBER + dt.timedelta(days=20))
    pipeline.rate()
    impact = last_month(shop, old_plan(shop))
    assert impact.old == before + 1
    assert impact.change == 0
    assert (impact.more, impact.less) == (0, 0)


def test_a_plan_on_our_cost_sees_the_cost_as_it_was_rated(shop):
    body = copy.deepcopy(shop.version.body)
    body["charges"] = [
        {
            "key": "cost",
            "name": "Cost",
            "metric": {"key": "cogs", "aggregation": "sum", "cogs": True},
            "price": {"model": "percentage", "rate": "130"},
        }
    ]
    impact = last_month(shop, parse_plan(body))
    # 3 × 700,001 × $0.001 × 130 % = $2,730.0039; the tool call's cost is not known.
    assert (impact.new, impact.unpriced) == (Decimal("2730.00"), 1)


def test_a_contract_without_a_full_month_costs_nothing_yet(shop):
    customer = accounts.create_customer(
        tenant=shop.tenant, name="New", external_id="new", actor=None
    )
    young = subscriptions.subscribe(
        customer=customer,
        product=shop.product,
        plan_version=shop.version,
        start_at=NOW,
        actor=None,
    )
    impact = repricing.last_month({young: old_plan(shop)}, old_plan(shop))
    (effect,) = impact.effects
    assert effect.period is None
    assert effect.old == effect.new == 0
    assert impact.ratio is None


def test_what_would_take_too_long_is_skipped_and_named(shop):
    impact = last_month(shop, old_plan(shop), events_max=3)
    assert impact.effects == ()
    assert impact.skipped == (shop.subscription,)
    assert last_month(shop, old_plan(shop), events_max=4).skipped == ()


def test_nobody_is_no_impact(shop):
    impact = repricing.last_month({}, old_plan(shop))
    assert impact.old == impact.new == 0
    assert impact.effects == ()
