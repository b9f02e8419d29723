"""What is under a recipe's line: its meters and our cost, for staff alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection

from aforo.lib.money import CONTEXT, ZERO
from billing.models import LedgerEntry
from catalog.pricing import explain_step, unpack_steps
from catalog.pricing.lines import Step
from catalog.pricing.recipes import is_underneath, units_of_step
from portal.selectors.invoices import Bucket, Slice

# Plans that changed within the period have weights of their own: they stay apart.
METERS = """
SELECT step ->> 0, step ->> 2, coalesce(step ->> 4, '1'), sum((step ->> 1)::numeric)
FROM billing_ledgerentry e
JOIN billing_ledgerbasis b ON b.id = e.basis_id
CROSS JOIN LATERAL unnest(b.charge_keys, aforo_figures(e.quantities),
  aforo_figures(e.amounts))
  WITH ORDINALITY AS c (key, quantity, amount, place)
CROSS JOIN LATERAL aforo_steps(coalesce(b.steps, e.own_steps) -> (c.place - 1)::int,
  c.quantity, c.amount) AS step
WHERE e.customer_id = %s AND e.billing_period_id = %s AND e.subscription_id = %s
  AND e.currency = %s AND c.key = %s
  AND e.usage_period_id = coalesce(%s, e.billing_period_id)
  AND step ->> 0 LIKE 'recipe%%'
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
COSTS = """
SELECT f.currency, sum(f.amount), count(DISTINCT f.event_id)
FROM billing_ledgerentry e
JOIN billing_ledgerbasis b ON b.id = e.basis_id
JOIN metering_costfact f ON f.event_id = e.event_id AND f.amount IS NOT NULL
WHERE e.customer_id = %s AND e.billing_period_id = %s AND e.subscription_id = %s
  AND e.currency = %s AND b.charge_keys @> ARRAY[%s]::varchar[]
  AND e.usage_period_id = coalesce(%s, e.billing_period_id)
GROUP BY 1
"""
_ORDER = ("recipe:", "recipe_cost", "recipe_markup", "recipe_rounding")


@dataclass(frozen=True, slots=True)
class Underneath:
    """The units of a line step by step, and what its events cost us."""

    rows: list[tuple[str, Decimal]]  # In words, and the units that it comes to.
    units: Decimal
    cost: Decimal | None
    why_no_cost: str
    unknown_count: int  # Events whose cost is not known.
    margin: Decimal | None
    ratio: Decimal | None


def underneath(
    part: Slice, buckets: Sequence[Bucket], *, unit: str, amount: Decimal
) -> Underneath | None:
    """Return what is under a line, from its ledger entries; None where it is no recipe.

    Two statements for a recipe, one for any other line.
    """
    first = part.entries.filter(event_id__isnull=False).order_by().first()
    if first is None or not _is_recipe(first, part.charge_key):
        return None
    with connection.cursor() as cursor:
        cursor.execute(METERS, part.parameters)
        found = cursor.fetchall()
        cursor.execute(COSTS, part.parameters)
        costs = cursor.fetchall()
    steps = sorted(
        (
            Step(kind, quantity, Decimal(price), ZERO, Decimal(per))
            for kind, price, per, quantity in found
        ),
        key=_place,
    )
    rows = [
        (
            explain_step(step, part.currency, unit=unit).partition(" → ")[0],
            units_of_step(step),
        )
        for step in steps
    ]
    event_count = sum(bucket.entry_count for bucket in buckets if bucket.day)
    cost, why = _cost(costs, part.currency, event_count)
    margin = None if cost is None else amount - cost
    return Underneath(
        rows,
        sum((units for _, units in rows), ZERO),
        cost,
        why,
        0 if cost is None else event_count - costs[0][2],
        margin,
        CONTEXT.divide(margin, amount) if margin is not None and amount else None,
    )


def _is_recipe(entry: LedgerEntry, key: str) -> bool:
    """Tell whether an entry has steps under a charge."""
    charges = zip(
        entry.charge_keys, entry.quantities, entry.amounts, entry.steps, strict=False
    )
    return any(
        is_underneath(step.kind)
        for own, quantity, amount, packed in charges
        if own == key
        for step in unpack_steps(packed, quantity, amount)
    )


def _place(step: Step) -> int:
    """Return where a step stands: meters, cost, markup, rounding, minimum."""
    for place, start in enumerate(_ORDER):
        if step.kind.startswith(start):
            return place
    return len(_ORDER)


def _cost(
    costs: Sequence[tuple[str, Decimal, int]], currency: str, event_count: int
) -> tuple[Decimal | None, str]:
    """Return our cost of the events, and why it is not known or not all of it."""
    others = sorted({own for own, _, _ in costs} - {currency})
    if others:
        return None, f"costs are in {', '.join(others)}"
    if not costs:
        return None, "no event's cost is known"
    ((_, amount, known),) = costs
    if known < event_count:
        return amount, f"{event_count - known:,} events have no known cost"
    return amount, ""
