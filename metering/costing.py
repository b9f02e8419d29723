"""What is known of the costs of events, and with which they were priced."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from aforo.lib import sql
from aforo.lib.money import ZERO

# The cost that an event `e` was priced with, as f and d: that of the time at which it
# was rated. What is corrected later is in the sum of the facts and moves no price.
PRICED_WITH = """
LEFT JOIN metering_costfact f ON f.event_id = e.id AND f.kind = 'original'
-- Rated again later: the sum up to then.
LEFT JOIN LATERAL (
  SELECT last.currency, (SELECT sum(c.amount) FROM metering_costfact c
    WHERE c.event_id = last.event_id AND c.id <= last.id
      AND c.currency = last.currency) AS amount
  FROM metering_costfact last
  WHERE last.event_id = e.id AND last.kind = 'delta' ORDER BY last.id DESC LIMIT 1
) d ON true
"""
AMOUNT = "COALESCE(d.amount, f.amount)"
CURRENCY = "COALESCE(d.currency, f.currency)"

SUMS = """
SELECT event_id, currency, sum(amount), count(*) FROM metering_costfact
WHERE event_id = ANY(%b) GROUP BY event_id, currency
"""


@dataclass(slots=True)
class Known:
    """What the facts of one event add up to."""

    # By currency, without those that cancel out; empty: the cost is not known.
    amounts: dict[str, Decimal] = field(default_factory=dict)
    fact_count: int = 0
    is_known: bool = False

    def change_to(self, amount: Decimal, currency: str) -> dict[str, Decimal]:
        """Return what has to be added, by currency, so that the sum is the amount."""
        wanted = {currency: amount}
        found = {
            money: wanted.get(money, ZERO) - self.amounts.get(money, ZERO)
            for money in {*wanted, *self.amounts}
        }
        return {money: change for money, change in found.items() if change}


def known(event_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Known]:
    """Return what is known of the costs of events; those never costed are left out."""
    found: dict[uuid.UUID, Known] = {}
    with sql.cursor() as cursor:
        rows = cursor.execute(SUMS, [list(event_ids)]).fetchall()
    for event_id, currency, amount, count in rows:
        cost = found.setdefault(event_id, Known())
        cost.fact_count += count
        if amount is not None:
            cost.is_known = True
            if amount:
                cost.amounts[currency] = amount
    return found
