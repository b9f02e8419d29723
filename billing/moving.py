"""A contract moves to another plan with those of its own terms that fit there."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from aforo.core.models import User
from aforo.lib import clock
from billing import books, contracts, own_prices, subscriptions
from billing.models import Subscription, SubscriptionSnapshot
from billing.periods import period_at
from catalog import effective
from catalog.models import PlanVersion
from catalog.plans import load_plans
from catalog.pricing import own_that_fits


@dataclass(frozen=True, slots=True)
class Carried:
    """The terms of a contract that go on under another plan, and those that do not."""

    overrides: dict[str, Any]
    commitment: dict[str, Any]
    left: tuple[str, ...]  # In words.


def carried(last: SubscriptionSnapshot, version: PlanVersion) -> Carried:
    """Return what of a contract's own terms fits another plan version.

    A currency goes on: a plan that is not sold in it is refused when it is chosen.
    """
    (priced,) = load_plans({version.pk}).values()
    own = effective.own_of(last.overrides, last.commitment)
    if own.currency and own.currency not in priced.plan.currencies:
        return Carried(dict(last.overrides), dict(last.commitment), ())
    kept = own_that_fits(priced.plan, own)
    said: dict[str, Any] = {**last.overrides, "charges": dict(kept.charges)}
    left = [
        f"the own price of {_name(last, key)}"
        for key in own.charges
        if key not in kept.charges
    ]
    if own.commitment and not kept.commitment:
        left.append("the contract's own commitment")
    levels = [level.key for level in priced.plan.levels]
    if "level" in said and levels and said["level"] not in levels:
        left.append(f"the spend level {said.pop('level')}")
    return Carried(said, dict(kept.commitment), tuple(left))


def _name(last: SubscriptionSnapshot, key: str) -> str:
    """Return the name of a charge in the plan that a contract had."""
    plan = contracts.plans_of([last])[last.pk].plan
    return next((c.name for c in plan.charges if c.key == key), key)


def move(
    *,
    subscription: Subscription,
    plan_version: PlanVersion,
    at: dt.datetime | None,
    actor: User | None,
) -> SubscriptionSnapshot:
    """Let another plan version apply from an instant on; own terms that fit go on.

    `at` None: from the customer's next period. Raises AforoError 409 as
    `own_prices.last_snapshot`, and as `subscriptions.change_plan` does.
    """
    with books.transaction(subscription.customer_id):
        last = own_prices.last_snapshot(subscription)
        if at is None:
            at = period_at(subscription.customer_id, clock.now()).end_at
        terms = carried(last, plan_version)
        return subscriptions.change_plan(
            subscription=subscription,
            plan_version=plan_version,
            at=at,
            overrides=terms.overrides,
            commitment=terms.commitment,
            actor=actor,
        )
