"""What decides a customer's spend level: usage rated before, credits, and by hand."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from aforo.lib import sql
from aforo.lib.money import ZERO
from billing.contracts import Snapshot
from billing.purchases import Purchases, purchases
from billing.rating import Fact, Total, TotalKey
from catalog.pricing import NO_STANDING, Level, Plan, Standing, asks_for_purchases
from catalog.pricing.levels import level_in_force

# A change of plan begins a counter row; what was spent in the period goes on.
SPENT = """
SELECT t.subscription_id, t.snapshot_id, t.period_id, t.currency, t.spend
FROM billing_usagetotal t
JOIN unnest(%b::uuid[], %b::uuid[]) AS k (subscription_id, period_id)
  USING (subscription_id, period_id)
WHERE t.customer_id = ANY(%b)
"""
GIVEN = """
SELECT DISTINCT ON (n.subscription_id) n.subscription_id, n.customer_id,
  n.overrides->>'level'
FROM billing_subscriptionsnapshot n
WHERE n.subscription_id = ANY(%b) AND n.plan_version_id IS NOT NULL
ORDER BY n.subscription_id, n.number DESC
"""


@dataclass(slots=True)
class Standings:
    """Where the subscriptions of a batch stand, as its events are rated one by one."""

    totals: Mapping[TotalKey, Total]
    # Of whole subscriptions and periods, as they were before the batch.
    stored: dict[TotalKey, tuple[str, Decimal]] = field(default_factory=dict)
    purchases: Purchases = field(default_factory=dict)
    # The counter rows of a subscription's period: a few of a batch's many.
    rows: dict[tuple[uuid.UUID, uuid.UUID], set[TotalKey]] = field(default_factory=dict)

    def of(self, total: Total, snapshot: Snapshot) -> Standing:
        """Return where the subscription of a counter row stands now."""
        if snapshot.plan is None or not snapshot.plan.plan.levels:
            return NO_STANDING
        spend = ZERO
        for key in self.rows[total.key.subscription_id, total.key.period_id]:
            # What this batch has moved comes before what is stored.
            row = self.totals.get(key)
            currency, part = (row.currency, row.spend) if row else self.stored[key]
            spend += part if currency == total.currency else ZERO
        bought = self.purchases.get((total.customer_id, total.currency), ())
        return Standing(spend, bought, snapshot.level)


def load(
    totals: Mapping[TotalKey, Total], facts: Mapping[TotalKey, Sequence[Fact]]
) -> Standings:
    """Return where subscriptions stand; no statement where no plan has levels.

    The books are locked, so nothing moves until the batch is written.
    """
    plans = {key: _plan(own[0].snapshot) for key, own in facts.items()}
    levelled = [key for key, plan in plans.items() if plan.levels]
    found = Standings(totals)
    if not levelled:
        return found
    places = sorted({(key.subscription_id, key.period_id) for key in levelled})
    columns: list[object] = [list(column) for column in zip(*places, strict=True)]
    columns.append([totals[key].customer_id for key in levelled])
    with sql.cursor() as cursor:
        for sub, snapshot, period, currency, spend in cursor.execute(
            SPENT, columns
        ).fetchall():
            found.stored[TotalKey(sub, snapshot, period)] = (currency, spend)
    for key in (*found.stored, *totals):
        place = key.subscription_id, key.period_id
        found.rows.setdefault(place, set()).add(key)
    buyers = {
        totals[key].customer_id for key in levelled if asks_for_purchases(plans[key])
    }
    found.purchases = purchases(buyers)
    return found


def _plan(snapshot: Snapshot) -> Plan:
    """Return the plan of usage that was attributed."""
    assert snapshot.plan is not None, "a fact has a plan"
    return snapshot.plan.plan


def supposed(
    subscriptions: Iterable[uuid.UUID], plans: Iterable[Plan]
) -> dict[uuid.UUID, Standing]:
    """Return where contracts begin a month that is priced again under other plans.

    Their levels by hand are those of the last snapshot.
    """
    levelled = [plan for plan in plans if plan.levels]
    keys = list(subscriptions)
    if not levelled:
        return dict.fromkeys(keys, NO_STANDING)
    with sql.cursor() as cursor:
        rows = cursor.execute(GIVEN, [keys]).fetchall()
    asking = any(asks_for_purchases(plan) for plan in levelled)
    bought = purchases({customer for _, customer, _ in rows} if asking else ())
    currency = levelled[0].currency
    found = dict.fromkeys(keys, NO_STANDING)
    for subscription, customer, level in rows:
        own = bought.get((customer, currency), ())
        found[subscription] = Standing(purchases=own, given=level or "")
    return found


def crossed_by(
    plan: Plan, standing: Standing, rated: Iterable[tuple[uuid.UUID, Decimal]]
) -> uuid.UUID | None:
    """Return the last of rated events that brought its contract to another level.

    `rated` are events and what they came to, in the order of rating; `standing` is
    where the contract stood before them.
    """
    credits = sum((one.amount for one in standing.purchases), ZERO)
    spend, found = standing.spend, None

    def level() -> Level:
        return level_in_force(
            plan.levels, spend=spend, credits=credits, given=standing.given
        )

    before = level()
    for event, amount in rated:
        spend += amount
        if (after := level()) is not before:
            before, found = after, event
    return found
