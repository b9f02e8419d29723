"""What one unit of a metric costs the seller lately, blended over all customers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.core.cache import cache

from aforo.core.models import Tenant
from aforo.lib import clock
from aforo.lib.invariants import rows
from aforo.lib.money import CONTEXT, ZERO, plain
from catalog.pricing import Aggregation, Metric, Source
from catalog.pricing.linting import PARTS

DAYS = 30
# The newest costs are enough for a blend, and are read in no time.
FACTS_MAX = 2_000
REMEMBERED_S = 600
LINES = """
SELECT e.event_type, line.unit, sum(line.quantity), sum(line.amount)
FROM (
  -- A corrected cost has all its lines anew: the last ones of an event count.
  SELECT DISTINCT ON (event_id) event_id, basis_id, figures FROM (
    SELECT id, event_id, basis_id, figures FROM metering_costfact
    WHERE tenant_id = %(tenant)s AND currency = %(currency)s
      AND occurred_at >= %(since)s AND amount IS NOT NULL AND basis_id IS NOT NULL
    ORDER BY id DESC LIMIT %(most)s
  ) newest ORDER BY event_id, id DESC
) f
JOIN metering_usageevent e ON e.id = f.event_id
JOIN metering_costbasis b ON b.id = f.basis_id
CROSS JOIN LATERAL aforo_cost_lines(b.parts, f.figures) AS line
GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """Quantities and amounts of cost lines by event type and unit."""

    sums: dict[tuple[str, str], tuple[Decimal, Decimal]]

    def of(self, metric: Metric) -> Decimal | None:
        """Return the blended cost of one unit of a metric; None when not known.

        Calls are costed by lines of calls alone, so that tokens are never counted
        twice.
        """
        if metric.source is Source.COGS or metric.aggregation not in (
            Aggregation.COUNT,
            Aggregation.SUM,
        ):
            return None
        quantity = amount = ZERO
        for (kind, unit), (units, cost) in self.sums.items():
            if metric.event_types and kind not in metric.event_types:
                continue
            if _costs(metric, unit):
                quantity += units
                amount += cost
        if not quantity:
            return None
        # Twelve places are as many as a price has.
        return CONTEXT.divide(amount, quantity).quantize(
            Decimal("0.000000000001"), context=CONTEXT
        )


def _costs(metric: Metric, unit: str) -> bool:
    """Tell whether a cost line is for the units that a metric counts."""
    if metric.source is Source.EVENT or metric.field in ("tool_calls", "requests"):
        return unit.endswith(".call")
    return unit == metric.field or unit in PARTS.get(metric.field, frozenset())


def blended(tenant: Tenant, currency: str) -> UnitCosts:
    """Return the costs of the last 30 days, from the newest ones; one statement."""
    name = f"unit-costs:{tenant.pk}:{currency}"
    found = cache.get(name)
    if found is None:
        since = clock.now() - dt.timedelta(days=DAYS)
        found = [
            [kind, unit, plain(quantity), plain(amount)]
            for kind, unit, quantity, amount in rows(
                LINES,
                tenant=tenant.pk,
                currency=currency,
                since=since,
                most=FACTS_MAX,
            )
        ]
        cache.set(name, found, REMEMBERED_S)
    return UnitCosts({(k, u): (Decimal(q), Decimal(a)) for k, u, q, a in found})
