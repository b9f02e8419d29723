"""Money at the edges: days shared at noon, overdrafts that come back, old usage."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aforo.lib import clock
from billing import invariants, subscriptions, wallets
from billing.models import CreditGrant
from billing.tests.cast import (
    DAY,
    HOUR,
    OCTOBER,
    Cast,
    breaks,
    close_month,
    make_cast,
    make_version,
    subscribe,
    with_fee,
)
from billing.tests.test_wallets import burn, give, wallet_of

pytestmark = pytest.mark.django_db


def test_fees_in_arrears_share_the_day_of_a_change_at_noon():
    cast = make_cast()
    subscription = subscribe(cast, with_fee("310", due="arrears"), prorate=True)
    noon = OCTOBER + DAY * 21 + HOUR * 12
    with clock.travel(noon):
        subscriptions.change_plan(
            subscription=subscription,
            plan_version=make_version(
                cast, with_fee("310", due="arrears"), prorate=True
            ),
            at=noon,
            actor=cast.owner,
        )
    (invoice,) = close_month()
    assert invoice.total == 310
    assert breaks() == []


def _overdraw_and_repay() -> Cast:
    """Return a cast whose overdraft of 10 was repaid by a top-up of 30."""
    cast = make_cast()
    wallets.set_overdraft(
        customer=cast.customer, currency="USD", limit=Decimal(15), actor=None
    )
    assert burn(cast, "10") == 10
    give(cast, "30", title="Top-up")
    return cast


def test_usage_that_an_overdraft_paid_comes_back_to_the_lot_that_repaid_it():
    cast = _overdraw_and_repay()
    assert burn(cast, "-10") == -10
    assert wallet_of(cast).balance == 30
    assert CreditGrant.objects.get(title="Top-up").remaining == 30
    assert list(invariants.wallets_hold()) == []


def test_credit_can_be_added_after_a_repaid_overdraft_came_back():
    cast = _overdraw_and_repay()
    burn(cast, "5")
    assert burn(cast, "-12") == -12
    give(cast, "5", title="More")
    assert wallet_of(cast).balance == 32
    assert CreditGrant.objects.get(title="Top-up").remaining == 27
    assert list(invariants.wallets_hold()) == []


def test_what_comes_back_lowers_an_overdraft_that_is_still_open():
    cast = make_cast()
    wallets.set_overdraft(
        customer=cast.customer, currency="USD", limit=Decimal(15), actor=None
    )
    burn(cast, "12")
    give(cast, "5", title="Part")
    assert burn(cast, "-10") == -10
    assert wallet_of(cast).balance == 3
    assert CreditGrant.objects.get(title="Part").remaining == 3
    assert list(invariants.wallets_hold()) == []
