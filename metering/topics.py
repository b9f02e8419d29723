"""What the topics are called, and the messages on them.

A transaction on a customer's books puts messages on its outbox under a topic's key;
the relay publishes them to the stream of that topic.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from aforo.lib import sql
from aforo.lib.money import plain
from billing.books import Posting
from metering.batch import Item

USAGE = "usage"
SESSIONS = "sessions"
COSTS = "costs"


class Topic(NamedTuple):
    """A stream, the member of its entries that holds the messages, and its length."""

    stream: str
    member: str
    # What a stream keeps; consumers that fall further behind read Postgres. An entry
    # can tell of two thousand events and take most of a megabyte of memory.
    length_max: int


TOPICS = {
    USAGE: Topic("aforo.usage.events", "events", 2_000),
    SESSIONS: Topic("aforo.mcp.sessions", "sessions", 2_000),
    COSTS: Topic("aforo.cost-of-goods-sold", "costs", 1_000),
}
CLOSED = frozenset({"completed", "failed", "expired"})

SUMMARY = """
SELECT id, customer_id, key, agent_id, team_id, product_id, state, started_at,
  last_event_at, ended_at, event_count, tool_invocation_count, error_count,
  input_tokens, output_tokens, total_duration_ms, currency, price, cost,
  cost_unknown_count
FROM metering_session WHERE id = ANY(%b) ORDER BY id
"""


class Summary(NamedTuple):
    """A session as it stands."""

    id: uuid.UUID
    customer_id: uuid.UUID
    key: str
    agent_id: uuid.UUID | None
    team_id: uuid.UUID | None
    product_id: uuid.UUID | None
    state: str
    started_at: Any
    last_event_at: Any
    ended_at: Any
    event_count: int
    tool_invocation_count: int
    error_count: int
    input_tokens: int
    output_tokens: int
    total_duration_ms: int
    currency: str
    price: Any
    cost: Any
    cost_unknown_count: int


def tell_sessions(
    postings: Mapping[uuid.UUID, Posting], before: Mapping[uuid.UUID, str | None]
) -> None:
    """Put sessions on the outbox as they stand, by id with the state before.

    None: it is new; empty: the state has not changed.

    The books of their customers are locked, so that messages of one session are in
    the order of its changes.
    """
    if not before:
        return
    with sql.cursor() as cursor:
        rows = cursor.execute(SUMMARY, [list(before)]).fetchall()
    for row in rows:
        summary = Summary(*row)
        message = _session(summary, before[summary.id])
        postings[summary.customer_id].outbox(SESSIONS, message)


def _session(row: Summary, before: str | None) -> dict[str, Any]:
    """Return the message of a session; see tell_sessions()."""
    tools = row.tool_invocation_count
    return {
        "session_id": row.id.hex,
        "key": row.key,
        "customer_id": row.customer_id.hex,
        "agent_id": _hex(row.agent_id),
        "team_id": _hex(row.team_id),
        "product_id": _hex(row.product_id),
        "state": row.state,
        "previous_state": row.state if before == "" else before,
        "closed": row.state in CLOSED,
        "started_at": row.started_at.isoformat(),
        "last_event_at": row.last_event_at.isoformat(),
        "ended_at": row.ended_at.isoformat() if row.ended_at else None,
        "event_count": row.event_count,
        "tool_invocation_count": tools,
        "error_count": row.error_count,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "total_tokens": row.input_tokens + row.output_tokens,
        "total_duration_ms": row.total_duration_ms,
        "avg_tool_duration_ms": row.total_duration_ms // tools if tools else None,
        "currency": row.currency,
        "price": plain(row.price),
        "cost": plain(row.cost),
        # Events whose cost is not known are not in `cost`.
        "cost_unknown_count": row.cost_unknown_count,
    }


def tell_cost(
    posting: Posting, item: Item, *, kind: str, currency: str, amount: Decimal | None
) -> None:
    """Put an event's cost fact on the outbox; an unknown amount is null, never 0.

    A `delta` is what is added to the facts before it.
    """
    row, cost, reported = item.row, item.cost, item.reported_cost
    posting.outbox(
        COSTS,
        {
            "event": row.id.hex,
            "kind": kind,
            "provider": cost.provider,
            "model": item.body.properties.get("model", ""),
            "currency": currency,
            "amount": None if amount is None else plain(amount),
            "unknown": cost.unknown,
            "reported": None if reported is None else plain(reported),
            "occurred_at": row.occurred_at.isoformat(),
        },
    )


def _hex(key: uuid.UUID | None) -> str | None:
    return key.hex if key else None
