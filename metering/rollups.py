"""Fold a batch into hourly sums."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from aforo.lib import clock, ids, sql
from aforo.lib.money import ZERO
from metering.batch import Item
from metering.sessions import ERRORS

# What sorts where a product or an agent is not known.
NOBODY = uuid.UUID(int=0)


class Key(NamedTuple):
    """Which sum an event belongs to."""

    customer_id: uuid.UUID
    hour: dt.datetime
    product_id: uuid.UUID
    agent_id: uuid.UUID
    event_type: str
    model: str
    tool_name: str
    currency: str


@dataclass(slots=True)
class Sum:
    """What a batch adds to one row."""

    tenant_id: uuid.UUID
    events: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    duration_ms: int = 0
    revenue: Decimal = ZERO
    cost: Decimal = ZERO
    unknown: int = 0


UPSERT = """
INSERT INTO metering_usagerollup AS t (
  id, created_at, tenant_id, customer_id, hour, product_id, agent_id, event_type, model,
  tool_name, currency, event_count, error_count, input_tokens, output_tokens,
  cache_read_tokens, duration_ms, revenue, cost, cost_unknown_count)
SELECT r.id, %b, r.tenant_id, r.customer_id, r.hour, r.product_id, r.agent_id,
  r.event_type, r.model, r.tool_name, r.currency, r.events, r.errors, r.input_tokens,
  r.output_tokens, r.cache_read_tokens, r.duration_ms, r.revenue, r.cost, r.unknown
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::timestamptz[], %b::uuid[],
  %b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[],
  %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::numeric[],
  %b::numeric[], %b::bigint[])
  AS r (id, tenant_id, customer_id, hour, product_id, agent_id, event_type, model,
    tool_name, currency, events, errors, input_tokens, output_tokens,
    cache_read_tokens, duration_ms, revenue, cost, unknown)
ON CONFLICT (customer_id, hour, product_id, agent_id, event_type, model, tool_name,
  currency) DO UPDATE SET
  event_count = t.event_count + excluded.event_count,
  error_count = t.error_count + excluded.error_count,
  input_tokens = t.input_tokens + excluded.input_tokens,
  output_tokens = t.output_tokens + excluded.output_tokens,
  cache_read_tokens = t.cache_read_tokens + excluded.cache_read_tokens,
  duration_ms = t.duration_ms + excluded.duration_ms,
  revenue = t.revenue + excluded.revenue,
  cost = t.cost + excluded.cost,
  cost_unknown_count = t.cost_unknown_count + excluded.cost_unknown_count
"""


def save(items: Sequence[Item]) -> None:
    """Add a batch's events to the hourly sums; the caller holds the books' locks."""
    sums: dict[Key, Sum] = {}
    for item in items:
        row = item.row
        key = Key(
            row.customer_id,
            row.occurred_at.replace(minute=0, second=0, microsecond=0),
            row.product_id or NOBODY,
            row.agent_id or NOBODY,
            row.event_type,
            item.body.properties.get("model", ""),
            item.tool,
            item.currency,
        )
        found = sums.get(key)
        if found is None:
            found = sums[key] = Sum(row.tenant_id)
        found.revenue += item.amount
        if item.cost_change is not None:
            found.cost += item.cost_change
            found.unknown -= item.cost_found
        if not item.replayed:
            _count(found, item)
        elif item.usage_found:
            _count_usage(found, item)
    if sums:
        _write(sorted(sums.items(), key=lambda pair: pair[0]))


def _count(found: Sum, item: Item) -> None:
    """Add one event's counts and cost."""
    found.events += 1
    found.errors += item.row.status in ERRORS
    _count_usage(found, item)
    if item.cost_amount is None:
        found.unknown += 1
    else:
        found.cost += item.cost_amount


def _count_usage(found: Sum, item: Item) -> None:
    """Add what one event measured."""
    get = item.measurements.get
    found.input_tokens += int(get("input_tokens", ZERO))
    found.output_tokens += int(get("output_tokens", ZERO))
    found.cache_read_tokens += int(get("cache_read_tokens", ZERO))
    found.duration_ms += int(get("tool_duration_ms", ZERO) + get("latency_ms", ZERO))


def _write(rows: Sequence[tuple[Key, Sum]]) -> None:
    """Upsert the sums in the order of their key."""
    keys = [key for key, _ in rows]
    sums = [found for _, found in rows]
    columns = [
        [ids.new_id() for _ in rows],
        [s.tenant_id for s in sums],
        [k.customer_id for k in keys],
        [k.hour for k in keys],
        [None if k.product_id == NOBODY else k.product_id for k in keys],
        [None if k.agent_id == NOBODY else k.agent_id for k in keys],
        [k.event_type for k in keys],
        [k.model for k in keys],
        [k.tool_name for k in keys],
        [k.currency for k in keys],
        [s.events for s in sums],
        [s.errors for s in sums],
        [s.input_tokens for s in sums],
        [s.output_tokens for s in sums],
        [s.cache_read_tokens for s in sums],
        [s.duration_ms for s in sums],
        [s.revenue for s in sums],
        [s.cost for s in sums],
        [s.unknown for s in sums],
    ]
    with sql.cursor() as cursor:
        cursor.execute(UPSERT, [clock.now(), *columns])
