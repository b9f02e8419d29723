"""A month that a change of the contract splits has the terms it had without it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import sql
from billing.tests.cast import (
    DAY,
    DECEMBER,
    NOVEMBER,
    OCTOBER,
    Cast,
    close_month,
    make_cast,
    per_call,
    subscribe,
    use,
    with_fee,
)
from billing.tests.test_plan_terms import TEN, assert_clean, calls, change, shown, terms

pytestmark = pytest.mark.django_db
REBATE = {"name": "Rebate", "amount": "17.77"}
ODD = {"name": "Odd", "percent": "3.3333"}
DAYS = (0, 7, 20)  # On which the contract begins and is changed.


def booked(cast: Cast) -> dict[str, Decimal]:
    """Return the exact sum of each line in a customer's books, rounding apart."""
    with sql.cursor() as cursor:
        rows = cursor.execute(
            "SELECT k.charge_key, sum(k.amount) FROM billing_ledgerentry e"
            " JOIN billing_ledgerbasis b ON b.id = e.basis_id"
            " CROSS JOIN LATERAL unnest(b.charge_keys, aforo_figures(e.amounts))"
            " AS k (charge_key, amount)"
            " WHERE e.customer_id = %b AND e.kind <> 'rounding' GROUP BY 1",
            [cast.customer.pk],
        ).fetchall()
    return {key: amount for key, amount in rows if amount}


@pytest.mark.parametrize("prorate", [True, False])
@pytest.mark.parametrize(
    "more",
    [
        {"minimum": "500"},
        {"maximum": "210.01"},
        {"discounts": [TEN, ODD]},
        {"discounts": [REBATE, {**REBATE, "name": "Usage", "charges": ["calls"]}]},
        {"discounts": [ODD, REBATE], "minimum": "190.01", "maximum": "203"},
    ],
)
def test_changes_that_change_nothing_leave_the_bill_to_the_last_digit(
    more: dict[str, Any], prorate: bool
):
    body = terms(with_fee("200"), **more)
    body["charges"][1]["price"]["unit_amount"] = "0.333333333331"
    first = make_cast()
    found = []
    for is_split in (False, True):
        cast = make_cast(tenant=first.tenant)
        contract = subscribe(cast, body, prorate=prorate)
        for day in DAYS:
            if day and is_split:
                change(contract, cast, body, OCTOBER + DAY * day, prorate=prorate)
            use(cast, calls(7 + day, OCTOBER + DAY * day + DAY))
        found.append(cast)
    invoices = close_month()
    whole, split = (booked(cast) for cast in found)
    assert split == whole
    assert any(key.startswith("plan:") for key in whole)
    totals = {one.customer_id: one.total for one in invoices}
    assert len({totals[cast.customer.pk] for cast in found}) == 1
    assert_clean()


@pytest.mark.parametrize(("minimum", "total"), [("31", 32), ("62", 50)])
def test_another_price_leaves_a_minimum_that_stays_one_over_the_month(
    minimum: str, total: int
):
    cast = make_cast()
    contract = subscribe(cast, terms(per_call("1"), minimum="31"), prorate=True)
    use(cast, calls(30))
    late = OCTOBER + DAY * 21
    change(contract, cast, terms(per_call("2"), minimum=minimum), late, prorate=True)
    use(cast, calls(1, late + DAY))
    (invoice,) = close_month()
    # 32 are beyond 31. Of 62 for ten days, 20, only 2 are used.
    assert shown(invoice)[0] == ("Calls", Decimal(32))
    assert invoice.total == total
    assert_clean()


def test_terms_that_come_back_are_one_with_those_before():
    cast = make_cast()
    old = terms(per_call("1"), minimum="31")
    contract = subscribe(cast, old, prorate=True)
    use(cast, calls(28))
    change(contract, cast, per_call("1"), OCTOBER + DAY * 10, prorate=True)
    use(cast, calls(4, OCTOBER + DAY * 10))
    change(contract, cast, old, OCTOBER + DAY * 11, prorate=True)
    (invoice,) = close_month()
    # 31 for 30 of 31 days: 30, of which 28 are used.
    assert shown(invoice) == [("Calls", Decimal(32)), ("Minimum spend", Decimal(2))]
    assert_clean()


def test_late_usage_of_a_split_month_is_measured_with_all_of_it():
    cast = make_cast()
    body = terms(per_call("1"), minimum="20", maximum="25")
    contract = subscribe(cast, body, prorate=True)
    use(cast, calls(10))
    change(contract, cast, body, OCTOBER + DAY * 21, prorate=True)
    (october,) = close_month()
    assert october.total == 20
    use(cast, calls(8), now=NOVEMBER + DAY)
    use(cast, calls(9, OCTOBER + DAY * 25), now=NOVEMBER + DAY)
    (november,) = close_month(DECEMBER)
    # 27 of October are capped at 25, of which 20 were billed; November has its 20.
    assert november.total == 5 + 20
    assert_clean()
