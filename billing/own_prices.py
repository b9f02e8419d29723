"""Prices that one contract has otherwise than its plan: set and cleared, audited."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, NamedTuple

from aforo.core import audit
from aforo.core.models import User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import books, contracts, subscriptions
from billing.agreeing import Agreed, agree
from billing.models import Subscription, SubscriptionSnapshot
from billing.periods import period_at
from catalog import effective
from catalog.describe import charge_words
from catalog.plans import PricedPlan, load_plans


class Change(NamedTuple):
    """One charge of a contract before and after, in words."""

    key: str
    name: str
    old: str
    new: str
    is_own: bool  # Whether it differs from the plan afterwards.


class Review(NamedTuple):
    """What a contract's prices would become."""

    agreed: Agreed
    before: PricedPlan
    after: PricedPlan
    changes: tuple[Change, ...]


def last_snapshot(subscription: Subscription) -> SubscriptionSnapshot:
    """Return what a contract says last; 409 where it has ended or will change.

    Raises AforoError 409 `cancelled` or `change_scheduled`.
    """
    rows = subscription.snapshots.select_related("plan_version__plan")
    last: SubscriptionSnapshot = rows.order_by("-number")[0]
    if last.plan_version_id is None:
        raise AforoError("cancelled", 409, "The subscription has ended, or will.")
    if last.effective_from > clock.now():
        raise AforoError(
            "change_scheduled",
            409,
            f"A change on {last.effective_from.astimezone(dt.UTC):%-d %b %Y} is"
            " announced already: set prices once it applies.",
        )
    return last


def review(subscription: Subscription, charges: Mapping[str, Any]) -> Review:
    """Return what own prices would change; nothing is written.

    `charges` holds the whole of them, by charge key: what is not named is as the plan
    says. Raises AforoError 409 as `last_snapshot`, 422 `nothing_changes` and as
    `agreeing.agree` does.
    """
    last = last_snapshot(subscription)
    version = last.plan_version
    assert version is not None, "last_snapshot refuses an end"
    agreed = agree(
        customer=subscription.customer,
        version=version,
        before=last,
        overrides={**last.overrides, "charges": dict(charges)},
        commitment=last.commitment,
    )
    (priced,) = load_plans({version.pk}).values()
    before = contracts.plans_of([last])[last.pk]
    after = effective.of_contract(priced, *agreed)
    changes = tuple(_changes(before, after, agreed.overrides.get("charges", {})))
    if not changes:
        detail = "Nothing would change: these are the prices in force."
        raise AforoError("nothing_changes", 422, detail)
    return Review(agreed, before, after, changes)


def _changes(
    before: PricedPlan, after: PricedPlan, own: Mapping[str, Any]
) -> list[Change]:
    """Return the charges whose price or name differs."""
    found = []
    for old, new in zip(before.plan.charges, after.plan.charges, strict=True):
        if old == new:
            continue
        a, b = (charge_words(c, before.currency) for c in (old, new))
        if old.name != new.name:
            a, b = f"{old.name}: {a}", f"{new.name}: {b}"
        found.append(Change(new.key, new.name, a, b, new.key in own))
    return found


def set_prices(
    *,
    subscription: Subscription,
    charges: Mapping[str, Any],
    at: dt.datetime | None,
    actor: User | None,
    reason: str = "",
) -> SubscriptionSnapshot:
    """Let a contract have these own prices from an instant on, all others as listed.

    `at` None: from the customer's next period. The change is a snapshot of the same
    plan version, so tiers and included quantities start again. Raises AforoError as
    `review`, and as `subscriptions.change_plan` for the time.
    """
    with books.transaction(subscription.customer_id) as posting:
        found = review(subscription, charges)
        last = last_snapshot(subscription)
        if at is None:
            at = period_at(subscription.customer_id, clock.now()).end_at
        made = subscriptions.succeed(
            posting,
            subscription,
            at=at,
            plan_version=last.plan_version,
            overrides=found.agreed.overrides,
            commitment=found.agreed.commitment,
        )
        audit.record(
            tenant=subscription.tenant_id,
            actor=actor,
            action="subscription.prices_changed",
            target=subscription,
            changes={
                **{change.key: [change.old, change.new] for change in found.changes},
                "at": [None, at.isoformat()],
            },
            reason=reason,
        )
        books.configure([subscription.customer_id])
    return made


def own_keys(snapshot: SubscriptionSnapshot | None) -> tuple[str, ...]:
    """Return the charges that a snapshot has own prices for."""
    return tuple(snapshot.overrides.get("charges", {})) if snapshot else ()
