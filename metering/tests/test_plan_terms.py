"""A plan's minimum, maximum and discounts from a posted event to a proven invoice."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing import accounts, invoicing, subscriptions, supposed, wallets
from billing.models import BillingPeriod, Invoice, Wallet
from billing.preview import preview
from billing.tests.cast import DAY, HOUR, NOVEMBER, OCTOBER
from catalog import plans
from catalog.plans import load_plans
from catalog.pricing import parse_plan
from metering import pipeline, repricing
from metering.backtest import Priced, Pricer
from tests.factories import TOKENS_PLAN, Shop, make_shop, make_version

pytestmark = pytest.mark.django_db(transaction=True)
FEE = {
    "key": "fee",
    "name": "Fee",
    "price": {"model": "flat", "amount": "20", "due": "advance"},
}
LAUNCH = {"name": "Launch", "percent": "10", "charges": ["calls", "fee"]}
BODY: dict[str, Any] = {
    **TOKENS_PLAN,
    "charges": [FEE, *TOKENS_PLAN["charges"]],
    "discounts": [
        {**LAUNCH, "from": "2026-10-01", "until": "2026-11-01"},
        {"name": "Rebate", "amount": "1.005"},
    ],
    "minimum": "30",
    "maximum": "500",
}


def post(shop: Shop, number: int, at: Any, **measured: int) -> None:
    """Send an event to the door, as a gateway does."""
    event = {
        "eventType": "llm.completion",
        "eventId": f"e{number}",
        "customerId": shop.customer.external_id,
        "correlationId": f"c{number}",
        "timestamp": at.isoformat(),
        "measurements": [
            {"metricKey": name, "value": value} for name, value in measured.items()
        ],
    }
    answer = Client().post(
        "/v1/events",
        json.dumps(event),
        content_type="application/json",
        headers={"authorization": f"Bearer {shop.service_secret}"},
    )
    assert answer.status_code == 200, answer.content


def close(end: Any) -> Invoice:
    """Close a month, let its grace pass and return its invoice."""
    for at in (end, end + HOUR * 2):
        with clock.travel(at):
            invoicing.close_periods(at)
    return Invoice.objects.get(period__end_at=end)


def shop_with_usage(*, paid: str = "") -> Shop:
    """Return a seller whose customer used 700 calls and some tokens in October."""
    with clock.travel(OCTOBER):
        shop = make_shop(body=BODY, since=OCTOBER)
        if paid:
            wallets.top_up(
                customer=shop.customer,
                currency="USD",
                amount=Decimal(paid),
                actor=None,
            )
    with clock.travel(OCTOBER + 3 * DAY):
        post(shop, 1, OCTOBER + DAY, tool_calls=600, input_tokens=500_000)
        post(shop, 2, OCTOBER + 2 * DAY, tool_calls=100)
        assert pipeline.rate() > 0
    return shop


def assert_clean() -> None:
    """Every invariant of the data holds."""
    assert {code: found for code, found in breaks().items() if found} == {}


def test_an_invoice_has_the_terms_and_every_proof_holds() -> None:
    shop = shop_with_usage()
    with clock.travel(OCTOBER + 4 * DAY):
        made = preview(customer=shop.customer, currency="USD")
    assert made is not None
    invoice = close(NOVEMBER)
    lines = [(line.name, line.amount) for line in invoice.lines.order_by("position")]
    assert lines == [
        ("Fee", Decimal(20)),
        ("Input tokens", Decimal("1.50")),
        ("Tool calls", Decimal(7)),
        ("Launch", Decimal("-2.70")),
        ("Rebate", Decimal("-1.01")),
        # 28.50 less 2.70 less 1.005 is 24.795.
        ("Minimum spend", Decimal("5.21")),
    ]
    assert invoice.total == 30
    assert [(line.name, line.amount) for line in made.lines] == lines
    assert_clean()


def test_a_backtest_of_the_own_version_gives_the_invoice() -> None:
    shop = shop_with_usage()
    invoice = close(NOVEMBER)
    with clock.travel(NOVEMBER + DAY):
        pricer = Pricer(
            tenant_id=shop.tenant.pk,
            month=OCTOBER.date(),
            plans=[load_plans([shop.version.pk])[shop.version.pk]],
            product_id=shop.product.pk,
        )
        priced = pricer.price(shop.customer)
    assert isinstance(priced, Priced)
    stored = [
        (line.charge_key, line.name, line.exact_amount, line.amount, line.steps)
        for line in invoice.lines.order_by("position")
    ]
    for bill in (priced.new[0], priced.old):
        assert bill is not None
        assert [
            (line.charge_key, line.name, line.exact_amount, line.amount, line.steps)
            for line in bill.lines
        ] == stored
    fixed = Decimal(20) - 2 - Decimal("1.005") + Decimal("5.205")
    assert priced.new[0].fees == fixed
    assert priced.new[0].exact == 30


def test_the_impact_on_last_month_is_the_invoice_and_what_it_would_be() -> None:
    shop = shop_with_usage()
    invoice = close(NOVEMBER)
    old = load_plans([shop.version.pk])[shop.version.pk].plan
    new = parse_plan({**json.loads(json.dumps(shop.version.body)), "minimum": "31"})
    with clock.travel(NOVEMBER + DAY):
        (effect,) = repricing.last_month({shop.subscription: old}, new).effects
    assert effect.old == invoice.subtotal
    assert effect.new == 31


def test_late_usage_and_the_wallet_end_up_where_one_month_would_have() -> None:
    shop = shop_with_usage(paid="50")
    assert Wallet.objects.get().balance == Decimal("41.5")
    october = close(NOVEMBER)
    assert (october.total, october.due) == (30, Decimal(30) - october.credits_applied)
    assert 0 <= october.credits_applied <= Decimal("8.50")
    with clock.travel(NOVEMBER + DAY):
        post(shop, 3, OCTOBER + 5 * DAY, tool_calls=1000)
        assert pipeline.rate() > 0
    november = close(NOVEMBER + 30 * DAY)
    with clock.travel(NOVEMBER + 30 * DAY + 2 * HOUR):
        assert_clean()
    late = {
        line.name.partition(",")[0]: line.amount
        for line in november.lines.filter(usage_period=october.period)
    }
    assert late == {
        "Tool calls": Decimal(10),
        "Launch": Decimal(-1),
        # What was made up for, 5.205; both months together are 33.795.
        "Minimum spend": Decimal("-5.20"),
    }
    assert november.due >= 0


def test_another_plan_with_terms_is_supposed_without_writing() -> None:
    shop = shop_with_usage()
    capped = {**TOKENS_PLAN, "maximum": "5"}
    with clock.travel(OCTOBER):
        version = make_version(shop.product, capped)
    period = BillingPeriod.objects.get(start_at=OCTOBER)
    (contract,) = supposed.contracts(period, shop.product.pk)
    found = supposed.lines(
        contract, period, priced=load_plans([version.pk])[version.pk], state={}
    )
    assert found == ()
    invoice = close(NOVEMBER)
    assert invoice.total == 30


@pytest.mark.parametrize("prorate", [False, True])
@pytest.mark.parametrize("ends", [False, True])
def test_a_backtest_of_a_part_of_a_month_gives_its_invoice(
    prorate: bool, ends: bool
) -> None:
    start, end = OCTOBER + 4 * DAY, OCTOBER + 20 * DAY
    with clock.travel(OCTOBER):
        shop = make_shop(body=TOKENS_PLAN, since=OCTOBER)
        plan = shop.version.plan
        draft = plans.save_draft(
            plan=plan, body=BODY, limits={}, actor=None, prorate=prorate
        )
        version = plans.publish(version=draft, actor=None)
        customer = accounts.create_customer(
            tenant=shop.tenant, name="Late", external_id="late", actor=None
        )
    with clock.travel(start):
        contract = subscriptions.subscribe(
            customer=customer,
            product=shop.product,
            plan_version=version,
            start_at=start,
            actor=None,
        )
    shop.customer = customer
    with clock.travel(OCTOBER + 10 * DAY):
        post(shop, 1, OCTOBER + 9 * DAY, tool_calls=300)
        assert pipeline.rate() > 0
    if ends:
        with clock.travel(end):
            subscriptions.cancel(subscription=contract, at=end, actor=None)
    for at in (NOVEMBER, NOVEMBER + HOUR * 2):
        with clock.travel(at):
            invoicing.close_periods(at)
    invoice = Invoice.objects.get(customer=customer)
    with clock.travel(NOVEMBER + DAY):
        priced = Pricer(
            tenant_id=shop.tenant.pk,
            month=OCTOBER.date(),
            plans=[load_plans([version.pk])[version.pk]],
            product_id=shop.product.pk,
        ).price(customer)
    assert isinstance(priced, Priced)
    stored = [
        (line.charge_key, line.exact_amount, line.amount)
        for line in invoice.lines.order_by("position")
    ]
    (bill,) = priced.new
    assert [(li.charge_key, li.exact_amount, li.amount) for li in bill.lines] == stored
    assert ("plan:minimum" in {key for key, *_ in stored}) is (prorate or not ends)
    assert_clean()
