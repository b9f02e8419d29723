"""A month of every kind of charge, billed to the cent."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing import invoicing, preview
from billing.models import BillingPeriod, Invoice, LedgerEntry
from billing.tests.cast import (
    DAY,
    GROWTH,
    HOUR,
    NOVEMBER,
    OCTOBER,
    Cast,
    breaks,
    close_month,
    event,
    make_cast,
    subscribe,
    use,
)

pytestmark = pytest.mark.django_db


def a_month_of_usage(cast: Cast) -> None:
    """60M tokens, 3M look-ups, and two priority requests of $10 and $100."""
    use(
        cast,
        [
            event(OCTOBER + DAY * (n % 30), tokens="2000000", lookups="100000")
            for n in range(30)
        ],
    )
    priority = {"requestType": "priority"}
    use(
        cast,
        [
            event(OCTOBER + DAY, properties=priority, inference_cost="10"),
            event(OCTOBER + DAY * 2, properties=priority, inference_cost="100"),
        ],
    )


def test_a_month_is_billed_to_the_cent():
    cast = make_cast()
    subscribe(cast, GROWTH)
    a_month_of_usage(cast)
    (invoice,) = close_month()
    lines = {line.charge_key: line.amount for line in invoice.lines.all()}
    assert lines == {
        "platform": Decimal("200.00"),
        "tokens": Decimal("155.00"),
        "lookups": Decimal("10.00"),
        "priority": Decimal("3.00"),
    }
    assert invoice.total == Decimal("368.00")
    assert invoice.number == "INV-2026-0001"
    assert breaks() == []


def test_the_lines_carry_their_tiers_in_words():
    cast = make_cast()
    subscribe(cast, GROWTH)
    a_month_of_usage(cast)
    (invoice,) = close_month()
    tokens = invoice.lines.get(charge_key="tokens")
    assert tokens.quantity == 60_000_000
    assert [(s["label"], s["amount"]) for s in tokens.steps] == [
        ("first 10,000,000 × $3.00 per 1M", "30"),
        ("next 50,000,000 × $2.50 per 1M", "125"),
    ]


def test_the_preview_says_what_the_invoice_will_say():
    cast = make_cast()
    subscribe(cast, GROWTH)
    a_month_of_usage(cast)
    made = preview.preview(customer=cast.customer, currency="USD", now=OCTOBER + DAY)
    (invoice,) = close_month()
    assert made is not None
    assert made.total == invoice.total
    assert [line.name for line in made.lines] == [
        line.name for line in invoice.lines.all()
    ]
    assert [line.steps for line in made.lines] == [
        line.steps for line in invoice.lines.all()
    ]


def test_a_second_close_changes_nothing():
    cast = make_cast()
    subscribe(cast, GROWTH)
    a_month_of_usage(cast)
    close_month()
    before = (Invoice.objects.count(), LedgerEntry.objects.count())
    done = invoicing.close_periods(NOVEMBER + HOUR * 2)
    assert (Invoice.objects.count(), LedgerEntry.objects.count()) == before
    assert not any(done.values())


def test_sub_cent_usage_is_rounded_once_and_the_ledger_keeps_the_difference():
    cast = make_cast()
    subscribe(cast, GROWTH)
    use(cast, [event(OCTOBER, tokens="1001")])
    (invoice,) = close_month()
    tokens = invoice.lines.get(charge_key="tokens")
    assert tokens.exact_amount == Decimal("0.003003")
    assert tokens.amount == Decimal("0.00")
    rounding = LedgerEntry.objects.get(kind=LedgerEntry.Kind.ROUNDING)
    assert rounding.amount == Decimal("-0.003003")
    assert breaks() == []


def test_the_period_is_sealed_with_the_head_of_the_books():
    cast = make_cast()
    subscribe(cast, GROWTH)
    close_month()
    period = BillingPeriod.objects.get(start_at=OCTOBER)
    cast.customer.books.refresh_from_db()
    assert period.state == BillingPeriod.State.FINALISED
    assert period.seal == cast.customer.books.head
    assert len(period.seal) == 64
