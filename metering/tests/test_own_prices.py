"""Own prices, currencies and commitments: from events to invoices, and back again."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.management.commands.verify import breaks
from billing import accounts, credentials, own_prices, subscriptions
from billing.models import Agent, Invoice, Subscription
from billing.preview import preview
from billing.tests.cast import DAY, HOUR, NOVEMBER, OCTOBER, close_month
from catalog.models import PlanVersion
from catalog.plans import load_plans
from guard import projection
from metering import directory, pipeline
from metering.backtest import Priced, Pricer
from metering.tests.conftest import Door
from tests.factories import TOKENS_PLAN, Shop, make_shop, make_version, store_event

pytestmark = pytest.mark.django_db
# A thousandth of the agreed figures: 1,000 calls for $10,000, $10 for each beyond.
COMMITTED: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        {
            "key": "calls",
            "name": "Committed calls",
            "unit": "calls",
            "price": {
                "model": "dimensions",
                "billing_mode": "COMMITTED",
                "committed_amount": 1000,
                "committed_price": "10000",
                "tool_invocations": {"*": "10"},
            },
        }
    ],
}
AGENTS = (
    ("Reviewer", 300, "3000", 350),
    ("Intake", 500, "5000", 400),
    ("Sandbox", 200, "2000", 200),
)
EUR: dict[str, Any] = {
    "input": {"price": {"model": "per_unit", "unit_amount": "2.80", "per": 1000000}},
    "output": {"price": {"model": "per_unit", "unit_amount": "14", "per": 1000000}},
    "calls": {"price": {"model": "per_unit", "unit_amount": "0.009"}},
}
SOLD_IN_TWO: dict[str, Any] = {
    **TOKENS_PLAN,
    "currencies": {"EUR": {"charges": EUR}},
}
CHEAPER = {"calls": {"price": {"model": "per_unit", "unit_amount": "0.008"}}}


@pytest.fixture(autouse=True)
def october() -> Iterator[None]:
    """It is the end of October, and nobody remembers other tests' keys."""
    directory.forget()
    with clock.travel(OCTOBER + 25 * DAY):
        yield


def assert_clean() -> None:
    """Every invariant of the data holds; rating again gives the same."""
    assert {code: found for code, found in breaks().items() if found} == {}


def add_agents(shop: Shop) -> list[tuple[Agent, str, str]]:
    """Return three agents with their client ids and secrets."""
    made = []
    for name, *_ in AGENTS:
        agent = accounts.create_agent(
            team=shop.team, name=name, kind=Agent.Kind.APP, actor=None
        )
        _, secret = credentials.issue(agent=agent, products=[shop.product], actor=None)
        made.append((agent, name, secret))
    return made


def send_calls(shop: Shop, agents: list[tuple[Agent, str, str]], door: Door) -> None:
    """Send each agent's calls of October through the API and rate them."""
    at = (OCTOBER + 24 * DAY).isoformat()
    headers = {
        "content-type": "application/json",
        "authorization": f"Bearer {shop.service_secret}",
    }
    for (*_, secret), (*_, calls) in zip(agents, AGENTS, strict=True):
        events = [
            {
                "api_key": secret,
                "tool_name": "review" if number % 2 else "search",
                "timestamp": at,
            }
            for number in range(calls)
        ]
        reply = door.send(json.dumps(events).encode(), headers)
        assert reply.status == 200, reply.body
        assert reply.json["accepted"] == calls, reply.body[:500]
    while pipeline.rate():
        pass


def lines_of(invoice: Invoice) -> list[tuple[str, Decimal, list[str]]]:
    """Return name, amount and the words of the steps of each line."""
    return [
        (line.name, line.amount, [step["label"] for step in line.steps])
        for line in invoice.lines.order_by("position")
    ]


@pytest.mark.django_db(transaction=True)
def test_three_agents_with_allocations_do_not_pool(bare: Door) -> None:
    with clock.travel(OCTOBER - 5 * DAY):
        shop = make_shop(body=COMMITTED, since=OCTOBER - 5 * DAY)
        end = OCTOBER - 4 * DAY
        subscriptions.cancel(subscription=shop.subscription, at=end, actor=None)
    shop = shop_of_october(shop, allocated=True)
    agents = shop.extra["agents"]
    send_calls(shop, agents, bare)
    shown = preview(customer=shop.customer, currency="USD")
    assert shown is not None
    (invoice,) = close_month()
    assert lines_of(invoice) == [
        (
            "Committed calls, Reviewer",
            Decimal(3500),
            [
                "commitment of 300 calls",
                "350 of 300 committed calls",
                "50 × $10.00 beyond the commitment",
            ],
        ),
        (
            "Committed calls, Intake",
            Decimal(5000),
            ["commitment of 500 calls", "400 of 500 committed calls"],
        ),
        (
            "Committed calls, Sandbox",
            Decimal(2000),
            ["commitment of 200 calls", "200 of 200 committed calls"],
        ),
    ]
    assert shown.subtotal == invoice.subtotal == Decimal(10_500)
    projection.project(shop.customer.pk)  # The edge was last told in November.
    assert_clean()


def shop_of_october(shop: Shop, *, allocated: bool) -> Shop:
    """Give the shop's customer three agents, with contracts of their own or not."""
    agents = add_agents(shop)
    if allocated:
        for (agent, *_), (_, calls, price, _) in zip(agents, AGENTS, strict=True):
            with clock.travel(OCTOBER):
                subscriptions.subscribe(
                    customer=shop.customer,
                    product=shop.product,
                    plan_version=shop.version,
                    start_at=OCTOBER,
                    agent=agent,
                    commitment={"amount": calls, "price": price},
                    actor=None,
                )
    shop.extra["agents"] = agents
    return shop


@pytest.mark.django_db(transaction=True)
def test_one_contract_of_the_customer_pools_the_commitment(bare: Door) -> None:
    shop = shop_of_october(make_shop(body=COMMITTED, since=OCTOBER), allocated=False)
    send_calls(shop, shop.extra["agents"], bare)
    (invoice,) = close_month()
    assert lines_of(invoice) == [
        (
            "Committed calls",
            Decimal(10_000),
            ["commitment of 1,000 calls", "950 of 1,000 committed calls"],
        )
    ]
    projection.project(shop.customer.pk)
    assert_clean()


def calls(shop: Shop, count: int, at: dt.datetime) -> None:
    """Store and rate one event with so many calls."""
    store_event(shop, {"tool_calls": count, "input_tokens": 1000}, at=at)
    assert pipeline.rate() == 1


def backtest(shop: Shop, version: PlanVersion) -> Priced:
    """Return October under a version."""
    pricer = Pricer(
        tenant_id=shop.tenant.pk,
        month=OCTOBER.date(),
        plans=list(load_plans([version.pk]).values()),
        product_id=shop.product.pk,
    )
    with clock.travel(NOVEMBER + 12 * HOUR):
        priced = pricer.price(shop.customer)
    assert isinstance(priced, Priced)
    return priced


def test_own_prices_from_the_middle_of_a_period_on() -> None:
    shop = make_shop(since=OCTOBER)
    with clock.travel(OCTOBER + 5 * DAY):
        calls(shop, 100, OCTOBER + 4 * DAY)  # $1.00, and $0.003 for tokens
    with clock.travel(OCTOBER + 10 * DAY):
        made = own_prices.set_prices(
            subscription=shop.subscription,
            charges=CHEAPER,
            at=OCTOBER + 10 * DAY,
            actor=shop.owner,
            reason="agreed",
        )
    assert made.overrides == {"charges": CHEAPER, "currency": "USD"}
    calls(shop, 100, OCTOBER + 20 * DAY)  # $0.80
    calls(shop, 10, OCTOBER + 3 * DAY)  # Late: of the time of the list price.
    assert_clean()
    (invoice,) = close_month()
    (line,) = [x for x in invoice.lines.all() if x.charge_key == "calls"]
    assert line.exact_amount == Decimal("1.90")
    assert [step["label"] for step in line.steps] == ["110 × $0.01", "100 × $0.008"]
    assert_clean()


def test_a_contract_with_own_prices_is_reproduced_by_its_version() -> None:
    shop = make_shop(since=OCTOBER)
    with clock.travel(OCTOBER + HOUR):
        own_prices.set_prices(
            subscription=shop.subscription,
            charges={**CHEAPER, "input": {"discount_percent": "50"}},
            at=OCTOBER + HOUR,
            actor=None,
        )
    calls(shop, 1000, OCTOBER + 20 * DAY)
    (invoice,) = close_month()
    assert invoice.subtotal == Decimal("8.00")
    own = backtest(shop, shop.version)
    assert own.old is not None
    assert own.new[0].exact == own.old.exact == Decimal("8.0015")
    # Another plan: what fits of the own prices goes on.
    other = make_version(
        shop.product, {**TOKENS_PLAN, "charges": TOKENS_PLAN["charges"][:1]}
    )
    assert backtest(shop, other).new[0].exact == Decimal("0.0015")
    assert_clean()


def in_euros(shop: Shop, **terms: Any) -> Subscription:
    """Subscribe the customer to a product that is sold in two currencies."""
    with clock.travel(OCTOBER):
        subscriptions.cancel(subscription=shop.subscription, at=OCTOBER, actor=None)
        return subscriptions.subscribe(
            customer=shop.customer,
            product=shop.product,
            plan_version=shop.version,
            start_at=OCTOBER,
            actor=None,
            **terms,
        )


def test_a_contract_in_a_further_currency_is_invoiced_in_it() -> None:
    shop = make_shop(body=SOLD_IN_TWO, since=OCTOBER - 5 * DAY)
    made = in_euros(shop, currency="EUR")
    assert made.snapshots.get().overrides == {"currency": "EUR"}
    calls(shop, 1000, OCTOBER + 20 * DAY)
    with clock.travel(OCTOBER + 22 * DAY):
        own_prices.set_prices(
            subscription=made, charges=CHEAPER, at=OCTOBER + 22 * DAY, actor=None
        )
    calls(shop, 1000, OCTOBER + 24 * DAY)
    (invoice,) = close_month()
    assert (invoice.currency, invoice.subtotal) == ("EUR", Decimal("17.01"))
    assert_clean()


def test_a_currency_that_is_not_offered_is_refused_with_those_that_are() -> None:
    shop = make_shop(body=SOLD_IN_TWO, since=OCTOBER - 5 * DAY)
    with pytest.raises(AforoError) as found:
        in_euros(shop, currency="GBP")
    refusal = found.value
    assert (refusal.code, refusal.status) == ("currency_not_offered", 422)
    assert refusal.field == "currency"
    assert "is not sold in GBP; it is sold in USD, EUR." in refusal.detail


def test_the_customers_currency_is_taken_where_the_plan_has_it() -> None:
    shop = make_shop(body=SOLD_IN_TWO, since=OCTOBER - 5 * DAY)
    shop.customer.currency = "EUR"
    shop.customer.save()
    made = in_euros(shop)
    assert made.snapshots.get().overrides == {"currency": "EUR"}
    # It stays in euros on another plan that is sold in them, and leaves them only
    # for one that never was, and only if nobody chose them.
    single = make_version(shop.product, TOKENS_PLAN)
    with pytest.raises(AforoError) as found:
        subscriptions.change_plan(
            subscription=made,
            plan_version=single,
            at=NOVEMBER,
            overrides=made.snapshots.get().overrides,
            actor=None,
        )
    assert found.value.code == "currency_not_offered"
    again = make_version(shop.product, SOLD_IN_TWO)
    moved = subscriptions.change_plan(
        subscription=made, plan_version=again, at=NOVEMBER, actor=None
    )
    assert moved.overrides == {"currency": "EUR"}
