"""Rated usage read again as rating saw it: the one reader of recorded events."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from aforo.core import fx
from aforo.lib import sql
from billing import hierarchy
from billing.rating import TotalKey
from catalog.pricing import UsageEvent, with_level
from metering.batch import decode, with_tool
from metering.costing import AMOUNT, CURRENCY, PRICED_WITH
from metering.measurements import priced

# What event() reads, of an event `e` and its ledger entry `l`, which may be missing.
COLUMNS = f"""e.event_id, e.occurred_at, e.event_type, e.body::text,
  {hierarchy.COLUMNS},
  {AMOUNT}, {CURRENCY}, e.tenant_id, l.currency,
  l.session_id, e.correlation_id, COALESCE(l.tool_name, e.tool_name), l.spend_level"""
WIDTH = 16
JOINS = f"{hierarchy.JOINS}{PRICED_WITH}"
# All that was ever charged, also what was taken back: callers say what still counts.
RECORDED = f"""
SELECT {COLUMNS}, l.subscription_id, l.snapshot_id, l.usage_period_id
FROM billing_ledgerentry l
JOIN metering_usageevent e ON e.id = l.event_id
{JOINS}
WHERE l.kind IN ('usage', 'adjustment')
"""  # noqa: S608  # Only constants.
# What counts by now: an amended event is void too, its correction is one of its own.
RATED = f"""{RECORDED}
  AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
"""
ORDER = "ORDER BY l.subscription_id, l.snapshot_id, l.usage_period_id, e.id"


def read(
    tenant_ids: Iterable[uuid.UUID], statement: str, values: Sequence[object] = ()
) -> Iterator[tuple[TotalKey, UsageEvent]]:
    """Yield rated events as rating saw them, with the counter rows they belong to.

    `statement` is RATED with its conditions and order; costs are in the entry's
    currency.
    """
    rates = fx.Rates(tenant_ids)
    with sql.cursor() as cursor:
        for row in cursor.execute(statement, values or None):
            yield TotalKey(*row[WIDTH : WIDTH + 3]), event(row, rates)


def by_counter(
    tenant_ids: Iterable[uuid.UUID],
) -> Iterator[tuple[TotalKey, list[UsageEvent]]]:
    """Yield all rated events, those of one counter row at a time.

    Millions may be there: inside a transaction, they are read as a stream.
    """
    rates = fx.Rates(tenant_ids)
    rows = sql.stream(f"{RATED}{ORDER}")
    for key, group in itertools.groupby(rows, lambda row: row[WIDTH : WIDTH + 3]):
        yield TotalKey(*key), [event(row, rates) for row in group]


def event(row: Sequence[Any], rates: fx.Rates, currency: str = "") -> UsageEvent:
    """Return the event of COLUMNS as rating saw it, its cost in a currency.

    Without one, in that of its entry. Where spend levels decided, it says which one it
    was rated at.
    """
    event_id, at, kind, text, *more = row[:WIDTH]
    cost, base, tenant_id, booked_in, session_id, correlation, tool, level = more[4:]
    body = decode(text)
    properties = with_tool(body.properties, tool)
    if more[0]:
        facets = zip(hierarchy.FACETS, (value or "" for value in more[:4]), strict=True)
        properties = {**properties, **dict(facets)}
    quote = currency or booked_in
    if cost is not None and base != quote:
        cost = rates.convert(cost, tenant_id=tenant_id, base=base, quote=quote, at=at)
    usage = UsageEvent(
        event_id,
        at,
        kind,
        properties,
        priced({name: Decimal(value) for name, value in body.measurements.items()}),
        cost,
        session_id.hex if session_id else "",
        correlation,
    )
    return usage if level is None else with_level(usage, level)
