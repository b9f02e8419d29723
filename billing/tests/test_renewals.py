"""At renewal: the next period has the new version, the one under way keeps its own."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from aforo.core.models import AuditEntry
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import renewals, subscriptions
from billing.models import SubscriptionSnapshot, UsageTotal
from billing.tests.cast import (
    DAY,
    DECEMBER,
    NOVEMBER,
    OCTOBER,
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


def at_renewal(cast, subscription, version, now=OCTOBER + DAY * 5):
    """Announce the change in the middle of a period."""
    with clock.travel(now):
        return renewals.change_at_renewal(
            subscription=subscription, plan_version=version, actor=cast.owner
        )


def test_the_next_period_has_the_new_version_and_the_old_one_keeps_its_bill():
    cast = make_cast()
    subscription = subscribe(cast, with_fee("10"))
    use(cast, [event(OCTOBER + DAY)])
    version = make_version(cast, with_fee("30"))
    before = UsageTotal.objects.values_list("spend", "recurring", "state").get()
    made = at_renewal(cast, subscription, version)
    assert (made.effective_from, made.plan_version) == (NOVEMBER, version)
    assert UsageTotal.objects.values_list("spend", "recurring", "state").get() == before
    use(cast, [event(OCTOBER + DAY * 9)])
    (october,) = close_month()
    use(cast, [event(NOVEMBER + DAY)])
    (november,) = close_month(DECEMBER)
    assert october.subtotal == Decimal("10.02")
    assert november.subtotal == Decimal("30.01")
    entries = subscription.ledger.filter(usage_period__start_at=NOVEMBER)
    assert set(entries.values_list("snapshot", flat=True)) == {made.pk}
    assert breaks() == []


def test_the_change_comes_with_the_customers_own_month():
    cast = make_cast(timezone="Asia/Tokyo")
    subscription = subscribe(cast, with_fee("10"), at=OCTOBER)
    made = at_renewal(cast, subscription, make_version(cast, with_fee("30")))
    assert made.effective_from == dt.datetime(2026, 10, 31, 15, tzinfo=dt.UTC)


def test_what_a_customer_has_otherwise_goes_on():
    cast = make_cast()
    with clock.travel(OCTOBER):
        subscription = subscriptions.subscribe(
            customer=cast.customer,
            product=cast.product,
            plan_version=make_version(cast, with_fee("10")),
            start_at=OCTOBER,
            overrides={"limits": {"spend_cap": "5"}},
            actor=None,
        )
    made = at_renewal(cast, subscription, make_version(cast, with_fee("30")))
    assert made.overrides == {"limits": {"spend_cap": "5"}}


def test_one_change_is_announced_at_a_time():
    cast = make_cast()
    subscription = subscribe(cast, with_fee("10"))
    at_renewal(cast, subscription, make_version(cast, with_fee("30")))
    with pytest.raises(AforoError, match="change_scheduled"):
        at_renewal(cast, subscription, make_version(cast, with_fee("40")))


def test_a_contract_whose_end_is_announced_is_not_changed():
    cast = make_cast()
    subscription = subscribe(cast, with_fee("10"))
    with clock.travel(OCTOBER + DAY):
        subscriptions.cancel(subscription=subscription, at=NOVEMBER, actor=None)
    with pytest.raises(AforoError, match="cancelled"):
        at_renewal(cast, subscription, make_version(cast, with_fee("30")))


def test_a_refusal_does_not_keep_the_others():
    first = make_cast()
    ending = subscribe(first, with_fee("10"))
    second = make_cast(tenant=first.tenant)
    second.product = first.product
    going = subscribe(second, with_fee("10"))
    version = make_version(first, with_fee("30"))
    with clock.travel(OCTOBER + DAY):
        subscriptions.cancel(subscription=ending, at=NOVEMBER, actor=None)
        moved = renewals.move_at_renewal(
            chosen=[ending, going], plan_version=version, actor=first.owner
        )
    assert [s.subscription for s in moved.made] == [going]
    assert [(r.subscription, r.reason) for r in moved.refused] == [
        (ending, "The subscription has ended.")
    ]
    assert SubscriptionSnapshot.objects.filter(plan_version=version).count() == 1
    assert AuditEntry.objects.filter(action="subscription.plan_changed").count() == 1
