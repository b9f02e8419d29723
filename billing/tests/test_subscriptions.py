"""Contracts: what is refused, what is kept, what the edge hears before the commit."""

from __future__ import annotations

import pytest

from aforo.core.models import AuditEntry
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import subscriptions
from billing.models import Subscription, SubscriptionSnapshot
from billing.signals import restricting
from billing.tests.cast import (
    DAY,
    NOVEMBER,
    OCTOBER,
    close_month,
    event,
    make_cast,
    make_version,
    per_call,
    subscribe,
    use,
)
from catalog import plans

pytestmark = pytest.mark.django_db


@pytest.fixture
def restricted():
    """What was sent before commits, as dicts."""
    heard = []

    def hear(sender, signal, **facts):
        heard.append(facts)

    restricting.connect(hear, weak=False)
    yield heard
    restricting.disconnect(hear)


def test_a_contract_starts_with_one_snapshot_and_an_audit_row():
    cast = make_cast(timezone="Asia/Tokyo")
    subscription = subscribe(cast, per_call())
    snapshot = SubscriptionSnapshot.objects.get()
    assert (snapshot.number, snapshot.effective_from) == (1, OCTOBER)
    assert (snapshot.timezone, snapshot.tzdata[:2]) == ("Asia/Tokyo", "20")
    entry = AuditEntry.objects.get(action="subscription.started")
    assert entry.object_id == subscription.public_id


def test_a_draft_cannot_be_subscribed_to():
    cast = make_cast()
    plan = plans.create_plan(product=cast.product, name="P", code="p", actor=None)
    draft = plans.save_draft(plan=plan, body=per_call(), limits={}, actor=None)
    with pytest.raises(AforoError, match="plan_not_published"):
        subscriptions.subscribe(
            customer=cast.customer,
            product=cast.product,
            plan_version=draft,
            start_at=OCTOBER,
            actor=None,
        )


def test_a_plan_of_another_product_is_refused():
    cast, other = make_cast(), make_cast()
    with pytest.raises(AforoError, match="wrong_product"):
        subscriptions.subscribe(
            customer=cast.customer,
            product=cast.product,
            plan_version=make_version(other, per_call()),
            start_at=OCTOBER,
            actor=None,
        )


def test_a_product_is_subscribed_to_once_at_a_time():
    cast = make_cast()
    subscribe(cast, per_call())
    with pytest.raises(AforoError, match="already_subscribed"):
        subscribe(cast, per_call())


def test_a_product_can_be_subscribed_to_again_after_the_end():
    cast = make_cast()
    subscription = subscribe(cast, per_call())
    with clock.travel(OCTOBER + DAY):
        subscriptions.cancel(subscription=subscription, at=OCTOBER + DAY, actor=None)
    subscribe(cast, per_call(), at=OCTOBER + DAY * 2)
    assert Subscription.objects.count() == 2


def test_no_change_reaches_back_behind_an_issued_invoice():
    cast = make_cast()
    subscription = subscribe(cast, per_call())
    use(cast, [event(OCTOBER + DAY)])
    close_month()
    with pytest.raises(AforoError, match="period_finalised"):
        subscriptions.cancel(subscription=subscription, at=NOVEMBER - DAY, actor=None)


def test_no_change_reaches_back_before_rated_usage():
    cast = make_cast()
    subscription = subscribe(cast, per_call())
    use(cast, [event(OCTOBER + DAY * 5)])
    with pytest.raises(AforoError, match="already_rated"):
        subscriptions.cancel(subscription=subscription, at=OCTOBER + DAY, actor=None)


def test_changes_come_one_after_the_other():
    cast = make_cast()
    subscription = subscribe(cast, per_call())
    with pytest.raises(AforoError, match="too_early"):
        subscriptions.cancel(subscription=subscription, at=OCTOBER, actor=None)


def test_an_ended_contract_stays_ended():
    cast = make_cast()
    subscription = subscribe(cast, per_call())
    subscriptions.cancel(subscription=subscription, at=OCTOBER + DAY, actor=None)
    with pytest.raises(AforoError, match="cancelled"):
        subscriptions.change_plan(
            subscription=subscription,
            plan_version=make_version(cast, per_call()),
            at=OCTOBER + DAY * 2,
            actor=None,
        )


def test_the_snapshot_in_force_is_the_latest_that_has_begun():
    cast = make_cast()
    subscription = subscribe(cast, per_call())
    version = make_version(cast, per_call("0.02"))
    subscriptions.change_plan(
        subscription=subscription, plan_version=version, at=OCTOBER + DAY, actor=None
    )
    subscriptions.cancel(subscription=subscription, at=OCTOBER + DAY * 2, actor=None)
    snapshots = [
        subscriptions.snapshot_at(subscription, OCTOBER + DAY * days)
        for days in (-1, 0, 1, 2)
    ]
    assert [s and s.number for s in snapshots] == [None, 1, 2, None]
    assert snapshots[2] is not None
    assert snapshots[2].plan_version == version


def test_an_announced_end_is_carried_out_when_it_comes():
    cast = make_cast()
    subscription = subscribe(cast, per_call())
    with clock.travel(OCTOBER):
        subscriptions.cancel(subscription=subscription, at=NOVEMBER, actor=None)
    subscription.refresh_from_db()
    assert subscription.state == Subscription.State.ACTIVE
    assert subscriptions.end_cancelled(NOVEMBER) == 1
    subscription.refresh_from_db()
    assert subscription.state == Subscription.State.CANCELLED


def test_a_customer_without_contracts_gets_no_further_periods():
    cast = make_cast()
    subscription = subscribe(cast, per_call())
    subscriptions.cancel(subscription=subscription, at=OCTOBER + DAY, actor=None)
    close_month()
    assert list(cast.customer.periods.values_list("start_at", flat=True)) == [OCTOBER]


def test_a_pause_reaches_the_edge_before_the_commit(restricted):
    cast = make_cast()
    subscription = subscribe(cast, per_call())
    paused = subscriptions.pause(subscription=subscription, actor=cast.owner)
    assert paused.state == Subscription.State.PAUSED
    assert restricted == [
        {"customer_id": cast.customer.pk, "subscription_id": subscription.pk}
    ]
    resumed = subscriptions.resume(subscription=subscription, actor=cast.owner)
    assert resumed.state == Subscription.State.ACTIVE
    with pytest.raises(AforoError, match="wrong_state"):
        subscriptions.resume(subscription=subscription, actor=cast.owner)


def test_every_change_tells_the_edge_of_a_new_configuration():
    cast = make_cast()
    before = cast.customer.books.config_version
    subscribe(cast, per_call())
    cast.customer.books.refresh_from_db()
    assert cast.customer.books.config_version > before
