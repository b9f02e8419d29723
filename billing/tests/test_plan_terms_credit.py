"""Prepaid credit and the terms of a whole plan: what is overpaid comes back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing import burndown, wallets
from billing.models import Wallet
from billing.preview import preview
from billing.tests.cast import (
    DAY,
    OCTOBER,
    Cast,
    close_month,
    make_cast,
    per_call,
    subscribe,
    use,
    with_fee,
)
from billing.tests.test_plan_terms import TEN, assert_clean, calls, terms

pytestmark = pytest.mark.django_db


def top_up(cast: Cast, amount: str) -> None:
    """Pay an amount into the customer's wallet."""
    wallets.top_up(
        customer=cast.customer, currency="USD", amount=Decimal(amount), actor=None
    )


def fee_and_calls(fee: str, each: str) -> dict[str, Any]:
    """Return a plan with a monthly fee and a price of each call."""
    body = with_fee(fee)
    return {**body, "charges": [body["charges"][0], *per_call(each)["charges"]]}


def test_what_a_wallet_paid_of_discounted_usage_comes_back():
    cast = make_cast()
    top_up(cast, "100")
    subscribe(cast, terms(fee_and_calls("200", "1"), discounts=[TEN]))
    use(cast, calls(30))
    assert Wallet.objects.get().balance == 70
    made = preview(customer=cast.customer, currency="USD", now=OCTOBER + DAY)
    (invoice,) = close_month()
    # The fee of 200 less 10 % is left to pay; 27 of the wallet paid the usage.
    assert (invoice.total, invoice.credits_applied, invoice.due) == (207, 27, 180)
    assert made is not None
    assert made.credits_applied == 27
    assert made.due == 180
    assert Wallet.objects.get().balance == 73
    assert_clean()


@pytest.mark.parametrize(
    ("paid", "more", "total", "credit"),
    [
        ("100", {"maximum": "10"}, "10", "10"),
        ("25", {"discounts": [TEN]}, "27", "25"),
        ("28", {"discounts": [TEN]}, "27", "27"),
        ("28", {"discounts": [{"name": "All", "percent": "100"}]}, "0", "0"),
        ("5", {"discounts": [{"name": "Rebate", "amount": "29"}]}, "1", "1"),
        ("100", {"minimum": "50"}, "50", "30"),
        ("100", {"discounts": [TEN], "minimum": "50"}, "50", "27"),
    ],
)
def test_due_is_never_negative_and_the_wallet_has_what_was_overpaid(
    paid: str, more: dict[str, Any], total: str, credit: str
):
    cast = make_cast()
    top_up(cast, paid)
    subscribe(cast, terms(per_call("1"), **more))
    use(cast, calls(30))
    (invoice,) = close_month()
    assert invoice.total == Decimal(total)
    assert invoice.credits_applied == Decimal(credit)
    assert invoice.due >= 0
    assert Wallet.objects.get().balance == Decimal(paid) - Decimal(credit)
    applied = burndown.applied(cast.customer.pk, invoice.period_id, "USD")
    assert applied == Decimal(credit)
    assert_clean()
