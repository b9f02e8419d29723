"""The credits that customers bought: what some spend levels are reached by."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

from aforo.lib import sql
from catalog.pricing import Purchase

PURCHASES = """
SELECT g.customer_id, w.currency, g.created_at, g.amount
FROM billing_creditgrant g JOIN billing_wallet w ON w.id = g.wallet_id
WHERE g.customer_id = ANY(%b) AND g.kind = 'purchased'
ORDER BY g.created_at, g.id
"""
Purchases = Mapping[tuple[uuid.UUID, str], tuple[Purchase, ...]]


def purchases(customers: Collection[uuid.UUID]) -> Purchases:
    """Return the credits that customers bought, by customer and currency, in time."""
    if not customers:
        return {}
    found: dict[tuple[uuid.UUID, str], list[Purchase]] = {}
    with sql.cursor() as cursor:
        rows = cursor.execute(PURCHASES, [list(customers)]).fetchall()
    for customer, currency, at, amount in rows:
        found.setdefault((customer, currency), []).append(Purchase(at, amount))
    return {key: tuple(bought) for key, bought in found.items()}
