"""Amounts without usage: posted once per period, by the days where plans prorate."""

from __future__ import annotations

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from aforo.lib import clock
from billing import books, invoicing, periods, recurring, subscriptions
from billing.models import BillingPeriod, LedgerEntry, UsageTotal
from billing.tests.cast import (
    DAY,
    DECEMBER,
    NOVEMBER,
    OCTOBER,
    Cast,
    breaks,
    close_month,
    event,
    make_cast,
    make_version,
    subscribe,
    use,
    with_fee,
)

pytestmark = pytest.mark.django_db

TIERS_WITH_FLAT = {
    "currency": "USD",
    "charges": [
        {
            "key": "calls",
            "name": "Calls",
            "unit": "calls",
            "metric": "calls",
            "price": {
                "model": "graduated",
                "tiers": [
                    {"up_to": "100", "unit_amount": "0.10", "flat_amount": "20"},
                    {"up_to": None, "unit_amount": "0.05"},
                ],
            },
        }
    ],
}


def posted(cast: Cast) -> list[tuple[str, Decimal]]:
    """Return the recurring entries: charges and amount, oldest first."""
    rows = LedgerEntry.objects.filter(customer=cast.customer, kind="recurring")
    return [
        (",".join(row.charge_keys), row.amount)
        for row in rows.order_by("occurred_at", "id")
    ]


def change(subscription, cast, body, at, *, prorate=False):
    """Change the plan at an instant."""
    with clock.travel(at):
        return subscriptions.change_plan(
            subscription=subscription,
            plan_version=make_version(cast, body, prorate=prorate),
            at=at,
            actor=cast.owner,
        )


def test_a_fee_in_advance_is_posted_when_the_contract_starts():
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    assert posted(cast) == [("fee", Decimal(200))]
    assert UsageTotal.objects.get().recurring == 200


def test_the_first_tiers_flat_amount_is_due_without_usage():
    cast = make_cast()
    subscribe(cast, TIERS_WITH_FLAT)
    assert posted(cast) == [("calls", Decimal(20))]
    use(cast, [event(OCTOBER + DAY) for _ in range(3)])
    (invoice,) = close_month()
    assert invoice.total == Decimal("20.30")
    assert breaks() == []


def test_a_new_period_opens_with_its_fee_exactly_once():
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    invoicing.close_periods(NOVEMBER)
    invoicing.close_periods(NOVEMBER)
    assert posted(cast) == [("fee", Decimal(200)), ("fee", Decimal(200))]


def test_a_period_that_usage_made_is_opened_by_the_next_run():
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    with books.transaction(cast.customer.pk):
        periods.period_at(cast.customer.pk, NOVEMBER)
    assert invoicing.close_periods(NOVEMBER + DAY)["closed"] == 1
    assert posted(cast) == [("fee", Decimal(200)), ("fee", Decimal(200))]


def test_a_backdated_contract_opens_every_period_since():
    cast = make_cast()
    with clock.travel(DECEMBER + DAY):
        subscriptions.subscribe(
            customer=cast.customer,
            product=cast.product,
            plan_version=make_version(cast, with_fee("200")),
            start_at=OCTOBER,
            actor=None,
        )
    assert len(posted(cast)) == 3
    invoicing.close_periods(DECEMBER + DAY)
    assert len(posted(cast)) == BillingPeriod.objects.count() == 3


def test_a_start_inside_a_period_costs_the_whole_fee_unless_the_plan_prorates():
    cast = make_cast()
    subscribe(cast, with_fee("310"), at=OCTOBER + DAY * 21)
    assert posted(cast) == [("fee", Decimal(310))]


def test_a_start_inside_a_period_is_prorated_by_days():
    cast = make_cast()
    subscribe(cast, with_fee("310"), at=OCTOBER + DAY * 21, prorate=True)
    assert posted(cast) == [("fee", Decimal(100))]
    (invoice,) = close_month()
    (fee,) = invoice.lines.all()
    assert [(s["label"], s["amount"]) for s in fee.steps] == [
        ("flat amount", "310"),
        ("for the days of the period", "-210"),
    ]


def test_a_change_of_plan_gives_back_the_days_left_and_charges_the_new_ones():
    cast = make_cast()
    subscription = subscribe(cast, with_fee("310"), prorate=True)
    change(subscription, cast, with_fee("620"), OCTOBER + DAY * 21, prorate=True)
    assert posted(cast) == [
        ("fee", Decimal(310)),
        ("fee", Decimal(-100)),
        ("fee", Decimal(200)),
    ]


def test_without_proration_the_new_fee_begins_with_the_next_period():
    cast = make_cast()
    subscription = subscribe(cast, with_fee("310"))
    change(subscription, cast, with_fee("620"), OCTOBER + DAY * 21)
    invoicing.close_periods(NOVEMBER)
    assert posted(cast) == [("fee", Decimal(310)), ("fee", Decimal(620))]


def test_a_change_at_the_first_instant_replaces_the_fee():
    cast = make_cast()
    subscription = subscribe(cast, with_fee("310"), at=OCTOBER - DAY * 30)
    invoicing.close_periods(OCTOBER)
    change(subscription, cast, with_fee("620"), OCTOBER)
    assert sum(amount for _, amount in posted(cast)[1:]) == 620


def test_a_change_starts_the_tiers_again():
    cast = make_cast()
    subscription = subscribe(cast, TIERS_WITH_FLAT)
    use(cast, [event(OCTOBER + DAY) for _ in range(101)])
    change(subscription, cast, TIERS_WITH_FLAT, OCTOBER + DAY * 2)
    use(cast, [event(OCTOBER + DAY * 3)])
    usage = LedgerEntry.objects.filter(kind="usage").order_by("-occurred_at")
    assert usage[0].amount == Decimal("0.10")
    (invoice,) = close_month()
    assert invoice.total == Decimal("30.15")
    assert breaks() == []


def test_a_fee_in_arrears_is_charged_with_the_invoice():
    cast = make_cast()
    subscribe(cast, with_fee("200", due="arrears"))
    assert posted(cast) == []
    (invoice,) = close_month()
    assert invoice.total == 200
    assert posted(cast) == [("fee", Decimal(200))]
    assert breaks() == []


def test_only_the_plan_in_force_at_the_end_charges_a_fee_in_arrears():
    cast = make_cast()
    subscription = subscribe(cast, with_fee("310", due="arrears"))
    change(subscription, cast, with_fee("620", due="arrears"), OCTOBER + DAY)
    (invoice,) = close_month()
    assert invoice.total == 620


def test_fees_in_arrears_are_shared_by_days_where_plans_prorate():
    cast = make_cast()
    subscription = subscribe(cast, with_fee("310", due="arrears"), prorate=True)
    change(
        subscription,
        cast,
        with_fee("620", due="arrears"),
        OCTOBER + DAY * 21,
        prorate=True,
    )
    (invoice,) = close_month()
    assert invoice.total == Decimal(210 + 200)


def test_cancelling_gives_back_the_days_left_where_the_plan_prorates():
    cast = make_cast()
    subscription = subscribe(cast, with_fee("310"), prorate=True)
    with clock.travel(OCTOBER + DAY * 21):
        subscriptions.cancel(
            subscription=subscription, at=OCTOBER + DAY * 21, actor=None
        )
    assert posted(cast) == [("fee", Decimal(310)), ("fee", Decimal(-100))]
    (invoice,) = close_month()
    assert invoice.total == 210
    assert len(posted(cast)) == 2


def test_shares_of_adjoining_spans_sum_to_the_whole():
    cast = make_cast(timezone="Europe/Berlin")
    period = periods.period_at(cast.customer.pk, OCTOBER + DAY)
    middle = periods.first_instant((OCTOBER + DAY * 12).date(), _zone(period))
    first = recurring.share(Decimal(31), period, period.start_at, middle)
    second = recurring.share(Decimal(31), period, middle, period.end_at)
    assert (first, second) == (Decimal(12), Decimal(19))


def _zone(period):
    return ZoneInfo(period.timezone)


VOLUME_WITH_FLAT = {
    "currency": "USD",
    "charges": [
        {
            "key": "calls",
            "name": "Calls",
            "metric": "calls",
            "price": {
                "model": "volume",
                "tiers": [
                    {"up_to": "10", "unit_amount": "0", "flat_amount": "100"},
                    {"up_to": None, "unit_amount": "1"},
                ],
            },
        }
    ],
}


@pytest.mark.parametrize(
    ("_case", "prorate", "total"),
    [
        # The old plan keeps its 100; 11 calls at $1 are added, and nothing taken back.
        ("in full", False, Decimal("111.00")),
        # 15 of 31 days of 100 stay with the old plan; the new one has 11 calls.
        ("by days", True, Decimal("59.39")),
    ],
)
def test_a_first_tier_left_takes_back_what_was_paid_of_it_alone(
    _case: str, prorate: bool, total: Decimal
) -> None:
    cast = make_cast()
    subscription = subscribe(cast, VOLUME_WITH_FLAT, prorate=prorate)
    use(cast, [event(OCTOBER + DAY) for _ in range(5)])
    change(subscription, cast, VOLUME_WITH_FLAT, OCTOBER + 15 * DAY, prorate=prorate)
    use(cast, [event(OCTOBER + 20 * DAY) for _ in range(11)])
    (invoice,) = close_month()
    assert invoice.subtotal == total
    assert breaks() == []
