"""Worked cases of other billing systems on prepaid credit and on whole invoices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing import books, periods, wallets
from billing.models import CreditGrant, Wallet
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
from billing.tests.test_proration_cases import CASES

pytestmark = pytest.mark.django_db


def grant(cast: Cast, amount: str, **more: Any) -> CreditGrant:
    """Grant credit to the cast's customer."""
    return wallets.grant(
        customer=cast.customer,
        currency="USD",
        amount=Decimal(amount),
        kind=CreditGrant.Kind.PURCHASED,
        title=more.pop("title", "Credit"),
        actor=None,
        **more,
    )


def burn(cast: Cast, amount: str) -> Decimal:
    """Burn usage of October; return what the wallet could not cover."""
    with books.transaction(cast.customer.pk) as posting:
        covered = wallets.burn(
            posting=posting,
            currency="USD",
            amount=Decimal(amount),
            title="Usage",
            billing_period_id=periods.period_at(cast.customer.pk, OCTOBER).pk,
        )
    return Decimal(amount) - covered


@pytest.mark.parametrize("name", ["pc129", "pc131"])
def test_credit_is_burnt_by_priority_and_what_is_beyond_is_invoiced(name: str) -> None:
    case, cast = CASES[name], make_cast()
    for row in case["params"]["grants"]:
        grant(cast, str(row["amount"]), title=row["id"], priority=row["priority"])
    found = {"overage": burn(cast, case["usage"])}
    found |= {lot.title: lot.remaining for lot in CreditGrant.objects.all()}
    expected = {key: Decimal(text) for key, text in case["expected_amount"].items()}
    assert found == expected


def test_a_coupon_comes_before_tax_and_prepaid_credit_after_it() -> None:
    """pc133 without its credit note: (50 + 20 − 10) × 1.10 = 66, less 20 prepaid.

    Prepaid credit pays usage only, never fixed amounts, so of the 30 in the wallet it
    gives what the usage costs.
    """
    params = CASES["pc133"]["params"]
    cast = make_cast()
    cast.tenant.tax_rate = Decimal(params["tax_percent"])
    cast.tenant.save()
    cast.customer.refresh_from_db()
    grant(cast, params["prepaid"])
    fee, usage = with_fee(params["subscription"]), per_call("1")
    coupon = {"name": "Coupon", "amount": params["coupon"], "charges": ["fee"]}
    body = {**fee, "charges": [fee["charges"][0], *usage["charges"]]}
    subscribe(cast, {**body, "discounts": [coupon]})
    use(cast, [event(OCTOBER + DAY) for _ in range(int(Decimal(params["usage"])))])
    (invoice,) = close_month()
    assert (invoice.subtotal, invoice.tax, invoice.total) == (60, 6, 66)
    assert (invoice.credits_applied, invoice.due) == (20, 46)
    assert Wallet.objects.get().balance == 10
    assert breaks() == []
