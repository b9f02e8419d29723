"""Sessions: made by their first event, counted while they run, expired by beat."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction

from aforo.lib import clock, ids, sql
from aforo.lib.money import ZERO
from billing import books
from billing.books import Posting
from metering import topics
from metering.batch import Item, Row
from metering.models import Session

# Events that say what became of their session.
ENDINGS = {
    "session.completed": Session.State.COMPLETED,
    "session.failed": Session.State.FAILED,
    "session.paused": Session.State.PAUSED,
    "session.resumed": Session.State.ACTIVE,
}
ERRORS = frozenset({"FAILED", "TIMEOUT", "RATE_LIMITED"})
TOOL_EVENT = "mcp.tool_invoked"

# A session that has ended stays ended; events that come later are only attached.
ENDED = frozenset({Session.State.COMPLETED, Session.State.FAILED})

NOBODY = uuid.UUID(int=0)  # An array is never empty: it has to have a type.

Key = tuple[uuid.UUID, str]  # Customer id and session key.


def identify(rows: Iterable[Row]) -> dict[Key, uuid.UUID]:
    """Return the session ids of the events' keys: those known, and new ones."""
    found: dict[Key, uuid.UUID] = {}
    for row in rows:
        if row.session_key:
            key = row.customer_id, row.session_key
            found[key] = row.session_id or found.get(key) or ids.new_id()
    return found


@dataclass(slots=True)
class Delta:
    """What a batch adds to one session."""

    item: Item  # Its first event: agent, team, product.
    started_at: dt.datetime
    last_event_at: dt.datetime
    last_received_at: dt.datetime
    state: str = Session.State.ACTIVE
    said: bool = False  # Whether an event says what became of it.
    ended_at: dt.datetime | None = None
    events: int = 0
    tools: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    duration_ms: int = 0
    price: Decimal = ZERO
    cost: Decimal = ZERO
    unknown: int = 0

    def add(self, item: Item) -> None:
        """Count one event."""
        self.price += item.amount
        if item.replayed:
            # All but its price was counted when it came, as far as it was read.
            if item.usage_found:
                self._add_usage(item)
            return
        row = item.row
        self.started_at = min(self.started_at, row.occurred_at)
        self.last_event_at = max(self.last_event_at, row.occurred_at)
        self.last_received_at = max(self.last_received_at, row.received_at)
        self.events += 1
        self.tools += row.event_type == TOOL_EVENT
        self.errors += row.status in ERRORS
        self._add_usage(item)
        if item.cost_amount is None:
            self.unknown += 1
        else:
            self.cost += item.cost_amount
        ending = ENDINGS.get(row.event_type)
        if ending is not None and self.state not in ENDED:
            self.state = ending
            self.ended_at = row.occurred_at if ending in ENDED else None
            self.said = True

    def _add_usage(self, item: Item) -> None:
        """Add what one event measured."""
        get = item.measurements.get
        self.input_tokens += int(get("input_tokens", ZERO))
        self.output_tokens += int(get("output_tokens", ZERO))
        self.duration_ms += int(get("tool_duration_ms", ZERO) + get("latency_ms", ZERO))


def standing(
    said: Iterable[tuple[str, dt.datetime]],
) -> tuple[str, dt.datetime | None]:
    """Return the state that a session's own events leave it in, and when it ended.

    `said` are its events of ENDINGS with their times, in the order of storing: the
    first end holds, before it the last word.
    """
    state, ended_at = Session.State.ACTIVE, None
    for event_type, at in said:
        state = ENDINGS[event_type]
        if state in ENDED:
            ended_at = at
            break
    return state, ended_at


UPSERT = """
INSERT INTO metering_session AS s (
  id, created_at, tenant_id, customer_id, key, agent_id, team_id, product_id, state,
  started_at, last_event_at, last_received_at, ended_at, event_count,
  tool_invocation_count, error_count, input_tokens, output_tokens, total_duration_ms,
  currency, price, cost, cost_unknown_count)
SELECT r.id, %b, r.tenant_id, r.customer_id, r.key, r.agent_id, r.team_id, r.product_id,
  r.state, r.started_at, r.last_event_at, r.last_received_at, r.ended_at, r.events,
  r.tools, r.errors, r.input_tokens, r.output_tokens, r.duration_ms, r.currency,
  r.price, r.cost, r.unknown
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::uuid[], %b::uuid[],
  %b::uuid[], %b::text[], %b::timestamptz[], %b::timestamptz[], %b::timestamptz[],
  %b::timestamptz[], %b::int[], %b::int[], %b::int[], %b::bigint[], %b::bigint[],
  %b::bigint[], %b::text[], %b::numeric[], %b::numeric[], %b::int[])
  AS r (id, tenant_id, customer_id, key, agent_id, team_id, product_id, state,
    started_at, last_event_at, last_received_at, ended_at, events, tools, errors,
    input_tokens, output_tokens, duration_ms, currency, price, cost, unknown)
ON CONFLICT (customer_id, key) DO UPDATE SET
  -- An end that was said holds, and a pause until somebody says otherwise. What had
  -- only expired goes on with its next event.
  state = CASE WHEN s.state IN ('completed', 'failed') OR excluded.event_count = 0
                 OR (s.state = 'paused' AND excluded.state = 'active'
                   AND s.id <> ALL (%b::uuid[]))
               THEN s.state ELSE excluded.state END,
  ended_at = CASE WHEN s.state IN ('completed', 'failed') OR excluded.event_count = 0
               THEN s.ended_at ELSE excluded.ended_at END,
  -- A session whose events were all voided begins with the next one.
  started_at = CASE WHEN s.event_count = 0 AND excluded.event_count > 0
    THEN excluded.started_at ELSE LEAST(s.started_at, excluded.started_at) END,
  last_event_at = CASE WHEN s.event_count = 0 AND excluded.event_count > 0
    THEN excluded.last_event_at
    ELSE GREATEST(s.last_event_at, excluded.last_event_at) END,
  last_received_at = GREATEST(s.last_received_at, excluded.last_received_at),
  event_count = s.event_count + excluded.event_count,
  tool_invocation_count = s.tool_invocation_count + excluded.tool_invocation_count,
  error_count = s.error_count + excluded.error_count,
  input_tokens = s.input_tokens + excluded.input_tokens,
  output_tokens = s.output_tokens + excluded.output_tokens,
  total_duration_ms = s.total_duration_ms + excluded.total_duration_ms,
  price = s.price + excluded.price,
  cost = s.cost + excluded.cost,
  cost_unknown_count = s.cost_unknown_count + excluded.cost_unknown_count
RETURNING s.id, old.state, s.state
"""


def save(items: Sequence[Item], postings: Mapping[uuid.UUID, Posting]) -> None:
    """Add a batch's events to their sessions; the caller holds the books' locks.

    An event that arrives after its session ended is attached and leaves it ended.
    What has changed its state, or is closed and has new figures, is told of.
    """
    deltas: dict[tuple[uuid.UUID, str, uuid.UUID], Delta] = {}
    for item in items:
        if item.session_id is None:
            continue
        row = item.row
        key = (row.customer_id, row.session_key, item.session_id)
        delta = deltas.get(key)
        if delta is None:
            delta = deltas[key] = Delta(
                item, row.occurred_at, row.occurred_at, row.received_at
            )
        delta.add(item)
    if not deltas:
        return
    rows = sorted(deltas.items(), key=lambda pair: pair[0][:2])
    heads = [key for key, _ in rows]
    sums = [delta for _, delta in rows]
    columns = [
        [h[2] for h in heads],
        [d.item.row.tenant_id for d in sums],
        [h[0] for h in heads],
        [h[1] for h in heads],
        [d.item.row.agent_id for d in sums],
        [d.item.row.team_id for d in sums],
        [d.item.row.product_id for d in sums],
        [str(d.state) for d in sums],
        [d.started_at for d in sums],
        [d.last_event_at for d in sums],
        [d.last_received_at for d in sums],
        [d.ended_at for d in sums],
        [d.events for d in sums],
        [d.tools for d in sums],
        [d.errors for d in sums],
        [d.input_tokens for d in sums],
        [d.output_tokens for d in sums],
        [d.duration_ms for d in sums],
        [d.item.currency for d in sums],
        [d.price for d in sums],
        [d.cost for d in sums],
        [d.unknown for d in sums],
    ]
    with sql.cursor() as cursor:
        said = [h[2] for h, d in rows if d.said] or [NOBODY]
        saved = cursor.execute(UPSERT, [clock.now(), *columns, said]).fetchall()
    save_cost_changes(items)
    topics.tell_sessions(
        postings,
        {
            session: before
            for session, before, state in saved
            if before != state or state in topics.CLOSED
        },
    )


FOUND_COSTS = """
UPDATE metering_session s
SET cost = s.cost + r.cost, cost_unknown_count = s.cost_unknown_count - r.events
FROM unnest(%b::uuid[], %b::numeric[], %b::int[]) AS r (id, cost, events)
WHERE s.id = r.id
"""


def save_cost_changes(items: Sequence[Item]) -> None:
    """Add what changed of costs that sessions had counted, also as unknown."""
    found: dict[uuid.UUID, tuple[Decimal, int]] = {}
    for item in items:
        if item.session_id and item.cost_change is not None:
            cost, known = found.get(item.session_id, (ZERO, 0))
            found[item.session_id] = cost + item.cost_change, known + item.cost_found
    if found:
        columns = [
            list(found),
            [cost for cost, _ in found.values()],
            [known for _, known in found.values()],
        ]
        with sql.cursor() as cursor:
            cursor.execute(FOUND_COSTS, columns)


EXPIRE_MAX = 1_000  # At a time.
DUE = """
FROM metering_session o
LEFT JOIN catalog_product p ON p.id = o.product_id
WHERE o.state IN ('active', 'idle')
  AND o.last_received_at <= %(now)s - make_interval(secs => CASE o.state
    WHEN 'idle' THEN COALESCE(p.session_expire_s, 3600)
    ELSE COALESCE(p.session_idle_s, 600) END)
"""
CUSTOMERS = f"""
SELECT DISTINCT customer_id FROM (
  SELECT o.customer_id {DUE} ORDER BY o.id LIMIT %(most)s) AS due
"""  # noqa: S608 - of our own text
EXPIRE = f"""
UPDATE metering_session s SET
  state = CASE WHEN s.last_received_at <= %(now)s - make_interval(secs => COALESCE(
      (SELECT p.session_expire_s FROM catalog_product p WHERE p.id = s.product_id),
      3600)) THEN 'expired' ELSE 'idle' END,
  ended_at = CASE WHEN s.last_received_at <= %(now)s - make_interval(secs => COALESCE(
      (SELECT p.session_expire_s FROM catalog_product p WHERE p.id = s.product_id),
      3600)) THEN s.last_event_at ELSE NULL END
WHERE s.id IN (
  SELECT o.id {DUE} AND o.customer_id = ANY(%(customers)s)
  ORDER BY o.id LIMIT %(most)s FOR UPDATE OF o SKIP LOCKED)
RETURNING s.id, old.state
"""  # noqa: S608 - of our own text


def expire(now: dt.datetime) -> int:
    """Mark sessions idle or expired by their product's intervals; return how many.

    Under the locks of their customers' books, so that what is told of a session is in
    the order of its changes. Customers whose books are busy, and sessions that another
    worker looks at, are left for the next time.
    """
    count = 0
    while found := _expire_some(now):
        count += found
        if found < EXPIRE_MAX:
            break
    return count


@transaction.atomic
def _expire_some(now: dt.datetime) -> int:
    """Mark the sessions that are due, as many as one transaction takes."""
    with sql.cursor() as cursor:
        asked: dict[str, object] = {"now": now, "most": EXPIRE_MAX}
        due = [row[0] for row in cursor.execute(CUSTOMERS, asked).fetchall()]
        postings = {p.customer_id: p for p in books.lock(due, wait=False)}
        if not postings:
            return 0
        asked["customers"] = list(postings)
        changed = cursor.execute(EXPIRE, asked).fetchall()
    topics.tell_sessions(postings, dict(changed))
    books.write(list(postings.values()))
    return len(changed)
