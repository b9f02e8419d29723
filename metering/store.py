"""Events into Postgres: one transaction a request, each event once for ever."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolTimeout

from aforo.lib import ids
from aforo.lib.crash import crashpoint
from aforo.lib.errors import AforoError
from metering import queue
from metering.identity import Event
from metering.pool import Connection, transaction

TRIES_MAX = 5
BACKOFF_S = 0.02


class Stored(NamedTuple):
    """What the table holds under an event id."""

    id: UUID
    body_hash: bytes
    received_at: dt.datetime
    flags: list[str]


COLUMNS = {
    "id": "uuid",
    "event_id": "text",
    "body_hash": "bytea",
    "customer_id": "uuid",
    "credential_id": "uuid",
    "agent_id": "uuid",
    "team_id": "uuid",
    "product_id": "uuid",
    "event_type": "text",
    "tool_name": "text",
    "status": "text",
    "request_id": "text",
    "correlation_id": "text",
    "session_key": "text",
    "occurred_at": "timestamptz",
    "flags": "text",
    "body": "text",
}
# What is stored of a column that does not come as it is kept.
EXPRESSIONS = {"flags": "string_to_array(flags, ',')", "body": "body::jsonb"}
# Rows come sorted by event id: two requests with the same events wait for each other
# in one order and cannot deadlock. The queue row is written by the same statement.
INSERT = f"""
WITH fresh AS (
  INSERT INTO metering_usageevent (tenant_id, received_at, {", ".join(COLUMNS)})
  SELECT %(tenant)b::uuid, %(received_at)b::timestamptz,
    {", ".join(EXPRESSIONS.get(name, name) for name in COLUMNS)}
  FROM unnest({", ".join(f"%({name})b::{kind}[]" for name, kind in COLUMNS.items())})
    AS given ({", ".join(COLUMNS)})
  ON CONFLICT (tenant_id, event_id) DO NOTHING
  RETURNING id, customer_id
), queued AS (
  INSERT INTO metering_pendingevents
    (id, tenant_id, shard, customer_ids, event_ids, received_at, attempts)
  SELECT (%(queue_ids)b::uuid[])[shard + 1], %(tenant)b::uuid, shard, customers, ids,
    %(received_at)b::timestamptz, 0
  FROM (SELECT shard, array_agg(id ORDER BY id) AS ids,
          array_agg(DISTINCT customer_id) AS customers
        FROM fresh JOIN unnest(%(customers)b::uuid[], %(shards)b::smallint[])
          AS dealt (customer_id, shard) USING (customer_id)
        GROUP BY shard) brought
)
SELECT id FROM fresh
"""  # noqa: S608 - of our own names
KNOWN = """
SELECT event_id, id, body_hash, received_at, flags FROM metering_usageevent
WHERE tenant_id = %b AND event_id = ANY(%b)
"""
CONFLICT = """
INSERT INTO metering_eventconflict
  (id, created_at, tenant_id, event_id, first_event_id, body_hash, attempts, last_at)
SELECT id, %(now)b::timestamptz, %(tenant)b::uuid, event_id, first_event_id, body_hash,
  attempts, %(now)b::timestamptz
FROM unnest(%(ids)b::uuid[], %(event_ids)b::text[], %(firsts)b::uuid[],
  %(hashes)b::bytea[], %(attempts)b::int[])
  AS given (id, event_id, first_event_id, body_hash, attempts)
ON CONFLICT (first_event_id, body_hash) DO UPDATE
  SET attempts = metering_eventconflict.attempts + excluded.attempts,
    last_at = excluded.last_at
"""
SESSIONS = """
SELECT given.customer_id, given.key, s.agent_id
FROM unnest(%b::uuid[], %b::text[]) AS given (customer_id, key)
-- One by one: a join might read the sessions of all time.
CROSS JOIN LATERAL (SELECT agent_id FROM metering_session
  WHERE customer_id = given.customer_id AND key = given.key LIMIT 1) AS s
WHERE s.agent_id IS NOT NULL
"""


# Whose a session is never changes, so it is read once.
_owners: dict[tuple[UUID, str], UUID] = {}
OWNERS_MAX = 50_000


async def foreign_sessions(
    connection: Connection, events: Sequence[Event]
) -> set[UUID]:
    """Return the ids of events that name the session of another agent."""
    held = [e for e in events if e.session_key and e.agent_id is not None]
    keys = {(e.customer_id, e.session_key) for e in held}
    # A difference with the keys of a dictionary would go through all of them.
    unknown = sorted(key for key in keys if key not in _owners)
    if unknown:
        columns = [[customer for customer, _ in unknown], [key for _, key in unknown]]
        cursor = await connection.execute(SESSIONS, columns)
        if len(_owners) > OWNERS_MAX:
            _owners.clear()
        for customer_id, key, agent_id in await cursor.fetchall():
            _owners[customer_id, key] = agent_id
    return {
        e.id
        for e in held
        if _owners.get((e.customer_id, e.session_key), e.agent_id) != e.agent_id
    }


async def insert(
    connection: Connection, tenant_id: UUID, events: Sequence[Event]
) -> dict[str, Stored]:
    """Store events (of different ids) and return what the table holds for each.

    An event that was there before keeps its row: its Stored has another id.
    """
    rows = sorted(events, key=lambda e: e.event_id)
    values: dict[str, Any] = {
        name: [getattr(row, name) for row in rows] for name in COLUMNS
    }
    values["flags"] = [",".join(row.flags) for row in rows]
    customers = list({row.customer_id for row in rows})
    values |= {
        "tenant": tenant_id,
        "received_at": rows[0].received_at,
        "customers": customers,
        "shards": [queue.shard_of(key) for key in customers],
        "queue_ids": [ids.new_id() for _ in range(queue.SHARDS)],
    }
    cursor = await connection.execute(INSERT, values)
    fresh = {key for (key,) in await cursor.fetchall()}
    stored = {
        row.event_id: Stored(row.id, row.body_hash, row.received_at, row.flags)
        for row in rows
        if row.id in fresh
    }
    if len(stored) < len(rows):
        missing = [row.event_id for row in rows if row.id not in fresh]
        cursor = await connection.execute(KNOWN, [tenant_id, missing])
        for event_id, key, body_hash, received_at, flags in await cursor.fetchall():
            stored[event_id] = Stored(key, bytes(body_hash), received_at, flags)
    return stored


async def record_conflicts(
    connection: Connection,
    tenant_id: UUID,
    conflicts: Sequence[tuple[Event, Stored]],
) -> None:
    """Keep the attempts to send another body under a known id, to be seen."""
    counted: dict[tuple[UUID, bytes], tuple[str, int]] = {}
    for event, first in conflicts:
        key = (first.id, event.body_hash)
        counted[key] = event.event_id, counted.get(key, ("", 0))[1] + 1
    ordered = sorted(counted.items())
    values = {
        "tenant": tenant_id,
        "now": conflicts[0][0].received_at,
        "ids": [ids.new_id() for _ in ordered],
        "event_ids": [event_id for _, (event_id, _) in ordered],
        "firsts": [first for (first, _), _ in ordered],
        "hashes": [body_hash for (_, body_hash), _ in ordered],
        "attempts": [count for _, (_, count) in ordered],
    }
    await connection.execute(CONFLICT, values)


Work = Callable[[Connection], Awaitable[Any]]


async def run(tenant_id: UUID, work: Work) -> Any:
    """Run the work in one transaction that is durable when this returns.

    Tried again after a deadlock and after a lost connection: every write is held by
    a unique key, so a try whose end is unknown has no second effect. Raises
    AforoError: 409 in_flight, 503 store_unavailable.
    """
    lost = False
    for attempt in range(TRIES_MAX):
        try:
            async with transaction(tenant_id) as connection:
                result = await work(connection)
                crashpoint("ingest.in_txn")
            crashpoint("ingest.committed")
            return result
        except (pg.DeadlockDetected, pg.SerializationFailure):
            await asyncio.sleep(BACKOFF_S * 2**attempt * random.random())
        except pg.LockNotAvailable as error:
            raise AforoError(
                "in_flight", 409, "the same event is on its way", retry_after=1
            ) from error
        except psycopg.OperationalError as error:
            if lost or isinstance(error, PoolTimeout | pg.QueryCanceled):
                raise unavailable() from error
            lost = True
    raise unavailable()


def unavailable() -> AforoError:
    """Return the refusal while nothing can be stored."""
    return AforoError(
        "store_unavailable", 503, "nothing was stored; send it again", retry_after=1
    )
