"""A contract's revenue is what its invoice would say, without looking at the ledger."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from billing import contract_revenue, periods, preview, recurring, subscriptions
from billing.contract_revenue import Used
from billing.models import UsageTotal
from metering import pipeline
from tests.factories import Shop, make_shop, make_version, store_event

OCTOBER = dt.datetime(2026, 10, 15, 12, tzinfo=dt.UTC)


def calls(price: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "key": "calls",
        "name": "Calls",
        "metric": "tool_calls",
        "price": price,
    } | more


def fee(amount: str, due: str = "advance") -> dict[str, Any]:
    price = {"model": "flat", "amount": amount, "due": due}
    return {"key": f"fee-{due}", "name": "Platform", "price": price}


EACH = {"model": "per_unit", "unit_amount": "0.10"}
PLANS: dict[str, tuple[dict[str, Any], str]] = {
    "usage alone": ({"charges": [calls(EACH)]}, "0.10"),
    "a fee in advance": ({"charges": [calls(EACH), fee("50")]}, "50.10"),
    "a fee in arrears": ({"charges": [calls(EACH), fee("50", "arrears")]}, "50.10"),
    "a minimum spend": ({"charges": [calls(EACH)], "minimum": "80"}, "80"),
    "a charge's minimum": ({"charges": [calls(EACH, minimum="7")]}, "7"),
    "a maximum": ({"charges": [calls(EACH), fee("50")], "maximum": "20"}, "20"),
    "a discount": (
        {
            "charges": [calls(EACH), fee("50")],
            "discounts": [{"name": "Friends", "percent": "10"}],
        },
        "45.09",
    ),
    "first flat of a volume": (
        {
            "charges": [
                calls(
                    {
                        "model": "volume",
                        "tiers": [
                            {"up_to": "5", "unit_amount": "1", "flat_amount": "9"},
                            {"up_to": None, "unit_amount": "0.5"},
                        ],
                    }
                )
            ]
        },
        "10",
    ),
}


@pytest.fixture(autouse=True)
def october() -> Iterator[None]:
    with clock.travel(OCTOBER):
        yield


def revenue(shop: Shop) -> Decimal:
    period = periods.find(shop.customer.pk, clock.now())
    assert period is not None
    rows = UsageTotal.objects.filter(customer=shop.customer, period=period)
    used = [Used(row.snapshot_id, row.spend, row.state) for row in rows]
    found = contract_revenue.of_period(period, recurring.terms(shop.customer.pk), used)
    return sum(found.values(), Decimal(0))


def invoiced(shop: Shop) -> Decimal:
    bill = preview.preview(customer=shop.customer, currency="USD")
    return (
        sum((line.exact_amount for line in bill.lines), Decimal(0))
        if bill
        else Decimal(0)
    )


@pytest.mark.django_db
@pytest.mark.parametrize("name", PLANS)
def test_it_is_what_the_invoice_would_say(name: str) -> None:
    body, wanted = PLANS[name]
    shop = make_shop(body={"currency": "USD", **body})
    store_event(shop, {"tool_calls": 1})
    pipeline.rate()
    assert revenue(shop) == Decimal(wanted)
    assert invoiced(shop) == Decimal(wanted)
    store_event(shop, {"tool_calls": 5_000})
    pipeline.rate()
    assert revenue(shop) == invoiced(shop)


@pytest.mark.django_db
def test_fees_and_minimums_count_from_the_first_second() -> None:
    body = {"currency": "USD", "charges": [calls(EACH), fee("50")], "minimum": "80"}
    shop = make_shop(body=body, since=OCTOBER)
    assert revenue(shop) == invoiced(shop) == Decimal(80)


@pytest.mark.django_db
def test_a_change_of_plan_inside_the_period_counts_both() -> None:
    shop = make_shop(body={"currency": "USD", "charges": [calls(EACH), fee("50")]})
    store_event(shop, {"tool_calls": 10})
    pipeline.rate()
    body = {"currency": "USD", "charges": [calls(EACH), fee("90")], "minimum": "200"}
    version = make_version(shop.product, body)
    at = clock.now() + dt.timedelta(hours=1)
    subscriptions.change_plan(
        subscription=shop.subscription, plan_version=version, at=at, actor=None
    )
    with clock.travel(at + dt.timedelta(hours=1)):
        store_event(shop, {"tool_calls": 20})
        pipeline.rate()
        assert revenue(shop) == invoiced(shop)
