"""Contracts: subscribe, change, cancel, pause; every version of one is kept."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from aforo.core import audit
from aforo.core.models import User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import books, recurring, spend_levels
from billing.agreeing import Agreed, agree
from billing.books import Posting
from billing.models import (
    Agent,
    BillingPeriod,
    Customer,
    Subscription,
    SubscriptionSnapshot,
)
from billing.periods import period_at, tzdata_version
from billing.signals import restricting
from catalog.models import PlanVersion, Product

FINALISED = BillingPeriod.State.FINALISED


def snapshot_at(
    subscription: Subscription, instant: dt.datetime
) -> SubscriptionSnapshot | None:
    """Return what the subscription said at an instant; None before and after it."""
    said = SubscriptionSnapshot.objects.filter(
        subscription=subscription, effective_from__lte=instant
    )
    found = said.order_by("-number").first()
    return found if found is not None and found.plan_version_id else None


def subscribe(
    *,
    customer: Customer,
    product: Product,
    plan_version: PlanVersion,
    start_at: dt.datetime,
    actor: User | None,
    agent: Agent | None = None,
    overrides: Mapping[str, Any] | None = None,
    commitment: Mapping[str, Any] | None = None,
    currency: str | None = None,
) -> Subscription:
    """Make a contract and post what is due at its start.

    A start in the past is allowed back to the last issued invoice. Raises AforoError
    422 `plan_not_published`, `wrong_product` or `period_finalised`, and 409
    `already_subscribed`; 422 as `agreeing.agree` for terms that do not fit the plan.
    """
    _check_version(plan_version, product)
    with books.transaction(customer.pk) as posting:
        _refuse_finalised(customer, start_at)
        period_at(customer.pk, min(start_at, clock.now()))
        period_at(customer.pk, clock.now())
        recurring.open_due(posting)
        subscription = _insert(customer, product, agent, start_at)
        agreed = agree(
            customer=customer,
            version=plan_version,
            before=None,
            overrides=overrides,
            commitment=commitment,
            currency=currency,
        )
        _snapshot(
            subscription,
            customer,
            number=1,
            at=start_at,
            plan_version=plan_version,
            agreed=agreed,
        )
        for period in _posted_periods(customer, start_at):
            for term in _terms(subscription):
                recurring.post(posting, recurring.opening_entries(term, period))
        audit.record(
            tenant=customer.tenant_id,
            actor=actor,
            action="subscription.started",
            target=subscription,
            changes={
                "plan": [None, str(plan_version)],
                "start_at": [None, start_at.isoformat()],
                **agreed.said,
            },
        )
        spend_levels.settle(posting, cause=spend_levels.Cause.HAND, actor=actor)
        books.configure([customer.pk])
    return subscription


def _check_version(version: PlanVersion, product: Product) -> None:
    """Refuse a version that nobody can subscribe to, or of another product."""
    if version.state != PlanVersion.State.PUBLISHED:
        raise AforoError("plan_not_published", 422, f"{version} is {version.state}.")
    if version.plan.product_id != product.pk:
        raise AforoError("wrong_product", 422, f"{version} is no plan of {product}.")


def _insert(
    customer: Customer, product: Product, agent: Agent | None, start_at: dt.datetime
) -> Subscription:
    """Store the contract; the database allows one a product at a time."""
    try:
        with transaction.atomic():
            return Subscription.objects.create(
                tenant_id=customer.tenant_id,
                customer=customer,
                product=product,
                agent=agent,
                started_at=start_at,
            )
    except IntegrityError as error:
        raise AforoError(
            "already_subscribed",
            409,
            f"{customer} already has a subscription to {product}.",
        ) from error


def _snapshot(
    subscription: Subscription,
    customer: Customer,
    *,
    number: int,
    at: dt.datetime,
    plan_version: PlanVersion | None,
    agreed: Agreed,
) -> SubscriptionSnapshot:
    """Append what the subscription says from an instant on."""
    return SubscriptionSnapshot.objects.create(
        tenant_id=subscription.tenant_id,
        customer=customer,
        subscription=subscription,
        number=number,
        effective_from=at,
        plan_version=plan_version,
        overrides=agreed.overrides,
        commitment=agreed.commitment,
        timezone=customer.timezone,
        tzdata=tzdata_version(),
    )


def _refuse_finalised(customer: Customer, at: dt.datetime) -> None:
    """Refuse a change that reaches back behind an issued invoice."""
    if BillingPeriod.objects.filter(
        customer=customer, state=FINALISED, end_at__gt=at
    ).exists():
        raise AforoError(
            "period_finalised",
            422,
            "The invoice of that time is already issued; choose a later one.",
        )


def _posted_periods(customer: Customer, since: dt.datetime) -> list[BillingPeriod]:
    """Return the periods from an instant on whose start was posted already."""
    return list(
        BillingPeriod.objects.filter(
            customer=customer, end_at__gt=since, opened_at__isnull=False
        )
        .exclude(state=FINALISED)
        .order_by("start_at")
    )


def _terms(subscription: Subscription) -> list[recurring.Term]:
    """Return the subscription's snapshots with their plans, oldest first."""
    every = recurring.terms(subscription.customer_id)
    return [t for t in every if t.subscription_id == subscription.pk]


def succeed(
    posting: Posting,
    subscription: Subscription,
    *,
    at: dt.datetime,
    plan_version: PlanVersion | None,
    overrides: Mapping[str, Any] | None = None,
    commitment: Mapping[str, Any] | None = None,
    currency: str | None = None,
) -> SubscriptionSnapshot:
    """Append the next snapshot and post what it changes of periods under way.

    The caller holds the books' lock. Raises AforoError 409 `cancelled`, 422
    `too_early`, `already_rated`, and as `agreeing.agree` does.
    """
    customer = subscription.customer
    last = subscription.snapshots.order_by("-number")[0]
    if last.plan_version_id is None:
        raise AforoError("cancelled", 409, "The subscription has ended.")
    if at <= last.effective_from:
        raise AforoError(
            "too_early", 422, "A change comes after the one before it.", field="at"
        )
    _refuse_finalised(customer, at)
    # The period bounds what is read: a contract can have millions of older entries.
    later = subscription.ledger.filter(
        customer_id=subscription.customer_id, billing_period__end_at__gt=at
    )
    if later.filter(event_id__isnull=False, occurred_at__gte=at).exists():
        raise AforoError(
            "already_rated", 422, "Usage after that time is already rated.", field="at"
        )
    agreed = Agreed({}, {})
    if plan_version is not None:
        agreed = agree(
            customer=customer,
            version=plan_version,
            before=last,
            overrides=overrides,
            commitment=commitment,
            currency=currency,
        )
    recurring.open_due(posting)
    made = _snapshot(
        subscription,
        customer,
        number=last.number + 1,
        at=at,
        plan_version=plan_version,
        agreed=agreed,
    )
    terms = {term.snapshot_id: term for term in _terms(subscription)}
    for period in _posted_periods(customer, at):
        recurring.post(posting, recurring.credit_entries(terms[last.pk], period))
        if plan_version is not None:
            recurring.post(posting, recurring.opening_entries(terms[made.pk], period))
    return made


def change_plan(
    *,
    subscription: Subscription,
    plan_version: PlanVersion,
    at: dt.datetime,
    actor: User | None,
    overrides: Mapping[str, Any] | None = None,
    commitment: Mapping[str, Any] | None = None,
    currency: str | None = None,
) -> SubscriptionSnapshot:
    """Let another plan, or the same with other terms, apply from an instant on.

    Tiers start again. Where the plans prorate, the days left of the old fixed
    amounts are given back and those of the new ones charged; otherwise the new ones
    are charged from the next period on. Raises AforoError 422 `plan_not_published`,
    `wrong_product`, `period_finalised`, `too_early`, `already_rated`; 409
    `cancelled`; and as `agreeing.agree` does.
    """
    _check_version(plan_version, subscription.product)
    with books.transaction(subscription.customer_id) as posting:
        before = snapshot_at(subscription, at)
        made = succeed(
            posting,
            subscription,
            at=at,
            plan_version=plan_version,
            overrides=overrides,
            commitment=commitment,
            currency=currency,
        )
        audit.record(
            tenant=subscription.tenant_id,
            actor=actor,
            action="subscription.plan_changed",
            target=subscription,
            changes={
                "plan": [before and str(before.plan_version), str(plan_version)],
                "at": [None, at.isoformat()],
            },
        )
        spend_levels.settle(posting, cause=spend_levels.Cause.HAND, actor=actor)
        books.configure([subscription.customer_id])
    return made


def cancel(
    *, subscription: Subscription, at: dt.datetime, actor: User | None, reason: str = ""
) -> Subscription:
    """End a contract at an instant; a plan that prorates gives the days left back.

    Raises AforoError as `change_plan` does.
    """
    with books.transaction(subscription.customer_id) as posting:
        succeed(posting, subscription, at=at, plan_version=None)
        before = subscription.state
        subscription.cancelled_at = at
        if at <= clock.now():
            subscription.state = Subscription.State.CANCELLED
        subscription.save(update_fields=["cancelled_at", "state"])
        audit.record(
            tenant=subscription.tenant_id,
            actor=actor,
            action="subscription.cancelled",
            target=subscription,
            changes={
                "state": [before, subscription.state],
                "cancelled_at": [None, at.isoformat()],
            },
            reason=reason,
        )
        books.configure([subscription.customer_id])
        if subscription.state == Subscription.State.CANCELLED:
            _restrict(subscription)
    return subscription


def end_cancelled(now: dt.datetime) -> int:
    """Mark contracts whose announced end has come; return how many."""
    ended = list(
        Subscription.objects.filter(cancelled_at__lte=now).exclude(
            state=Subscription.State.CANCELLED
        )
    )
    for subscription in ended:
        with transaction.atomic():
            subscription.state = Subscription.State.CANCELLED
            subscription.save(update_fields=["state"])
            books.configure([subscription.customer_id])
            _restrict(subscription)
    return len(ended)


def _restrict(subscription: Subscription) -> None:
    """Have the edge refuse the subscription's calls before the record says so."""
    restricting.send(
        sender=None,
        customer_id=subscription.customer_id,
        subscription_id=subscription.pk,
    )


def pause(
    *, subscription: Subscription, actor: User | None, reason: str = ""
) -> Subscription:
    """Refuse the subscription's calls until it is resumed; fixed amounts go on."""
    return _set_state(
        subscription,
        before=Subscription.State.ACTIVE,
        after=Subscription.State.PAUSED,
        actor=actor,
        reason=reason,
    )


def resume(
    *, subscription: Subscription, actor: User | None, reason: str = ""
) -> Subscription:
    """Let a paused subscription's calls pass again."""
    return _set_state(
        subscription,
        before=Subscription.State.PAUSED,
        after=Subscription.State.ACTIVE,
        actor=actor,
        reason=reason,
    )


@transaction.atomic
def _set_state(
    subscription: Subscription,
    *,
    before: Subscription.State,
    after: Subscription.State,
    actor: User | None,
    reason: str,
) -> Subscription:
    """Move a subscription from one state to another; 409 `wrong_state` otherwise."""
    books.configure([subscription.customer_id])
    subscription = Subscription.objects.select_for_update().get(pk=subscription.pk)
    if subscription.state != before:
        raise AforoError("wrong_state", 409, f"It is {subscription.state}.")
    subscription.state = after
    subscription.save(update_fields=["state"])
    audit.record(
        tenant=subscription.tenant_id,
        actor=actor,
        action=f"subscription.{after.value}",
        target=subscription,
        changes={"state": [before.value, after.value]},
        reason=reason,
    )
    if after == Subscription.State.PAUSED:
        _restrict(subscription)
    return subscription
