"""Recorded usage priced again: what was rated, and what another version would cost."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Sum

from aforo.core import fx
from aforo.lib import clock, sql
from aforo.lib.money import ZERO
from billing import hierarchy, levels
from billing.models import BillingPeriod, Subscription, UsageTotal
from billing.plan_terms import printed
from billing.rating import TotalKey
from catalog.pricing import (
    Plan,
    Standing,
    Unrateable,
    UsageEvent,
    rate_period,
    total,
    with_level,
)
from catalog.pricing.lines import by_key
from metering.batch import decode, with_tool
from metering.costing import AMOUNT, CURRENCY, PRICED_WITH
from metering.measurements import priced

# A page waits for the answer: what is beyond is left out, and said so.
EVENTS_MAX = 20_000

RATED = f"""
SELECT l.subscription_id, l.snapshot_id, l.usage_period_id, e.event_id, e.occurred_at,
  e.event_type, e.body::text, {hierarchy.COLUMNS},
  {AMOUNT}, {CURRENCY}, l.currency,
  l.tenant_id, l.session_id, e.correlation_id, l.tool_name, l.spend_level
FROM billing_ledgerentry l
JOIN metering_usageevent e ON e.id = l.event_id
{hierarchy.JOINS}{PRICED_WITH}
WHERE l.kind IN ('usage', 'adjustment')
  AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
"""  # noqa: S608  # Only constants.
ORDER = "ORDER BY l.subscription_id, l.snapshot_id, l.usage_period_id, e.id"
# Late usage of a period lands in a later one, never in one before it.
OF_PERIODS = f"""
{RATED} AND l.customer_id = ANY(%b) AND l.subscription_id = ANY(%b)
  AND l.usage_period_id = ANY(%b) AND l.billing_period_id IN (
    SELECT p.id FROM billing_billingperiod p
    WHERE p.customer_id = l.customer_id AND p.end_at > %b)
{ORDER}
"""  # noqa: S608  # Only constants of this module.


def read(
    tenant_ids: Iterable[uuid.UUID], where: str, values: Sequence[object] = ()
) -> Iterator[tuple[TotalKey, UsageEvent]]:
    """Yield rated events as rating saw them, by subscription, snapshot and period.

    Where spend levels decided, an event says which one it was rated at.
    `where` is RATED with its conditions and ORDER; costs are in the entry's currency.
    """
    rates = fx.Rates(tenant_ids)
    with sql.cursor() as cursor:
        for row in cursor.execute(where, values or None):
            sub, snapshot, period, event_id, at, kind, text = row[:7]
            body = decode(text)
            facets = dict(
                zip(hierarchy.FACETS, (v or "" for v in row[7:11]), strict=True)
            )
            usage = UsageEvent(
                event_id,
                at,
                kind,
                with_tool(body.properties, row[17]) | (facets if row[7] else {}),
                priced({n: Decimal(v) for n, v in body.measurements.items()}),
                _cost_in_currency(rates, row),
                row[15].hex if row[15] else "",
                row[16],
            )
            level = row[18]
            yield (
                TotalKey(sub, snapshot, period),
                usage if level is None else with_level(usage, level),
            )


def _cost_in_currency(rates: fx.Rates, row: tuple[Any, ...]) -> Decimal | None:
    """Return the cost that an event was rated with, from a row of RATED."""
    cost, base, quote, tenant_id = row[11:15]
    if cost is None:
        return None
    return rates.convert(cost, tenant_id=tenant_id, base=base, quote=quote, at=row[4])


@dataclass(frozen=True, slots=True)
class Effect:
    """One contract's last full month under both plans, as whole months."""

    subscription: Subscription
    period: BillingPeriod | None  # None: it had no full month yet.
    event_count: int
    old: Decimal  # Rounded by charge, as an invoice is.
    new: Decimal
    unpriced: int  # Events that the new plan could not price.

    @property
    def change(self) -> Decimal:
        """What the customer pays more; negative: less."""
        return self.new - self.old

    @property
    def ratio(self) -> Decimal | None:
        """The change over the old bill; None from nothing."""
        return self.change / self.old if self.old else None


@dataclass(frozen=True, slots=True)
class Impact:
    """Several contracts' last full month under both plans."""

    currency: str
    effects: tuple[Effect, ...]  # The largest change first.
    skipped: tuple[Subscription, ...]  # Too many events to read while a page waits.

    @property
    def old(self) -> Decimal:
        """What all of them paid."""
        return sum((e.old for e in self.effects), ZERO)

    @property
    def new(self) -> Decimal:
        """What all of them would have paid."""
        return sum((e.new for e in self.effects), ZERO)

    @property
    def change(self) -> Decimal:
        """The sum of the changes."""
        return self.new - self.old

    @property
    def ratio(self) -> Decimal | None:
        """The change over the old bills; None from nothing."""
        return self.change / self.old if self.old else None

    @property
    def more(self) -> int:
        """How many pay more."""
        return sum(1 for e in self.effects if e.change > 0)

    @property
    def less(self) -> int:
        """How many pay less."""
        return sum(1 for e in self.effects if e.change < 0)

    @property
    def unpriced(self) -> int:
        """How many events the new plan could not price."""
        return sum(e.unpriced for e in self.effects)


def last_month(
    old: Mapping[Subscription, Plan],
    new: Plan,
    *,
    own: Mapping[Subscription, Plan] | None = None,
    events_max: int = EVENTS_MAX,
) -> Impact:
    """Return what contracts would have paid in their last full month with a plan.

    `old` says what each pays by now; all are in the new plan's currency. `own` says
    what the new plan is for those with prices of their own. Both bills
    come from the recorded events and count fixed amounts for the whole month. The
    contracts with the fewest events come first; those beyond `events_max` events in
    all are skipped.
    """
    periods = _last_periods({s.customer_id for s in old})
    counts = _event_counts(old, periods)
    chosen: list[Subscription] = []
    room = events_max
    for subscription in sorted(old, key=lambda s: (counts.get(s.pk, 0), s.pk)):
        room -= counts.get(subscription.pk, 0)
        if room >= 0:
            chosen.append(subscription)
    events = _events(chosen, periods)
    standings = levels.supposed([s.pk for s in chosen], [new, *old.values()])
    effects = [
        _effect(
            s,
            periods.get(s.customer_id),
            old[s],
            (own or {}).get(s, new),
            events.get(s.pk, []),
            standings[s.pk],
        )
        for s in chosen
    ]
    taken = set(chosen)
    return Impact(
        currency=new.currency,
        effects=tuple(
            sorted(effects, key=lambda e: (-abs(e.change), e.subscription.pk))
        ),
        skipped=tuple(s for s in old if s not in taken),
    )


def _last_periods(customers: set[uuid.UUID]) -> dict[uuid.UUID, BillingPeriod]:
    """Return the period of each customer that ended last."""
    ended = BillingPeriod.objects.filter(
        customer__in=customers, end_at__lte=clock.now()
    )
    latest = ended.order_by("customer_id", "-start_at").distinct("customer_id")
    return {period.customer_id: period for period in latest}


def _event_counts(
    subscriptions: Iterable[Subscription], periods: Mapping[uuid.UUID, BillingPeriod]
) -> dict[uuid.UUID, int]:
    """Return how many events each contract had in its customer's last period."""
    totals = UsageTotal.objects.filter(
        subscription__in=[s.pk for s in subscriptions],
        period__in=[p.pk for p in periods.values()],
    )
    grouped = totals.values_list("subscription").annotate(Sum("event_count"))
    return dict(grouped.order_by())


def _events(
    subscriptions: Sequence[Subscription], periods: Mapping[uuid.UUID, BillingPeriod]
) -> dict[uuid.UUID, list[UsageEvent]]:
    """Return the events of each contract's last period, under whatever snapshot."""
    found: dict[uuid.UUID, list[UsageEvent]] = {}
    wanted = [periods[s.customer_id] for s in subscriptions if s.customer_id in periods]
    if not wanted:
        return found
    values = [
        [s.customer_id for s in subscriptions],
        [s.pk for s in subscriptions],
        [p.pk for p in wanted],
        min(p.start_at for p in wanted),
    ]
    for key, event in read({s.tenant_id for s in subscriptions}, OF_PERIODS, values):
        found.setdefault(key.subscription_id, []).append(event)
    return found


def _effect(
    subscription: Subscription,
    period: BillingPeriod | None,
    old: Plan,
    new: Plan,
    events: Sequence[UsageEvent],
    standing: Standing,
) -> Effect:
    """Price one contract's month with both plans; without a month both cost nothing."""
    if period is None or subscription.started_at >= period.end_at:
        return Effect(subscription, None, 0, ZERO, ZERO, 0)
    starts_on = period.start_at.astimezone(ZoneInfo(period.timezone)).date()
    before, _ = _bill(old, events, standing, starts_on)
    after, unpriced = _bill(new, events, standing, starts_on)
    return Effect(subscription, period, len(events), before, after, unpriced)


def _bill(
    plan: Plan,
    events: Sequence[UsageEvent],
    standing: Standing,
    starts_on: dt.date,
) -> tuple[Decimal, int]:
    """Return a whole month's bill, rounded by line, and how many events it lacks."""
    outcomes, state = rate_period(plan, events, standing)
    unpriced = sum(1 for outcome in outcomes if isinstance(outcome, Unrateable))
    rows = by_key(total(plan, state, starts_on=starts_on)).items()
    return sum(printed(rows, plan.currency), ZERO), unpriced
