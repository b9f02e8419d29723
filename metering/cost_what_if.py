"""What a month would have cost on another model or at another price."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from aforo.lib import sql
from aforo.lib.money import ZERO, plain, q12
from catalog.cost_context import situation
from catalog.costs import Cost, CostBook
from metering import recosting
from metering.batch import Item

# Revenue is that of the same events, in the currency of the plan.
REVENUE = """
SELECT l.event_id, l.currency, sum(l.amount), min(s.product_id::text)
FROM billing_ledgerentry l JOIN billing_subscription s ON s.id = l.subscription_id
WHERE l.customer_id = %b AND l.event_id = ANY(%b) GROUP BY 1, 2
"""
COUNTED = ("events", "moved", "unknown", "unknown_before", "rated")


def costed(item: Item, book: CostBook, params: Mapping[str, Any]) -> Cost | None:
    """Return the cost of an event under the question; None: it is not asked about.

    `model` names the model whose calls move (empty: every model's), `provider` at
    whom (empty: at anybody); `target` and `target_provider` where to; else `factor`
    multiplies what tokens cost.
    """
    properties = item.body.properties
    model = properties.get("model", "")
    if not model:
        return None
    wanted = params.get("model", "")
    if wanted and wanted not in (model, book.sheet(model, situation(properties)).name):
        return None
    at = params.get("provider", "")
    if at and at != (properties.get("provider", "") or item.cost.provider):
        return None
    if target := params.get("target", ""):
        provider = params.get("target_provider", "")
        return book.cost(
            event_type=item.row.event_type,
            model=target,
            tool=item.row.tool_name if book.has_tool(item.row.tool_name) else item.tool,
            measurements=item.measurements,
            at=item.row.occurred_at,
            properties={**properties, "provider": provider},
        )
    if item.cost.amount is None:
        return item.cost
    factor = Decimal(params["factor"])
    lines = item.cost.lines
    calls = sum((line.amount for line in lines if line.unit == "tool.call"), ZERO)
    amount = q12((item.cost.amount - calls) * factor) + calls
    return item.cost._replace(amount=amount)


def step(
    params: Mapping[str, Any], customer_id: uuid.UUID, done: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Cost the next events of a customer under the question; return all so far."""
    so_far = dict(done or {})
    last = uuid.UUID(so_far["after"]) if "after" in so_far else recosting.START
    event_ids = recosting.after(customer_id, params, last)
    items, known = recosting.judged(event_ids, [customer_id], frozenset())
    revenues = _revenues(customer_id, [item.row.id for item in items])
    if product := params.get("product"):
        items = [
            item
            for item in items
            if product in (str(item.row.product_id), *revenues.get(item.row.id, ())[2:])
        ]
    counts = {name: so_far.get(name, 0) for name in COUNTED}
    sums = {
        name: Decimal(so_far.get(name, "0"))
        for name in ("before", "after_cost", "revenue")
    }
    for item in items:
        tenant = known.tenants[item.row.tenant_id]
        asked = costed(item, tenant.costs, params)
        new = item.cost if asked is None else asked
        old_amount, new_amount, revenue = (
            _in(params["currency"], pair, item, tenant.rates)
            for pair in (
                (item.cost.amount, item.cost.currency),
                (new.amount, new.currency),
                revenues.get(item.row.id, (ZERO, params["currency"]))[:2],
            )
        )
        counts["events"] += 1
        counts["moved"] += asked is not None
        counts["rated"] += item.row.id in revenues
        counts["unknown_before"] += old_amount is None
        counts["unknown"] += new_amount is None
        sums["revenue"] += revenue or ZERO
        if old_amount is not None and new_amount is not None:
            # Only what is known on both sides can be compared.
            sums["before"] += old_amount
            sums["after_cost"] += new_amount
    return {
        **counts,
        **{name: plain(value) for name, value in sums.items()},
        "after": (event_ids[-1] if event_ids else last).hex,
        "done": len(event_ids) < recosting.BATCH,
    }


def _revenues(
    customer_id: uuid.UUID, event_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, tuple[Decimal, str, str]]:
    """Return what events were charged, and the product of the contract."""
    with sql.cursor() as cursor:
        rows = cursor.execute(REVENUE, [customer_id, list(event_ids)]).fetchall()
    return {event: (amount, money, product) for event, money, amount, product in rows}


def _in(
    currency: str, pair: tuple[Decimal | None, str], item: Item, rates: Any
) -> Decimal | None:
    """Return an amount in the currency of the answer; None: unknown."""
    amount, base = pair
    if amount is None or base == currency:
        return amount
    found: Decimal | None = rates.convert(
        amount,
        tenant_id=item.row.tenant_id,
        base=base,
        quote=currency,
        at=item.row.occurred_at,
    )
    return found


def summarise(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of all customers together."""
    counts = dict.fromkeys(COUNTED, 0)
    sums = dict.fromkeys(("before", "after_cost", "revenue"), ZERO)
    for row in rows:
        for name in counts:
            counts[name] += row.get(name, 0)
        for name in sums:
            sums[name] += Decimal(row.get(name, "0"))
    return {**counts, **{name: plain(value) for name, value in sums.items()}}


def margin(revenue: Decimal, cost: Decimal) -> Decimal | None:
    """Return the margin as a share of revenue; None without any."""
    return (revenue - cost) / revenue if revenue else None


def price_needed(cost: Decimal, target: Decimal | None) -> Decimal | None:
    """Return the revenue at which the margin is the target (a share, at most 1).

    None: no revenue is enough, or no target is known.
    """
    if target is None or (target >= 1 and cost):
        return None
    return cost / (1 - target) if cost else ZERO
