"""A backtest prices recorded usage as rating and invoices do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from billing import subscriptions
from billing.models import InvoiceLine
from billing.tests.cast import DAY, HOUR, NOVEMBER, OCTOBER, close_month
from catalog import plans, products
from catalog.models import Metric, PlanVersion, ProductType
from catalog.plans import load_plans
from metering import history, pipeline
from metering.backtest import LeftOut, Priced, Pricer
from tests.factories import Shop, add_cost, make_shop, make_version, store_event

pytestmark = pytest.mark.django_db

MODEL = "gpt-4o"
LOOKUPS = "vector_lookups"
MONTH = dt.date(2026, 10, 1)

FEE = {"model": "flat", "amount": "31", "due": "advance"}
LATE_FEE = {"model": "flat", "amount": "7.5", "due": "arrears"}
TIERS = [
    {"up_to": "2000", "unit_amount": "0.0000333", "flat_amount": "2"},
    {"up_to": "9000", "unit_amount": "0.0000271"},
    {"up_to": None, "unit_amount": "0.0000199", "flat_amount": "0.5"},
]
GRADUATED = {"model": "graduated", "tiers": TIERS}
SHARE = {"model": "percentage", "rate": "12.5", "minimum": "0.0005", "free_events": 2}


def charge(key: str, price: dict[str, Any], metric: str = "", **more: Any) -> Any:
    """Return a charge of plan JSON."""
    named = {"metric": metric} if metric else {}
    return {"key": key, "name": key.title(), "price": price, **named, **more}


# Everything that a plan can ask of events: sums, filters, single events, cost.
RICH: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        charge("fee", FEE),
        charge("support", LATE_FEE),
        charge("input", GRADUATED, "input_tokens"),
        charge(
            "bulk",
            {"model": "per_unit", "unit_amount": "0.000011"},
            "input_tokens",
            filter={"requestType": "bulk"},
        ),
        charge("output", {"model": "volume", "tiers": TIERS}, "output_tokens"),
        charge("packs", {"model": "package", "size": "3", "amount": "0.1"}, LOOKUPS),
        charge("users", {"model": "per_unit", "unit_amount": "1.25"}, "users"),
        charge("peak", {"model": "per_unit", "unit_amount": "0.003"}, "peak"),
        charge("level", {"model": "per_unit", "unit_amount": "0.01"}, "level"),
        charge("mean", {"model": "per_unit", "unit_amount": "0.007"}, "mean"),
        charge("handling", SHARE, "our_cost"),
        charge("margin", {"model": "percentage", "rate": "3"}, "cost_share"),
    ],
}


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A seller whose customer has a rich plan since September."""
    with clock.travel(OCTOBER - 20 * DAY):
        made = make_shop(since=OCTOBER - 20 * DAY)
        more = (
            (LOOKUPS, Metric.Aggregation.SUM, LOOKUPS),
            ("users", Metric.Aggregation.UNIQUE, "user"),
            ("peak", Metric.Aggregation.MAX, "input_tokens"),
            ("level", Metric.Aggregation.LATEST, "output_tokens"),
            ("mean", Metric.Aggregation.AVG, "output_tokens"),
            ("our_cost", Metric.Aggregation.SUM, "cogs"),
            ("cost_share", Metric.Aggregation.SUM, "cogs"),
        )
        for code, aggregation, field in more:
            products.create_metric(
                tenant=made.tenant,
                code=code,
                name=code,
                aggregation=aggregation,
                field=field,
                unit="unit",
                actor=None,
            )
        for unit in ("input_uncached_tokens", "cache_read_tokens", "output_tokens"):
            add_cost(made.tenant, model=MODEL, unit=unit, amount="0.00000317")
    with clock.travel(NOVEMBER + 12 * HOUR):
        yield made


def subscribed(shop: Shop, body: dict[str, Any], **terms: Any) -> PlanVersion:
    """Put the customer on a plan from October on."""
    version = make_version(shop.product, body)
    with clock.travel(OCTOBER):
        subscriptions.change_plan(
            subscription=shop.subscription,
            plan_version=version,
            at=terms.get("at", OCTOBER),
            actor=None,
        )
    return version


def use(shop: Shop, count: int = 24, *, since: dt.datetime = OCTOBER) -> None:
    """Store and rate some usage of October."""
    with clock.travel(since + 30 * DAY):
        for number in range(count):
            store_event(
                shop,
                {
                    "input_tokens": 300 + 37 * number,
                    "cache_read_tokens": 11 * (number % 3),
                    "output_tokens": 90 + number % 7,
                    LOOKUPS: number % 4,
                },
                at=since + number * DAY,
                properties={
                    "model": MODEL,
                    "user": f"user-{number % 5}",
                    "requestType": "bulk" if number % 3 == 0 else "live",
                },
            )
        pipeline.rate()


def backtest(shop: Shop, *versions: PlanVersion) -> Priced:
    """Return October under some versions."""
    found = load_plans([version.pk for version in versions])
    pricer = Pricer(
        tenant_id=shop.tenant.pk,
        month=MONTH,
        plans=[found[version.pk] for version in versions],
        product_id=shop.product.pk,
    )
    priced = pricer.price(shop.customer)
    assert isinstance(priced, Priced)
    return priced


def said(line: Any) -> tuple[Any, ...]:
    """Return what a line of an invoice or a bill says, to the last digit."""
    return (
        line.charge_key,
        line.name,
        line.quantity,
        line.unit,
        line.exact_amount,
        line.amount,
        [
            {k: v for k, v in step.items() if k in ("label", "quantity", "amount")}
            for step in line.steps
        ],
    )


def invoiced(shop: Shop) -> list[tuple[Any, ...]]:
    """Return what the lines of October's invoice say."""
    rows = InvoiceLine.objects.filter(
        invoice__customer=shop.customer, invoice__period__start_at=OCTOBER
    )
    return [said(line) for line in rows.order_by("position")]


def test_the_own_plan_of_a_closed_month_gives_its_invoice(shop: Shop) -> None:
    version = subscribed(shop, RICH)
    use(shop)
    close_month()
    priced = backtest(shop, version)
    assert len(priced.new[0].lines) == len(RICH["charges"])
    assert [said(line) for line in priced.new[0].lines] == invoiced(shop)
    assert priced.old is not None
    assert [said(line) for line in priced.old.lines] == invoiced(shop)
    assert priced.event_count == 24


def test_before_the_invoice_is_issued_the_old_bill_is_the_upcoming_one(
    shop: Shop,
) -> None:
    version = subscribed(shop, RICH)
    use(shop)
    priced = backtest(shop, version)
    assert priced.old is not None
    assert priced.old.exact == priced.new[0].exact
    assert priced.old.amount == priced.new[0].amount


@pytest.mark.parametrize("prorate", [False, True])
@pytest.mark.parametrize("ends", [False, True])
def test_a_contract_that_begins_or_ends_in_the_month_gives_its_invoice(
    shop: Shop, prorate: bool, ends: bool
) -> None:
    product = products.create_product(
        tenant=shop.tenant,
        name="Other",
        code="other",
        type=ProductType.AGENTIC_API,
        actor=None,
    )
    plan = plans.create_plan(product=product, name="P", code="p", actor=None)
    draft = plans.save_draft(
        plan=plan, body=RICH, limits={}, actor=None, prorate=prorate
    )
    version = plans.publish(version=draft, actor=None)
    start = OCTOBER + 4 * DAY
    with clock.travel(start):
        subscription = subscriptions.subscribe(
            customer=shop.customer,
            product=product,
            plan_version=version,
            start_at=start,
            actor=None,
        )
    shop.product = product
    use(shop, 10, since=start)
    if ends:
        with clock.travel(OCTOBER + 20 * DAY):
            subscriptions.cancel(
                subscription=subscription, at=OCTOBER + 20 * DAY, actor=None
            )
    close_month()
    priced = backtest(shop, version)
    lines = [said(line) for line in priced.new[0].lines]
    assert lines == [row for row in invoiced(shop) if row[0] in {x[0] for x in lines}]
    assert priced.old is not None
    assert priced.old.exact == priced.new[0].exact


def test_several_plans_are_priced_in_one_go(shop: Shop) -> None:
    own = subscribed(shop, RICH)
    use(shop)
    others = [
        make_version(shop.product, {**RICH, "charges": RICH["charges"][2:keep]})
        for keep in (3, 5, 9)
    ]
    apart = [backtest(shop, version).new[0].exact for version in (own, *others)]
    assert [b.exact for b in backtest(shop, own, *others).new] == apart
    assert len(set(apart)) == 4


def test_a_plan_that_refuses_some_events_prices_the_others(shop: Shop) -> None:
    subscribed(shop, {**RICH, "charges": RICH["charges"][:5]})
    use(shop, 6)
    with clock.travel(OCTOBER + 20 * DAY):
        store_event(shop, {"input_tokens": 5000}, properties={"model": "no-rate"})
        pipeline.rate()
    share = make_version(shop.product, {**RICH, "charges": RICH["charges"][2:]})
    tokens = make_version(shop.product, {**RICH, "charges": RICH["charges"][2:3]})
    priced = backtest(shop, share, tokens)
    assert priced.cost_unknown_count == 1
    (with_share,) = [x for x in priced.new[0].lines if x.charge_key == "input"]
    (alone,) = priced.new[1].lines
    assert alone.quantity > with_share.quantity
    assert alone.quantity == sum(300 + 37 * n for n in range(6)) + 5000


def test_the_cost_is_that_of_the_month(shop: Shop) -> None:
    version = subscribed(shop, RICH)
    use(shop, 3)
    priced = backtest(shop, version)
    tokens = sum(300 + 37 * n + 90 + n % 7 for n in range(3))
    assert priced.cost == tokens * Decimal("0.00000317")
    assert priced.cost_unknown_count == 0


def test_little_is_held_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    version = subscribed(shop, RICH)
    use(shop, 8)
    whole = backtest(shop, version)
    monkeypatch.setattr(history, "FETCH", 3)
    monkeypatch.setattr(history, "RATE_BATCH", 2)
    beats: list[int] = []
    found = load_plans([version.pk])
    pricer = Pricer(
        tenant_id=shop.tenant.pk,
        month=MONTH,
        plans=list(found.values()),
        product_id=None,
    )
    again = pricer.price(shop.customer, beat=lambda: beats.append(1))
    assert again == whole
    assert len(beats) == 3


def test_a_customer_without_a_contract_in_the_month_is_left_out(shop: Shop) -> None:
    version = subscribed(shop, RICH)
    found = list(load_plans([version.pk]).values())
    early = Pricer(
        tenant_id=shop.tenant.pk,
        month=dt.date(2026, 8, 1),
        plans=found,
        product_id=shop.product.pk,
    )
    assert early.price(shop.customer) == LeftOut("no_subscription")
    running = Pricer(
        tenant_id=shop.tenant.pk,
        month=dt.date(2026, 11, 1),
        plans=found,
        product_id=shop.product.pk,
    )
    close_month()
    assert running.price(shop.customer) == LeftOut("not_over")


def test_a_bill_in_another_currency_is_not_compared(shop: Shop) -> None:
    subscribed(shop, RICH)
    use(shop, 2)
    euro = make_version(
        shop.product, {"currency": "EUR", "charges": RICH["charges"][2:3]}
    )
    priced = backtest(shop, euro)
    assert priced.old is None
    assert priced.new[0].amount > 0
    # No rate of exchange is known.
    assert priced.cost_unknown_count == 2
