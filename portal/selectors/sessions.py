"""Sessions: the list, and one run taken apart into its stages."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from aforo.lib.models import MoneyField
from aforo.lib.money import ZERO
from billing import contracts
from billing.models import LedgerEntry, SubscriptionSnapshot
from catalog.pricing import Recipe
from metering.models import CostFact, EventVoid, Session, UsageEvent
from portal.selectors.stage_shares import stage_shares
from portal.trace import Stage, stage_of, stage_of_charge

# One set of effects an event: what the unique index of the ledger covers.
EFFECTS = (LedgerEntry.Kind.USAGE, LedgerEntry.Kind.ADJUSTMENT)


def table() -> QuerySet[Session]:
    """Return the sessions with what the list shows of them."""
    return Session.objects.select_related("customer", "agent", "product").annotate(
        margin=F("price") - F("cost")
    )


def with_effects(events: QuerySet[UsageEvent]) -> QuerySet[UsageEvent]:
    """Return the events with `amount`, `cost` and `cost_currency` (null: none).

    `amount` is what the event was charged; `net` is what is left of it in the books:
    of an event that is void mostly nothing, or what other events cost more or less
    since. `void_amount` is what the void added (null: it is not void).
    """
    entry = LedgerEntry.objects.filter(event_id=OuterRef("pk"), kind__in=EFFECTS)
    fact = CostFact.objects.filter(event=OuterRef("pk"), kind=CostFact.Kind.ORIGINAL)
    # With what was found out later; null only where nothing is known.
    facts = CostFact.objects.filter(event=OuterRef("pk")).order_by()
    total = facts.values("event").annotate(total=Sum("amount")).values("total")
    void = EventVoid.objects.filter(event=OuterRef("pk")).values("amount")
    return events.annotate(
        amount=Subquery(entry.values("amount")[:1], output_field=MoneyField()),
        void_amount=Subquery(void, output_field=MoneyField()),
        net=F("amount") + Coalesce(F("void_amount"), ZERO, output_field=MoneyField()),
        currency=Subquery(entry.values("currency")[:1]),
        ledger_id=Subquery(entry.values("id")[:1]),
        cost=Subquery(total, output_field=MoneyField()),
        cost_currency=Subquery(fact.values("currency")[:1]),
        cost_unknown=Subquery(fact.values("unknown")[:1]),
    )


@dataclass(slots=True)
class TraceRow:
    """One stage of a session: how much of it, its price and its cost."""

    stage: Stage
    number: int
    parts: list[str] = field(default_factory=list)  # Names of its charges.
    quantity: Decimal = ZERO
    unit: str = ""
    price: Decimal = ZERO
    cost: Decimal | None = ZERO


@dataclass(frozen=True, slots=True)
class Trace:
    """A session by stages; `agrees` tells whether they sum to its counters."""

    rows: list[TraceRow]
    price: Decimal
    cost: Decimal | None
    agrees: bool
    why_no_cost: str


CHARGES = """
SELECT l.snapshot_id, c.key, sum(c.quantity), sum(c.amount)
FROM metering_usageevent u
JOIN billing_ledgerentry own
  ON own.event_id = u.id AND own.kind IN ('usage', 'adjustment')
-- And what a void added: its reversal leads to the batch.
CROSS JOIN LATERAL (
  SELECT own.snapshot_id, own.basis_id, own.quantities, own.amounts
  UNION ALL
  SELECT x.snapshot_id, x.basis_id, x.quantities, x.amounts
  FROM billing_ledgerentry r JOIN billing_ledgerentry x
    ON x.customer_id = r.customer_id AND x.version = r.version
    AND x.event_id = u.id AND x.kind IN ('reversal', 'reprice')
  WHERE r.reverses_id = own.id
) AS l
JOIN billing_ledgerbasis b ON b.id = l.basis_id
CROSS JOIN LATERAL unnest(b.charge_keys, aforo_figures(l.quantities),
  aforo_figures(l.amounts))
  AS c (key, quantity, amount)
WHERE u.customer_id = %s AND u.session_key = %s GROUP BY 1, 2 ORDER BY 2
"""
WEIGHED = """
SELECT l.snapshot_id, c.key, step ->> 0, sum((step ->> 1)::numeric)
FROM metering_usageevent u
JOIN billing_ledgerentry l
  ON l.event_id = u.id AND l.kind IN ('usage', 'adjustment')
JOIN billing_ledgerbasis b ON b.id = l.basis_id
CROSS JOIN LATERAL unnest(b.charge_keys, aforo_figures(l.quantities),
  aforo_figures(l.amounts))
  WITH ORDINALITY AS c (key, quantity, amount, place)
CROSS JOIN LATERAL aforo_steps(coalesce(b.steps, l.own_steps) -> (c.place - 1)::int,
  c.quantity, c.amount) AS step
WHERE u.customer_id = %s AND u.session_key = %s AND step ->> 0 LIKE 'recipe:%%'
  AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = u.id)
GROUP BY 1, 2, 3
"""
COSTS = """
SELECT line.unit, f.currency, sum(line.amount)
FROM metering_usageevent u
-- A corrected cost has all its lines anew, beside the difference to what was booked.
CROSS JOIN LATERAL (
  SELECT x.currency, x.basis_id, x.figures FROM metering_costfact x
  WHERE x.event_id = u.id AND x.amount IS NOT NULL AND x.basis_id IS NOT NULL
  ORDER BY x.id DESC LIMIT 1
) AS f
JOIN metering_costbasis b ON b.id = f.basis_id
CROSS JOIN LATERAL aforo_cost_lines(b.parts, f.figures) AS line
WHERE u.customer_id = %s AND u.session_key = %s
  AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = u.id)
GROUP BY 1, 2
"""
REASONING = """
SELECT coalesce(sum((u.body -> 'measurements' ->> 'reasoning_tokens')::numeric), 0),
  coalesce(sum((u.body -> 'measurements' ->> 'reasoning_steps')::numeric), 0)
FROM metering_usageevent u WHERE u.customer_id = %s AND u.session_key = %s
  AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = u.id)
"""


def trace(session: Session) -> Trace:
    """Return the session's price and cost by stage; five statements."""
    key: list[Any] = [session.customer_id, session.key]
    with connection.cursor() as cursor:
        cursor.execute(CHARGES, key)
        charges = cursor.fetchall()
        cursor.execute(WEIGHED, key)
        weighed = cursor.fetchall()
        cursor.execute(COSTS, key)
        costs = cursor.fetchall()
        cursor.execute(REASONING, key)
        tokens, steps = cursor.fetchone()
    rows = {s: TraceRow(s, i) for i, s in enumerate(Stage, start=1)}
    _price(rows, charges, weighed)
    foreign = {c for _, c, _ in costs} - {session.currency}
    for unit, _, amount in costs:
        row = rows[stage_of(unit)]
        row.cost = None if foreign or row.cost is None else row.cost + amount
    rows[Stage.PROMPT].quantity, rows[Stage.PROMPT].unit = (
        Decimal(session.input_tokens),
        "tokens",
    )
    rows[Stage.REASON].quantity, rows[Stage.REASON].unit = (
        (steps, "steps") if steps else (tokens, "tokens")
    )
    tools = Decimal(session.tool_invocation_count)
    rows[Stage.TOOL].quantity, rows[Stage.TOOL].unit = tools, "calls"
    rows[Stage.OUTPUT].quantity, rows[Stage.OUTPUT].unit = (
        Decimal(session.output_tokens),
        "tokens",
    )
    shown = [
        r for r in rows.values() if r.stage is not Stage.OTHER or r.price or r.cost
    ]
    return _summed(session, shown, foreign)


def _price(
    rows: dict[Stage, TraceRow],
    charges: Sequence[tuple[uuid.UUID, str, Any, Any]],
    weighed: Sequence[tuple[uuid.UUID, str, str, Decimal]],
) -> None:
    """Add the charges to their stages; a recipe's by what its meters weigh."""
    snapshots = SubscriptionSnapshot.objects.in_bulk({c[0] for c in charges})
    plans = contracts.plans_of(snapshots.values())
    for snapshot_id, key, _quantity, amount in charges:
        charge = plans[snapshot_id].plan.charge(key)
        parts = {stage_of_charge(charge): amount}
        if isinstance(charge.model, Recipe):
            used = {w[2]: w[3] for w in weighed if w[:2] == (snapshot_id, key)}
            parts = stage_shares(charge.model, used, amount)
        for stage, part in parts.items():
            row = rows[stage]
            row.price += part
            if charge.name not in row.parts:
                row.parts.append(charge.name)


def _summed(session: Session, rows: list[TraceRow], foreign: set[str]) -> Trace:
    """Return the trace with its sums, compared with the session's counters."""
    price = sum((r.price for r in rows), ZERO)
    why = ""
    if foreign:
        why = f"costs are in {', '.join(sorted(foreign))}"
    elif session.event_count and session.cost_unknown_count == session.event_count:
        why = "no event's cost is known"
    if why:
        for row in rows:
            row.cost = None
        return Trace(rows, price, None, price == session.price, why)
    cost = sum((r.cost or ZERO for r in rows), ZERO)
    agrees = price == session.price and cost == session.cost
    return Trace(rows, price, cost, agrees, "")
