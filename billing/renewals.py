"""Changes of plan that wait for the next period: at renewal, one contract or many."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction

from aforo.core.models import User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import books, subscriptions
from billing.models import Subscription, SubscriptionSnapshot
from billing.periods import period_at
from catalog.models import PlanVersion


@dataclass(frozen=True, slots=True)
class Refusal:
    """A contract that stays as it is, and why."""

    subscription: Subscription
    reason: str


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of several changes at renewal."""

    made: tuple[SubscriptionSnapshot, ...]
    refused: tuple[Refusal, ...]


def change_at_renewal(
    *, subscription: Subscription, plan_version: PlanVersion, actor: User | None
) -> SubscriptionSnapshot:
    """Let another plan version apply from the customer's next period on.

    The period under way and its totals stay as they are; overrides and commitment
    go on. Raises AforoError 409 `change_scheduled` when something else is announced
    for later, and as `subscriptions.change_plan` does.
    """
    with books.transaction(subscription.customer_id):
        at = period_at(subscription.customer_id, clock.now()).end_at
        last = subscription.snapshots.order_by("-number")[0]
        if last.plan_version_id is not None and last.effective_from >= at:
            raise AforoError(
                "change_scheduled",
                409,
                f"A change to {last.plan_version} on {_day(last.effective_from)}"
                " is announced already.",
            )
        return subscriptions.change_plan(
            subscription=subscription,
            plan_version=plan_version,
            at=at,
            overrides=last.overrides,
            commitment=last.commitment,
            actor=actor,
        )


def _day(instant: dt.datetime) -> str:
    """Return the day of an instant in UTC."""
    return f"{instant.astimezone(dt.UTC):%-d %b %Y}"


def move_at_renewal(
    *,
    chosen: Iterable[Subscription],
    plan_version: PlanVersion,
    actor: User | None,
) -> Moved:
    """Change contracts at their renewal; one that refuses does not keep the others.

    In the order of customers, as their books are locked everywhere.
    """
    made, refused = [], []
    for subscription in sorted(chosen, key=lambda s: (s.customer_id, s.pk)):
        try:
            with transaction.atomic():
                made.append(
                    change_at_renewal(
                        subscription=subscription,
                        plan_version=plan_version,
                        actor=actor,
                    )
                )
        except AforoError as error:
            refused.append(Refusal(subscription, error.detail))
    return Moved(tuple(made), tuple(refused))
