"""Costs that were corrected after rating: sums follow, prices and entries never do."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from aforo.lib import sql
from aforo.lib.money import ZERO
from billing.rating import TotalKey


class Rated(NamedTuple):
    """Under what an event was rated."""

    key: TotalKey
    currency: str


RATED = """
SELECT event_id, subscription_id, snapshot_id, usage_period_id, currency
FROM billing_ledgerentry
WHERE customer_id = %b AND event_id = ANY(%b) AND kind IN ('usage', 'adjustment')
"""
ADD = """
UPDATE billing_usagetotal t
SET cost = t.cost + r.cost, cost_unknown_count = t.cost_unknown_count - r.found
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::numeric[], %b::bigint[])
  AS r (subscription_id, snapshot_id, period_id, cost, found)
WHERE t.customer_id = %b AND t.subscription_id = r.subscription_id
  AND t.snapshot_id = r.snapshot_id AND t.period_id = r.period_id
"""


def rated(
    customer_id: uuid.UUID, event_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, Rated]:
    """Return under what a customer's events were rated; others are left out."""
    with sql.cursor() as cursor:
        rows = cursor.execute(RATED, [customer_id, list(event_ids)]).fetchall()
    return {event: Rated(TotalKey(*key), currency) for event, *key, currency in rows}


def add(
    customer_id: uuid.UUID, changes: Iterable[tuple[TotalKey, Decimal, bool]]
) -> None:
    """Add changes of costs to the totals of a customer whose books are locked.

    Each is a key, the change in the total's currency, and whether the cost was
    counted as unknown before.
    """
    sums: dict[TotalKey, tuple[Decimal, int]] = {}
    for key, change, found in changes:
        cost, count = sums.get(key, (ZERO, 0))
        sums[key] = cost + change, count + found
    if not sums:
        return
    keys = sorted(sums)
    columns = [
        [k.subscription_id for k in keys],
        [k.snapshot_id for k in keys],
        [k.period_id for k in keys],
        [sums[k][0] for k in keys],
        [sums[k][1] for k in keys],
    ]
    with sql.cursor() as cursor:
        cursor.execute(ADD, [*columns, customer_id])
