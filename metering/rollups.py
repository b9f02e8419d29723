"""Hourly sums of usage, price and cost: the one door through which they change.

Rating adds what a batch brought (`save`); a correction takes it back or adds a
difference (`apply` with negative figures). Both are additions to the row of a key, so
the order does not matter and a sum of deltas is the delta of the sum.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import msgspec

from aforo.lib import clock, ids, sql
from aforo.lib.money import ZERO
from billing import agent_totals
from metering.batch import Item, Row
from metering.sessions import ERRORS

# What sorts where a product, an agent or a team is not known.
NOBODY = uuid.UUID(int=0)
# Measurements with a column of their own; all others are in `more`.
COLUMNS = frozenset({"input_tokens", "output_tokens", "cache_read_tokens"})

_json = msgspec.json.Encoder(decimal_format="number").encode


class Key(NamedTuple):
    """Which sum an event belongs to; NOBODY and "" are what is not known."""

    customer_id: uuid.UUID
    hour: dt.datetime
    product_id: uuid.UUID
    agent_id: uuid.UUID
    team_id: uuid.UUID
    event_type: str
    model: str
    provider: str
    tool_name: str
    currency: str


@dataclass(slots=True)
class Delta:
    """What is added to one row; negative figures take away."""

    tenant_id: uuid.UUID
    events: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    duration_ms: int = 0
    rated: int = 0  # Events with a price in the key's currency.
    revenue: Decimal = ZERO
    cost: Decimal = ZERO  # In the key's currency.
    unknown: int = 0  # Events whose cost is not known.
    more: dict[str, Decimal] = field(default_factory=dict)

    def count(
        self, *, status: str, measurements: Mapping[str, Decimal], sign: int = 1
    ) -> None:
        """Add what one event counted, or with sign -1 take it back."""
        self.events += sign
        self.errors += sign * (status in ERRORS)
        self.measure(measurements, sign=sign)

    def measure(self, measurements: Mapping[str, Decimal], *, sign: int = 1) -> None:
        """Add what one event measured, and not the event itself."""
        get = measurements.get
        self.input_tokens += sign * int(get("input_tokens", ZERO))
        self.output_tokens += sign * int(get("output_tokens", ZERO))
        self.cache_read_tokens += sign * int(get("cache_read_tokens", ZERO))
        took = get("tool_duration_ms", ZERO) + get("latency_ms", ZERO)
        self.duration_ms += sign * int(took)
        more = self.more
        for name, value in measurements.items():
            if name not in COLUMNS and value:
                signed = value if sign == 1 else sign * value
                more[name] = more[name] + signed if name in more else signed


def key_of(
    row: Row, *, properties: Mapping[str, str], provider: str, tool: str, currency: str
) -> Key:
    """Return the sum that an event belongs to.

    `provider` is that of its first cost fact; what the event itself says goes first.
    `tool` is the name the tool was registered under.
    """
    return Key(
        row.customer_id,
        row.occurred_at.replace(minute=0, second=0, microsecond=0),
        row.product_id or NOBODY,
        row.agent_id or NOBODY,
        row.team_id or NOBODY,
        row.event_type,
        properties.get("model", "")[:120],
        (properties.get("provider", "") or provider)[:60],
        tool,
        currency,
    )


def save(items: Sequence[Item], *, priced: bool = True) -> None:
    """Add a batch's events to the hourly sums; the caller holds the books' locks.

    Without `priced` only what changed of their costs is added: they have the price
    already that they had.
    """
    providers = _first_providers([item for item in items if item.replayed])
    sums: dict[Key, Delta] = {}
    for item in items:
        row = item.row
        key = key_of(
            row,
            properties=item.body.properties,
            provider=providers.get(row.id, item.cost.provider),
            tool=item.tool,
            currency=item.currency,
        )
        found = sums.get(key)
        if found is None:
            found = sums[key] = Delta(row.tenant_id)
        found.revenue += item.amount
        found.rated += priced and item.refusal is None
        if item.cost_change is not None:
            found.cost += item.cost_change
            found.unknown -= item.cost_found
        if item.usage_found:
            found.measure(item.measurements)
        if item.replayed:
            continue
        found.count(status=row.status, measurements=item.measurements)
        if item.cost_amount is None:
            found.unknown += 1
        else:
            found.cost += item.cost_amount
    apply(sums)


def _first_providers(items: Sequence[Item]) -> dict[uuid.UUID, str]:
    """Return the providers under which events that are rated again were counted."""
    if not items:
        return {}
    with sql.cursor() as cursor:
        rows = cursor.execute(
            "SELECT event_id, provider FROM metering_costfact"
            " WHERE event_id = ANY(%b) AND kind = 'original'",
            [[item.row.id for item in items]],
        ).fetchall()
    return dict(rows)


UPSERT = """
INSERT INTO metering_usagerollup AS t (
  id, created_at, tenant_id, customer_id, hour, product_id, agent_id, team_id,
  event_type, model, provider, tool_name, currency, event_count, error_count,
  input_tokens, output_tokens, cache_read_tokens, duration_ms, rated_count, revenue,
  cost, cost_unknown_count, more)
SELECT r.id, %b, r.tenant_id, r.customer_id, r.hour, r.product_id, r.agent_id,
  r.team_id, r.event_type, r.model, r.provider, r.tool_name, r.currency, r.events,
  r.errors, r.input_tokens, r.output_tokens, r.cache_read_tokens, r.duration_ms,
  r.rated, r.revenue, r.cost, r.unknown, r.more::jsonb
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::timestamptz[], %b::uuid[],
  %b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
  %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[],
  %b::bigint[], %b::numeric[], %b::numeric[], %b::bigint[], %b::text[])
  AS r (id, tenant_id, customer_id, hour, product_id, agent_id, team_id, event_type,
    model, provider, tool_name, currency, events, errors, input_tokens, output_tokens,
    cache_read_tokens, duration_ms, rated, revenue, cost, unknown, more)
ON CONFLICT (customer_id, hour, product_id, agent_id, team_id, event_type, model,
  provider, tool_name, currency) DO UPDATE SET
  event_count = t.event_count + excluded.event_count,
  error_count = t.error_count + excluded.error_count,
  input_tokens = t.input_tokens + excluded.input_tokens,
  output_tokens = t.output_tokens + excluded.output_tokens,
  cache_read_tokens = t.cache_read_tokens + excluded.cache_read_tokens,
  duration_ms = t.duration_ms + excluded.duration_ms,
  rated_count = t.rated_count + excluded.rated_count,
  revenue = t.revenue + excluded.revenue,
  cost = t.cost + excluded.cost,
  cost_unknown_count = t.cost_unknown_count + excluded.cost_unknown_count,
  more = CASE WHEN excluded.more = '{}' THEN t.more ELSE (
    SELECT jsonb_object_agg(name, quantity) FROM (
      SELECT key AS name, sum(value::numeric) AS quantity FROM (
        SELECT * FROM jsonb_each_text(t.more)
        UNION ALL SELECT * FROM jsonb_each_text(excluded.more)) AS parts
      GROUP BY key) AS sums) END
"""


def apply(deltas: Mapping[Key, Delta]) -> None:
    """Add deltas to the hourly sums; the caller holds the books' locks.

    Corrections call it with negative figures: a voided event takes back its count
    (`Delta.count` with sign -1), its revenue and its cost under its own key; a changed
    cost adds the difference alone. `verify` compares the sums with the facts.
    """
    if not deltas:
        return
    # In the order of the key, so that two transactions never wait for each other.
    rows = sorted(deltas.items(), key=lambda pair: pair[0])
    keys = [key for key, _ in rows]
    sums = [found for _, found in rows]
    columns = [
        [ids.new_id() for _ in rows],
        [s.tenant_id for s in sums],
        [k.customer_id for k in keys],
        [k.hour for k in keys],
        [None if k.product_id == NOBODY else k.product_id for k in keys],
        [None if k.agent_id == NOBODY else k.agent_id for k in keys],
        [None if k.team_id == NOBODY else k.team_id for k in keys],
        [k.event_type for k in keys],
        [k.model for k in keys],
        [k.provider for k in keys],
        [k.tool_name for k in keys],
        [k.currency for k in keys],
        [s.events for s in sums],
        [s.errors for s in sums],
        [s.input_tokens for s in sums],
        [s.output_tokens for s in sums],
        [s.cache_read_tokens for s in sums],
        [s.duration_ms for s in sums],
        [s.rated for s in sums],
        [s.revenue for s in sums],
        [s.cost for s in sums],
        [s.unknown for s in sums],
        [_json(s.more).decode() for s in sums],
    ]
    with sql.cursor() as cursor:
        cursor.execute(UPSERT, [clock.now(), *columns])
    agent_totals.add_costs(
        [
            agent_totals.Cost(
                s.tenant_id,
                k.customer_id,
                k.hour,
                None if k.agent_id == NOBODY else k.agent_id,
                k.currency,
                s.cost,
                s.unknown,
            )
            for k, s in rows
        ]
    )
