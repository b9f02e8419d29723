"""From an invoice line down to its requests; every level sums to the one above."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Count, F, Q, QuerySet, Sum

from aforo.lib import ids
from aforo.lib.money import ZERO
from billing.models import Invoice, LedgerEntry
from catalog.plans import load_plans
from catalog.pricing import Grouping, is_plan_key
from catalog.pricing.outcomes import outcome_of
from metering.models import CostFact, UsageEvent
from portal.selectors.groups import GroupKey, Work, works
from portal.selectors.meters import meters

# Entries without an event, in words.
KINDS = dict(LedgerEntry.Kind.choices)


@dataclass(frozen=True, slots=True)
class Slice:
    """The ledger entries of one line: one charge of one subscription in a period."""

    customer_id: uuid.UUID
    currency: str
    period_id: uuid.UUID
    subscription_id: uuid.UUID
    charge_key: str
    usage_period_id: uuid.UUID | None  # Set: usage of an earlier period.

    @property
    def entries(self) -> QuerySet[LedgerEntry]:
        """The entries that carry the charge, with those of other charges on them."""
        own: Any = self.usage_period_id or F("billing_period_id")
        return LedgerEntry.objects.filter(
            customer=self.customer_id,
            billing_period=self.period_id,
            subscription=self.subscription_id,
            currency=self.currency,
            basis__charge_keys__contains=[self.charge_key],
            usage_period=own,
        )

    @property
    def is_of_plan(self) -> bool:
        """Whether the line is of the plan as a whole and counts nothing."""
        return is_plan_key(self.charge_key)

    @property
    def parameters(self) -> list[Any]:
        """What the statements of this module are given, in their order."""
        return [
            self.customer_id,
            self.period_id,
            self.subscription_id,
            self.currency,
            self.charge_key,
            self.usage_period_id,
        ]

    def part(self, entry: LedgerEntry) -> tuple[Decimal, Decimal]:
        """Return the quantity and the amount that the charge has in an entry."""
        quantity = amount = ZERO
        for key, moved, cost in zip(
            entry.charge_keys, entry.quantities, entry.amounts, strict=True
        ):
            if key == self.charge_key:
                quantity, amount = quantity + moved, amount + cost
        return quantity, amount


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one day, or one rule, adds to a line."""

    day: dt.date | None  # None: not from events.
    label: str
    entry_count: int
    quantity: Decimal
    amount: Decimal


BUCKETS = """
SELECT CASE WHEN e.event_id IS NULL THEN NULL
            ELSE (e.occurred_at AT TIME ZONE 'UTC')::date END AS day,
  CASE WHEN e.event_id IS NULL THEN e.kind ELSE '' END AS rule,
  count(DISTINCT e.id), sum(c.quantity), sum(c.amount)
FROM billing_ledgerentry e
JOIN billing_ledgerbasis b ON b.id = e.basis_id
CROSS JOIN LATERAL unnest(b.charge_keys, aforo_figures(e.quantities),
  aforo_figures(e.amounts))
  AS c (key, quantity, amount)
WHERE e.customer_id = %s AND e.billing_period_id = %s AND e.subscription_id = %s
  AND e.currency = %s AND c.key = %s
  AND e.usage_period_id = coalesce(%s, e.billing_period_id)
GROUP BY 1, 2 ORDER BY 1 NULLS LAST, 2
"""


def buckets(part: Slice) -> list[Bucket]:
    """Return a line by day, then what rules added to it; one statement."""
    with connection.cursor() as cursor:
        cursor.execute(BUCKETS, part.parameters)
        found = cursor.fetchall()
    return [
        Bucket(day, f"{day:%-d %b}" if day else KINDS.get(rule, rule), count, qty, sum_)
        for day, rule, count, qty, sum_ in found
    ]


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the ledger entries of a line sum to what the line says."""

    entry_count: int
    amount: Decimal
    expected: Decimal

    @property
    def holds(self) -> bool:
        """Whether both are the same, to the last digit."""
        return self.amount == self.expected


def proof(found: Sequence[Bucket], expected: Decimal) -> Proof:
    """Return the proof of buckets against the amount that they should sum to."""
    return Proof(
        sum(b.entry_count for b in found),
        sum((b.amount for b in found), ZERO),
        expected,
    )


def of_day(part: Slice, day: dt.date) -> QuerySet[LedgerEntry]:
    """Return the line's entries that come from the events of one day in UTC."""
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    return part.entries.filter(
        event_id__isnull=False,
        occurred_at__gte=start,
        occurred_at__lt=start + dt.timedelta(days=1),
    ).select_related("agent", "snapshot")


@dataclass(frozen=True, slots=True)
class Request:
    """One event behind a line."""

    entry: LedgerEntry
    event: UsageEvent | None
    meters: str
    quantity: Decimal
    amount: Decimal
    cost: Decimal | None
    cost_currency: str
    why_no_cost: str
    work: Work | None = None  # Of an outcome: all that is underneath.

    @property
    def public_id(self) -> str:
        """The event's id as addresses have it."""
        return ids.public("evt", self.event.pk) if self.event else ""

    @property
    def ledger_hint(self) -> str:
        """The end of the ledger entry's id, enough to tell it apart."""
        return f"led_…{ids.public('led', self.entry.pk)[-6:]}"


def requests(part: Slice, entries: Sequence[LedgerEntry]) -> list[Request]:
    """Return the events of these entries with their cost; two statements.

    Where the line is of outcomes, two more: what is underneath each of them.
    """
    keys = [e.event_id for e in entries if e.event_id]
    events = UsageEvent.objects.in_bulk(keys)
    facts: dict[Any, CostFact] = {}
    for fact in CostFact.objects.filter(event__in=keys).order_by("id"):
        first = facts.setdefault(fact.event_id, fact)
        if first is not fact and fact.amount is not None:
            first.amount = (first.amount or ZERO) + fact.amount
    found = []
    beneath = _works(part, entries, events)
    for entry in entries:
        event = events.get(entry.event_id) if entry.event_id else None
        fact = facts.get(entry.event_id) if entry.event_id else None
        quantity, amount = part.part(entry)
        found.append(
            Request(
                entry,
                event,
                meters(event) if event else "",
                quantity,
                amount,
                fact.amount if fact else None,
                fact.currency if fact else part.currency,
                (fact.unknown if fact else "") or "no cost was recorded",
                beneath.get(entry.pk),
            )
        )
    return found


def _works(
    part: Slice,
    entries: Sequence[LedgerEntry],
    events: Mapping[uuid.UUID, UsageEvent],
) -> dict[uuid.UUID, Work]:
    """Return the groups of events underneath the outcomes of entries, by entry."""
    versions = {e.pk: e.snapshot.plan_version_id for e in entries}
    plans = load_plans({v for v in versions.values() if v is not None})
    keys: dict[Grouping, dict[uuid.UUID, GroupKey]] = {}
    for entry in entries:
        event = events.get(entry.event_id) if entry.event_id else None
        version = versions[entry.pk]
        model = outcome_of(plans[version].plan, part.charge_key) if version else None
        if event is None or model is None:
            continue
        by_session = model.by is Grouping.SESSION
        name = event.session_key if by_session else event.correlation_id
        if name:
            keys.setdefault(model.by, {})[entry.pk] = GroupKey(event.customer_id, name)
    found: dict[uuid.UUID, Work] = {}
    for by, wanted in keys.items():
        made = works(list(wanted.values()), by, part.currency)
        found |= {pk: made[key] for pk, key in wanted.items() if key in made}
    return found


CSV_HEAD = [
    "time_utc",
    "event_id",
    "event_type",
    "tool",
    "agent",
    "correlation_id",
    "request_id",
    "charge",
    "quantity",
    "amount",
    "currency",
    "entry_kind",
    "ledger_id",
]


CSV_ROWS = """
SELECT e.occurred_at, coalesce(u.event_id, ''), e.event_type, e.tool_name,
  coalesce(a.name, ''), coalesce(u.correlation_id, ''), coalesce(u.request_id, ''),
  c.key, c.quantity, c.amount, e.currency, e.kind, e.id::text
FROM billing_ledgerentry e
JOIN billing_ledgerbasis b ON b.id = e.basis_id
CROSS JOIN LATERAL unnest(b.charge_keys, aforo_figures(e.quantities),
  aforo_figures(e.amounts))
  AS c (key, quantity, amount)
LEFT JOIN metering_usageevent u ON u.id = e.event_id
LEFT JOIN billing_agent a ON a.id = e.agent_id
WHERE e.customer_id = %s AND e.billing_period_id = %s AND e.subscription_id = %s
  AND e.currency = %s AND c.key = %s
  AND e.usage_period_id = coalesce(%s, e.billing_period_id)
ORDER BY e.occurred_at, e.id LIMIT %s
"""


def csv_rows(part: Slice, limit: int) -> list[tuple[Any, ...]]:
    """Return every entry behind a line; without cost, so customers may have it."""
    with connection.cursor() as cursor:
        cursor.execute(CSV_ROWS, [*part.parameters, limit])
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


@dataclass(frozen=True, slots=True)
class StatusTotal:
    """The invoices of one state and what they come to, by currency."""

    state: str
    count: int
    totals: list[tuple[str, Decimal]]


def totals(rows: QuerySet[Invoice]) -> dict[str, StatusTotal]:
    """Return counts and totals by state; one statement."""
    found: dict[str, StatusTotal] = {}
    grouped = rows.order_by().values_list("state", "currency")
    for state, currency, count, total in grouped.annotate(Count("pk"), Sum("total")):
        before = found.get(state, StatusTotal(state, 0, []))
        found[state] = StatusTotal(
            state, before.count + count, [*before.totals, (currency, total)]
        )
    return found


def matching(rows: QuerySet[Invoice], text: str) -> QuerySet[Invoice]:
    """Return the invoices whose number or customer has the text."""
    return rows.filter(
        Q(number__icontains=text)
        | Q(customer__name__icontains=text)
        | Q(customer__external_id=text)
    )
