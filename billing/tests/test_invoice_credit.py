"""Prepaid credit on invoices: in whole minor units, equal to what the wallet paid."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing import burndown, wallets
from billing.models import Wallet
from billing.preview import preview
from billing.tests.cast import (
    DAY,
    OCTOBER,
    Cast,
    breaks,
    close_month,
    event,
    make_cast,
    per_call,
    subscribe,
    use,
    with_fee,
)

pytestmark = pytest.mark.django_db


def top_up(cast: Cast, amount: str) -> None:
    """Pay an amount into the customer's wallet."""
    wallets.top_up(
        customer=cast.customer, currency="USD", amount=Decimal(amount), actor=None
    )


def calls(count: int) -> list:
    """Return so many calls in October."""
    return [event(OCTOBER + DAY) for _ in range(count)]


def paid(invoice) -> Decimal:
    """Return what the wallet's entries say it paid of an invoice."""
    return burndown.applied(invoice.customer_id, invoice.period_id, "USD")


def test_usage_that_the_wallet_paid_leaves_nothing_due():
    cast = make_cast()
    top_up(cast, "10")
    subscribe(cast, per_call("0.0033"))
    use(cast, calls(5))
    (invoice,) = close_month()
    assert (invoice.subtotal, invoice.credits_applied, invoice.due) == (
        Decimal("0.02"),
        Decimal("0.02"),
        0,
    )
    assert paid(invoice) == invoice.credits_applied
    assert Wallet.objects.get().balance == Decimal("9.98")
    assert breaks() == []


def test_rounding_in_the_customers_favour_goes_back_to_the_wallet():
    cast = make_cast()
    top_up(cast, "10")
    subscribe(cast, per_call("0.0044"))
    use(cast, calls(1))
    (invoice,) = close_month()
    assert invoice.total == invoice.credits_applied == 0
    assert Wallet.objects.get().balance == 10


def test_an_empty_wallet_covers_whole_cents_and_keeps_the_rest():
    cast = make_cast()
    top_up(cast, "0.025")
    subscribe(cast, per_call("0.01"))
    use(cast, calls(5))
    (invoice,) = close_month()
    assert (invoice.total, invoice.credits_applied, invoice.due) == (
        Decimal("0.05"),
        Decimal("0.02"),
        Decimal("0.03"),
    )
    assert Wallet.objects.get().balance == Decimal("0.005")
    assert breaks() == []


def test_a_wallet_that_is_spent_to_the_last_digit_bears_no_rounding():
    cast = make_cast()
    top_up(cast, "0.018")
    subscribe(cast, per_call("0.018"))
    use(cast, calls(1))
    (invoice,) = close_month()
    assert (invoice.total, invoice.credits_applied) == (
        Decimal("0.02"),
        Decimal("0.01"),
    )
    assert Wallet.objects.get().balance == Decimal("0.008")


def test_fixed_amounts_are_invoiced_not_burnt():
    cast = make_cast()
    top_up(cast, "100")
    subscribe(cast, with_fee("40"))
    use(cast, calls(5))
    (invoice,) = close_month()
    assert (invoice.total, invoice.credits_applied, invoice.due) == (
        Decimal("40.05"),
        Decimal("0.05"),
        Decimal("40.00"),
    )


def test_tax_is_on_the_subtotal_before_credit():
    cast = make_cast()
    cast.tenant.tax_rate = Decimal(21)
    cast.tenant.save()
    cast.customer.refresh_from_db()
    top_up(cast, "1")
    subscribe(cast, per_call("0.50"))
    use(cast, calls(2))
    (invoice,) = close_month()
    assert (invoice.tax, invoice.total, invoice.due) == (
        Decimal("0.21"),
        Decimal("1.21"),
        Decimal("0.21"),
    )


def test_the_customers_own_tax_rate_goes_before_the_tenants():
    cast = make_cast()
    cast.tenant.tax_rate = Decimal(21)
    cast.tenant.save()
    cast.customer.tax_rate = Decimal(0)
    cast.customer.save()
    subscribe(cast, per_call("0.50"))
    use(cast, calls(2))
    (invoice,) = close_month()
    assert (invoice.tax_rate, invoice.tax) == (Decimal(0), Decimal(0))


def test_the_preview_shows_the_credit_that_will_be_applied():
    cast = make_cast()
    top_up(cast, "10")
    subscribe(cast, per_call("0.0033"))
    use(cast, calls(5))
    made = preview(customer=cast.customer, currency="USD", now=OCTOBER + DAY)
    (invoice,) = close_month()
    assert made is not None
    assert (made.credits_applied, made.due) == (invoice.credits_applied, invoice.due)


def test_a_volume_tier_that_is_crossed_gives_credit_back():
    cast = make_cast()
    top_up(cast, "10")
    body = per_call()
    body["charges"][0]["price"] = {
        "model": "volume",
        "tiers": [
            {"up_to": "10", "unit_amount": "0.50"},
            {"up_to": None, "unit_amount": "0.10"},
        ],
    }
    subscribe(cast, body)
    use(cast, calls(10))
    assert Wallet.objects.get().balance == 5
    use(cast, calls(1))
    assert Wallet.objects.get().balance == Decimal("8.90")
    (invoice,) = close_month()
    assert invoice.credits_applied == invoice.total == Decimal("1.10")
    assert breaks() == []
