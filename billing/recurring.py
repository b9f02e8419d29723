"""What a contract costs without usage: amounts due as a period opens or ends.

Fixed amounts in advance and the first tier's flat amounts are posted once for each
period, under the books' lock; fixed amounts in arrears as the invoice is made.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from aforo.lib import clock, ids, sql
from aforo.lib.money import ZERO
from billing import contracts, periods
from billing.books import Posting
from billing.ledger import Entry
from billing.models import BillingPeriod, LedgerEntry, SubscriptionSnapshot
from catalog import effective
from catalog.plans import PricedPlan
from catalog.pricing import (
    NO_STEPS,
    Line,
    Own,
    closing,
    opening,
    pack_steps,
    state_from_json,
    taken_back,
    true_ups,
)
from catalog.pricing.exact import divide

NOTHING_OWN = Own()


@dataclass(frozen=True, slots=True)
class Term:
    """One snapshot with a plan, and when it is in force."""

    subscription_id: uuid.UUID
    snapshot_id: uuid.UUID
    is_first: bool  # Of its subscription.
    priced: PricedPlan
    start: dt.datetime
    end: dt.datetime | None  # None: until further notice.
    own: Own = NOTHING_OWN  # What it says otherwise than the plan version.
    agent: str = ""  # The agent whose own contract it is; empty: the customer's.
    # What the guard keeps otherwise than the plan says.
    own_limits: Mapping[str, Any] = field(default_factory=dict)

    def meets(self, period: BillingPeriod) -> bool:
        """Whether the snapshot is in force at any time of a period."""
        return self.start < period.end_at and (
            self.end is None or self.end > period.start_at
        )


def terms(customer_id: uuid.UUID) -> list[Term]:
    """Return all that a customer ever agreed to, by subscription and time."""
    return terms_of([customer_id])[customer_id]


def terms_of(customer_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[Term]]:
    """Return all that customers ever agreed to, in as many statements as for one."""
    rows = SubscriptionSnapshot.objects.filter(customer_id__in=customer_ids)
    by_subscription: dict[uuid.UUID, list[SubscriptionSnapshot]] = {}
    for row in rows.select_related("subscription__agent").order_by(
        "subscription_id", "number"
    ):
        by_subscription.setdefault(row.subscription_id, []).append(row)
    plans = contracts.plans_of(
        row for snapshots in by_subscription.values() for row in snapshots
    )
    found: dict[uuid.UUID, list[Term]] = {key: [] for key in customer_ids}
    for subscription_id, snapshots in by_subscription.items():
        found[snapshots[0].customer_id] += [
            Term(
                subscription_id,
                snapshot.pk,
                snapshot.number == 1,
                plans[snapshot.pk],
                snapshot.effective_from,
                following.effective_from if following else None,
                effective.own_of(snapshot.overrides, snapshot.commitment),
                str(snapshot.subscription.agent or ""),
                snapshot.overrides.get("limits", {}),
            )
            for snapshot, following in pairwise([*snapshots, None])
            if snapshot is not None and snapshot.plan_version_id
        ]
    return found


def share(
    amount: Decimal, period: BillingPeriod, start: dt.datetime, end: dt.datetime
) -> Decimal:
    """Return the part of a period's amount for the days of [start, end).

    A day on which one span ends and another begins is the later one's.
    """
    if start <= period.start_at and end >= period.end_at:
        return amount
    zone = ZoneInfo(period.timezone)
    part = periods.days(start, period.end_at, zone)
    if end < period.end_at:
        part -= periods.days(end, period.end_at, zone)
    whole = periods.days(period.start_at, period.end_at, zone)
    return divide(amount * part, Decimal(whole))


def opening_entries(term: Term, period: BillingPeriod) -> list[Entry]:
    """Return what is due when a term meets a period: at its start, or at once.

    A plan that takes over inside a period costs nothing in advance until the next
    one, unless it prorates.
    """
    start = max(term.start, period.start_at)
    late = start > period.start_at
    if late and not term.priced.prorate and not term.is_first:
        return []
    since = start if term.priced.prorate else period.start_at
    return _entries(term, period, opening(term.priced.plan), since=since, at=start)


def credit_entries(term: Term, period: BillingPeriod) -> list[Entry]:
    """Return what is given back of a period's opening when a term ends inside it."""
    if term.end is None or term.end >= period.end_at:
        return []
    whole = term.end <= period.start_at
    if not whole and not term.priced.prorate:
        return []
    lines = opening(term.priced.plan)
    since = max(term.end, period.start_at)
    return _entries(term, period, lines, since=since, at=since, sign=-1)


def closing_entries(
    term: Term, period: BillingPeriod, state: dict[str, object]
) -> list[Entry]:
    """Return the amounts in arrears of a period that ends.

    Without proration only the plan in force at the end charges them, in full.
    """
    ends_inside = term.end is not None and term.end < period.end_at
    given_back = _never_paid(term, period, state)
    if ends_inside and not term.priced.prorate:
        return given_back
    lines = closing(term.priced.plan, state_from_json(state))
    since = max(term.start, period.start_at)
    until = term.end if ends_inside and term.end else period.end_at
    if not term.priced.prorate:
        since = period.start_at
    last = period.end_at - dt.timedelta(microseconds=1)
    entries = _entries(term, period, lines, since=since, until=until, at=last)
    missing = true_ups(
        term.priced.plan,
        state_from_json(state),
        lambda amount: share(amount, period, since, until),
    )
    # These are the days' share already.
    entries += _entries(term, period, missing, since=period.start_at, at=last)
    return given_back + entries


def _never_paid(
    term: Term, period: BillingPeriod, state: dict[str, object]
) -> list[Entry]:
    """Return what usage took back of the opening and the term never paid.

    Leaving the first tier of a volume price takes its flat amount back in full. A term
    of a part of the period paid the share of its days, or nothing.
    """
    since = max(term.start, period.start_at)
    until = period.end_at if term.end is None else min(term.end, period.end_at)
    late = since > period.start_at

    def paid(amount: Decimal) -> Decimal:
        if term.priced.prorate:
            return share(amount, period, since, until)
        return ZERO if late and not term.is_first else amount

    lines = [
        line._replace(quantity=ZERO, amount=line.amount - paid(line.amount), steps=())
        for line in taken_back(term.priced.plan, state_from_json(state))
    ]
    last = until - dt.timedelta(microseconds=1)
    return _entries(term, period, lines, since=period.start_at, at=last)


def _entries(
    term: Term,
    period: BillingPeriod,
    lines: Iterable[Line],
    *,
    since: dt.datetime,
    at: dt.datetime,
    until: dt.datetime | None = None,
    sign: int = 1,
) -> list[Entry]:
    """Return one entry for the lines' share of [since, until), if it is not zero."""
    rows: list[tuple[Line, Decimal]] = []
    for line in lines:
        part = share(line.amount, period, since, until or period.end_at)
        if part:
            rows.append((line, part * sign))
    if not rows:
        return []
    return [
        Entry(
            id=ids.new_id(),
            subscription_id=term.subscription_id,
            snapshot_id=term.snapshot_id,
            usage_period_id=period.pk,
            billing_period_id=period.pk,
            kind=LedgerEntry.Kind.RECURRING,
            currency=term.priced.currency,
            amount=sum((amount for _, amount in rows), ZERO),
            charge_keys=[line.charge_key for line, _ in rows],
            quantities=[line.quantity * sign for line, _ in rows],
            amounts=[amount for _, amount in rows],
            # A share is not what the steps of the whole amount come to.
            steps=[
                pack_steps(line._replace(quantity=line.quantity * sign))
                if amount == line.amount
                else NO_STEPS
                for line, amount in rows
            ],
            occurred_at=at,
        )
    ]


def post(posting: Posting, entries: Sequence[Entry]) -> None:
    """Append recurring entries and count them in the totals of their periods."""
    posting.append(*entries)
    note(posting, entries)


NOTE = """
INSERT INTO billing_usagetotal AS t (
  id, created_at, tenant_id, customer_id, subscription_id, snapshot_id, period_id,
  currency, state, spend, recurring, cost, cost_unknown_count, event_count,
  token_count)
VALUES (%b, %b, %b, %b, %b, %b, %b, %b, '{}', 0, %b, 0, 0, 0, 0)
ON CONFLICT (customer_id, subscription_id, snapshot_id, period_id)
DO UPDATE SET recurring = t.recurring + excluded.recurring
"""


def note(posting: Posting, entries: Sequence[Entry]) -> None:
    """Add recurring entries to the totals of their snapshots and periods."""
    now = clock.now()
    with sql.cursor() as cursor:
        for entry in sorted(entries, key=lambda e: (e.subscription_id, e.snapshot_id)):
            cursor.execute(
                NOTE,
                [
                    ids.new_id(),
                    now,
                    posting.tenant_id,
                    posting.customer_id,
                    entry.subscription_id,
                    entry.snapshot_id,
                    entry.usage_period_id,
                    entry.currency,
                    entry.amount,
                ],
            )


def due(customer_id: uuid.UUID, period: BillingPeriod) -> list[Entry]:
    """Return all that is due as a period opens, for every contract it meets."""
    entries: list[Entry] = []
    for term in terms(customer_id):
        if term.meets(period):
            entries += opening_entries(term, period)
            entries += credit_entries(term, period)
    return entries


def open_due(posting: Posting) -> int:
    """Post what is due for every period that nobody opened yet; return how many.

    Exactly once: under the books' lock, in the transaction that marks the period.
    """
    waiting = BillingPeriod.objects.filter(
        customer_id=posting.customer_id, opened_at__isnull=True
    ).order_by("start_at")
    for period in waiting:
        post(posting, due(posting.customer_id, period))
        period.opened_at = clock.now()
        period.save(update_fields=["opened_at"])
        posting.touch()
    return len(waiting)
