"""One plan with everything, in euros, at own prices: from events to proven invoices."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from aforo.core.models import FxRate
from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing import accounts, own_prices, subscriptions, wallets
from billing.models import Agent, Invoice, LedgerEntry
from billing.preview import preview
from billing.tests.cast import DAY, DECEMBER, HOUR, NOVEMBER, OCTOBER, close_month
from catalog import plans, products
from catalog.plans import load_plans
from catalog.pricing import in_currency
from metering import pipeline, settling
from metering.backtest import Priced, Pricer
from metering.models import Unrateable
from metering.tests.everything_plan import BODY, COSTS, METRICS, OWN
from tests.factories import Shop, add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db
Json = dict[str, Any]
OCTOBERS = {
    "seats": "18",
    # Three days at list prices, 2.08 + 2.60 + 2.05 less 5 %, and the half month of
    # own prices at its share of the minimum: all its calls were at the gold level.
    "calls": "6.877370967742",
    # Three calls within what a day includes, then 28 beyond it.
    "gold": "1.28",
    # Each ticket costs €0.068715: 130 % of what is beyond €0.04, later €0.06.
    "tickets": "4.5106475",
    # Four credits for the tokens and one for each call, five times.
    "credits": "0.315",
    "tools": "2.92",
    "cost": "0.287989",
    # Both versions left the first package; only the first one paid its flat amount.
    "peak": "3",
    "support": "9",
    "plan:discount:launch": "-2.938801846774",
    # Both versions have the same terms, so they are one: €42.35 are beyond €40.
    "plan:discount:rebate": "-0.905",
}
NOVEMBERS = {
    "seats": "18",
    "calls": "1.645",
    "tickets": "0.8013295",
    "credits": "0.063",
    "tools": "0.52",
    "cost": "0.05",
    "peak": "1.5",
    "support": "9",
    "plan:discount:rebate": "-0.905",
    "plan:minimum": "9.3256705",
}
# A ticket of the list prices reversed, and one of the own prices more.
LATE = {
    "gold": "1.18",
    "tickets": "-0.126",
    "credits": "0.063",
    "tools": "0.52",
    "cost": "0.072663",
    "plan:discount:launch": "0.0126",
}


def everything(*, paid: str) -> Shop:
    """Return a shop whose customer pays in euros for a plan with everything."""
    shop = make_shop(since=OCTOBER)
    FxRate.objects.create(
        tenant=shop.tenant,
        base="USD",
        quote="EUR",
        rate=Decimal("0.9"),
        valid_from=OCTOBER - 5 * DAY,
    )
    for name, unit, amount in COSTS:
        add_cost(shop.tenant, model=name, unit=unit, amount=amount)
    for code, aggregation, field, window in METRICS:
        products.create_metric(
            tenant=shop.tenant,
            code=code,
            name=code,
            aggregation=aggregation,
            field=field,
            window=window,
            unit="unit",
            actor=None,
        )
    draft = plans.save_draft(
        plan=shop.version.plan, body=BODY, limits={}, actor=None, prorate=True
    )
    shop.version = plans.publish(version=draft, actor=None)
    shop.customer = accounts.create_customer(
        tenant=shop.tenant, name="Acme", external_id="acme", currency="EUR", actor=None
    )
    team = accounts.create_team(customer=shop.customer, name="Core", actor=None)
    shop.team = team
    shop.agent = accounts.create_agent(
        team=team, name="Robin", kind=Agent.Kind(shop.agent.kind), actor=None
    )
    wallets.top_up(
        customer=shop.customer, currency="EUR", amount=Decimal(paid), actor=None
    )
    shop.subscription = subscriptions.subscribe(
        customer=shop.customer,
        product=shop.product,
        plan_version=shop.version,
        start_at=OCTOBER,
        actor=None,
    )
    return shop


def work(shop: Shop, ticket: str, at: dt.datetime, *, calls: int = 30) -> None:
    """Store what an agent does for one ticket, the close of it last."""
    about: Json = {"correlation_id": ticket, "session_key": ticket}
    store_event(
        shop,
        {"input_tokens": 2_345, "tool_calls": calls},
        at=at,
        properties={"model": "opus"},
        **about,
    )
    for minute, status in enumerate(("SUCCESS", "FAILED", "SUCCESS"), 1):
        store_event(
            shop,
            {"tool_calls": 1},
            at=at + dt.timedelta(minutes=minute),
            event_type="mcp.tool_invoked",
            properties={"tool": "search", "status": status},
            tool_name="search",
            status=status,
            **about,
        )
    for kind in ("ticket.closed", "session.completed"):
        store_event(shop, {}, at=at + HOUR, event_type=kind, **about)


def rate_all() -> None:
    """Rate what waits and settle the sessions that have ended."""
    while pipeline.rate():
        pass
    settling.settle()


def assert_clean() -> None:
    """Every invariant of the data holds; rating again gives the same."""
    assert {code: found for code, found in breaks().items() if found} == {}
    assert list(Unrateable.objects.values_list("reason", "detail")) == []


def sums(invoice: Invoice, *, late: bool = False) -> dict[str, Decimal]:
    """Return what the lines of an invoice come to."""
    rows = invoice.lines.filter(usage_period__isnull=not late)
    return {line.charge_key: line.exact_amount for line in rows}


def october(shop: Shop) -> Invoice:
    """Let the customer work in October, get own prices, and be invoiced."""
    with clock.travel(OCTOBER + 4 * DAY):
        work(shop, "one", OCTOBER + 2 * DAY)
        work(shop, "two", OCTOBER + 3 * DAY, calls=70)
        rate_all()
        work(shop, "three", OCTOBER + 3 * DAY + 2 * HOUR, calls=9)
        rate_all()
        assert_clean()
    with clock.travel(OCTOBER + 16 * DAY):
        own_prices.set_prices(
            subscription=shop.subscription,
            charges=OWN,
            at=OCTOBER + 16 * DAY,
            actor=None,
        )
    with clock.travel(OCTOBER + 21 * DAY):
        work(shop, "four", OCTOBER + 20 * DAY)
        # Late, of the time of the list prices.
        work(shop, "five", OCTOBER + 10 * DAY)
        rate_all()
        assert_clean()
    (invoice,) = close_month(NOVEMBER)
    return invoice


@pytest.mark.django_db(transaction=True)
def test_everything_together_is_invoiced_corrected_and_proven() -> None:
    with clock.travel(OCTOBER):
        shop = everything(paid="15")
    invoice = october(shop)
    with clock.travel(NOVEMBER + HOUR):
        assert_clean()
    assert (invoice.currency, sums(invoice)) == ("EUR", exact(OCTOBERS))
    assert invoice.subtotal == Decimal("42.35")
    stamps = LedgerEntry.objects.filter(spend_level="gold").order_by("id")
    assert stamps[0].occurred_at == OCTOBER + 10 * DAY + dt.timedelta(minutes=1)
    with clock.travel(NOVEMBER + 2 * DAY):
        store_event(
            shop, {}, at=clock.now(), event_type="ticket.reopened", correlation_id="two"
        )
        work(shop, "six", OCTOBER + 28 * DAY)
        work(shop, "seven", NOVEMBER + DAY)
        rate_all()
        assert_clean()
        shown = preview(customer=shop.customer, currency="EUR")
    assert shown is not None
    assert {line.exact_amount for line in shown.lines} >= set(exact(LATE).values())
    (november,) = close_month(DECEMBER)
    with clock.travel(DECEMBER + HOUR):
        assert_clean()
    assert sums(november) == exact(NOVEMBERS)
    assert sums(november, late=True) == exact(LATE)
    assert backtested(shop) == sums(november)


def backtested(shop: Shop) -> dict[str, Decimal]:
    """Return November under the version in euros, at the contract's own prices."""
    (priced,) = load_plans([shop.version.pk]).values()
    euros = replace(priced, plan=in_currency(priced.plan, "EUR"))
    pricer = Pricer(
        tenant_id=shop.tenant.pk,
        month=NOVEMBER.date(),
        plans=[euros],
        product_id=shop.product.pk,
    )
    with clock.travel(DECEMBER + DAY):
        found = pricer.price(shop.customer)
    assert isinstance(found, Priced)
    (bill,) = found.new
    return {line.charge_key: line.exact_amount for line in bill.lines}


def exact(texts: dict[str, str]) -> dict[str, Decimal]:
    """Return amounts as numbers."""
    return {key: Decimal(text) for key, text in texts.items()}
