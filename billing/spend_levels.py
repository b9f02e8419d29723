"""Moves between spend levels: each written once, with what caused it.

Under the lock of the books the level that a contract is at now is compared with its
last change, so whoever looks first writes the move and nobody writes it again.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from aforo.core import audit
from aforo.core.happenings import Kind, Severity, tell
from aforo.core.models import User
from aforo.lib import clock, sql
from aforo.lib.money import ZERO, display, plain
from billing import books, contracts
from billing.books import Posting
from billing.models import LevelChange, Subscription, SubscriptionSnapshot
from billing.purchases import Purchases, purchases
from catalog.pricing import Level, Plan, asks_for_purchases
from catalog.pricing.levels import level_in_force

Cause = LevelChange.Cause

# The snapshot in force of each live contract, its period under way, what was spent in
# it by the contract's currency, and the last move.
STAND = """
SELECT s.id, s.customer_id, n.id, p.id, p.end_at,
  COALESCE((SELECT jsonb_object_agg(currency, spend) FROM (
    SELECT t.currency, sum(t.spend)::text AS spend FROM billing_usagetotal t
    WHERE t.customer_id = s.customer_id AND t.subscription_id = s.id
      AND t.period_id = p.id GROUP BY 1) AS sums), '{}')::text,
  l.after, l.number, l.period_id
FROM billing_subscription s
JOIN LATERAL (
  SELECT n.id, n.plan_version_id FROM billing_subscriptionsnapshot n
  WHERE n.subscription_id = s.id AND n.effective_from <= %(now)s
  ORDER BY n.effective_from DESC LIMIT 1) n ON n.plan_version_id IS NOT NULL
JOIN catalog_planversion v ON v.id = n.plan_version_id AND v.body ? 'levels'
JOIN billing_billingperiod p ON p.customer_id = s.customer_id
  AND p.start_at <= %(now)s AND p.end_at > %(now)s
LEFT JOIN LATERAL (
  SELECT after, number, period_id FROM billing_levelchange l
  WHERE l.subscription_id = s.id
  ORDER BY number DESC LIMIT 1) l ON true
WHERE s.customer_id = ANY(%(ids)s) AND s.state <> 'cancelled'
"""


class Trigger(NamedTuple):
    """What moved a contract, where somebody knows."""

    cause: LevelChange.Cause
    event_id: uuid.UUID | None = None
    grant_id: uuid.UUID | None = None


class Stand(NamedTuple):
    """Where a contract stands now, and where it was said to."""

    subscription_id: uuid.UUID
    customer_id: uuid.UUID
    period_id: uuid.UUID
    levels: tuple[Level, ...]
    currency: str
    spend: Decimal
    credits: Decimal
    given: str
    recorded: str  # The key that the last move came to; the first level's without one.
    number: int  # Of the last move; 0 without one.
    moved_in: uuid.UUID | None  # The period of the last move.

    @property
    def level(self) -> Level:
        """The level that is in force."""
        return level_in_force(
            self.levels, spend=self.spend, credits=self.credits, given=self.given
        )

    def named(self, key: str) -> str:
        """Return a level's name; one that the plan no longer has goes by its key."""
        return next((one.name for one in self.levels if one.key == key), key)

    @property
    def following(self) -> tuple[Level, Decimal] | None:
        """The next level that spend or credits reach, and how much of it is missing."""
        above = self.levels[self.levels.index(self.level) + 1 :]
        for level in above:
            if level.spend_from is not None:
                return level, level.spend_from - self.spend
            if level.credits_from is not None:
                return level, level.credits_from - self.credits
        return None


def stands(customer_ids: Collection[uuid.UUID], now: dt.datetime) -> list[Stand]:
    """Return where the contracts of customers stand that have plans with levels."""
    with sql.cursor() as cursor:
        rows = cursor.execute(STAND, {"ids": list(customer_ids), "now": now}).fetchall()
    if not rows:
        return []
    snapshots = SubscriptionSnapshot.objects.in_bulk([row[2] for row in rows])
    plans = contracts.plans_of(snapshots.values())
    asking = {row[1] for row in rows if asks_for_purchases(plans[row[2]].plan)}
    bought = purchases(asking)
    return [_stand(row, snapshots[row[2]], plans[row[2]].plan, bought) for row in rows]


def _stand(
    row: tuple[Any, ...], snapshot: SubscriptionSnapshot, plan: Plan, bought: Purchases
) -> Stand:
    """Return where one contract stands."""
    subscription, customer, _, period, _, spent, after, number, moved_in = row
    mine = bought.get((customer, plan.currency), ())
    return Stand(
        subscription,
        customer,
        period,
        plan.levels,
        plan.currency,
        Decimal(msgspec.json.decode(spent).get(plan.currency, "0")),
        sum((one.amount for one in mine), ZERO),
        snapshot.overrides.get("level", ""),
        after or plan.levels[0].key,
        number or 0,
        moved_in,
    )


def settle(
    posting: Posting,
    *,
    triggers: Mapping[uuid.UUID, Trigger] | None = None,
    cause: LevelChange.Cause = Cause.SPEND,
    grant_id: uuid.UUID | None = None,
    actor: User | None = None,
) -> list[LevelChange]:
    """Write the moves of a customer whose books are locked; the totals are saved.

    `triggers` say by subscription what moved it; others moved by `cause`. Touches the
    books where something moved, so that the edge hears of it.
    """
    made = []
    for stand in stands([posting.customer_id], clock.now()):
        level = stand.level
        if level.key == stand.recorded:
            continue
        trigger = (triggers or {}).get(
            stand.subscription_id, Trigger(cause, grant_id=grant_id)
        )
        made.append(_write(posting, stand, level, trigger, actor))
    if made:
        posting.touch()
    return made


def _write(
    posting: Posting, stand: Stand, level: Level, trigger: Trigger, actor: User | None
) -> LevelChange:
    """Write one move and its audit row."""
    change = LevelChange.objects.create(
        tenant_id=posting.tenant_id,
        customer_id=posting.customer_id,
        subscription_id=stand.subscription_id,
        period_id=stand.period_id,
        number=stand.number + 1,
        before=stand.recorded,
        after=level.key,
        before_name=stand.named(stand.recorded),
        after_name=level.name,
        limits_multiplier=level.limits_multiplier,
        cause=trigger.cause,
        event_id=trigger.event_id,
        grant_id=trigger.grant_id,
        spend=stand.spend,
        credits=stand.credits,
        currency=stand.currency,
        version=posting.version,
    )
    subscription = Subscription.objects.get(pk=stand.subscription_id)
    caused = trigger.event_id or trigger.grant_id
    audit.record(
        tenant=posting.tenant_id,
        actor=actor,
        action="spend_level.changed",
        target=subscription,
        changes={
            "level": [change.before_name, change.after_name],
            "spend": [None, f"{plain(stand.spend)} {stand.currency}"],
            "credits": [None, f"{plain(stand.credits)} {stand.currency}"],
            "caused_by": [None, f"{trigger.cause} {caused or ''}".strip()],
        },
    )
    tell(
        Kind.TIER_CHANGED,
        tenant=posting.tenant_id,
        scope=subscription.public_id,
        severity=Severity.OK,
        text=f"{change.before_name} → {change.after_name}: spend of the period "
        f"{display(stand.spend, stand.currency)}; limits a minute ×"
        f" {plain(level.limits_multiplier)}.",
        key=str(change.number),
        figures={
            "before": change.before,
            "after": change.after,
            "cause": change.cause,
            "spend": stand.spend,
            "credits": stand.credits,
            "currency": stand.currency,
        },
        customer_id=posting.customer_id,
        url="/tiers",
    )
    return change


# Moves by spend whose period is over, and contracts that say something else by now.
DUE = """
SELECT DISTINCT customer_id FROM (
  SELECT DISTINCT ON (l.subscription_id) l.customer_id, l.cause, p.end_at
  FROM billing_levelchange l JOIN billing_billingperiod p ON p.id = l.period_id
  ORDER BY l.subscription_id, l.number DESC) last
WHERE cause = 'spend' AND end_at <= %(now)s
UNION
SELECT n.customer_id FROM billing_subscriptionsnapshot n
JOIN catalog_planversion v ON v.id = n.plan_version_id AND v.body ? 'levels'
WHERE n.effective_from BETWEEN %(since)s AND %(now)s
"""
LOOKED_BACK = dt.timedelta(minutes=10)


def settle_due(now: dt.datetime) -> int:
    """Let contracts follow new periods and changes that took effect; return how many.

    By the beat, for the record: the edge knows the bounds of its windows itself.
    """
    with sql.cursor() as cursor:
        due = cursor.execute(DUE, {"now": now, "since": now - LOOKED_BACK}).fetchall()
    count = 0
    for (customer,) in due:
        with books.transaction(customer) as posting:
            count += len(settle(posting, cause=Cause.PERIOD))
    return count
