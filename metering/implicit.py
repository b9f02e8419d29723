"""Sessions of calls that name none: one credential's work without a long pause.

Where a product wants it (Product.implicit_sessions), a tool event without any id of a
session joins the session that its credential is running for the product, if less than
the product's idle time lies between them, and begins a new one otherwise. The key is
decided once, as the event is stored, and never again: rating and replays read it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from aforo.lib import ids
from metering.pool import Connection

if TYPE_CHECKING:
    from metering.directory import Book
    from metering.identity import Event, Party
    from metering.shapes import Draft

PREFIX = "implicit:"
TOOL_INVOKED = "mcp.tool_invoked"


class Scope(NamedTuple):
    """Whose sessions they are; one runs at a time, whatever the agent does besides."""

    customer_id: UUID
    credential_id: UUID
    product_id: UUID
    idle_s: int

    @property
    def name(self) -> str:
        """What is locked while its sessions are looked at."""
        return f"{PREFIX}{self.credential_id}:{self.product_id}"


@dataclass(slots=True)
class Window:
    """A session's key, and its first and last event so far."""

    id: UUID
    started_at: dt.datetime
    last_at: dt.datetime
    ended_at: dt.datetime | None = None  # When somebody said that it is over.

    @property
    def key(self) -> str:
        """The session's key, as its events carry it."""
        return f"{PREFIX}{ids.base32(self.id.bytes)}"


def scope(
    draft: Draft, party: Party, product_id: UUID | None, book: Book
) -> Scope | None:
    """Return where an event's session is looked for; None when it names its own.

    Only calls of tools with a credential, of a product that wants it; a product that
    is not named must be the customer's only one.
    """
    if draft.event_type != TOOL_INVOKED or party.credential is None:
        return None
    if draft.session_key or draft.shared_session:
        return None
    only = party.customer.product_ids
    if product_id is None and len(only) == 1 and "product" not in draft.names:
        product_id = only[0]
    if product_id is None:
        return None
    product = book.catalog.products.get(ids.public("prd", product_id))
    if product is None or product.implicit_idle_s is None:
        return None
    return Scope(
        party.customer.id, party.credential.id, product.id, product.implicit_idle_s
    )


# Sorted by name, so that two requests wait for each other in one order.
LOCK = """
SELECT pg_advisory_xact_lock(hashtextextended(name, 0))
FROM unnest(%b::text[]) AS given (name)
"""
KNOWN = """
SELECT event_id FROM metering_usageevent WHERE tenant_id = %b AND event_id = ANY(%b)
"""
WINDOWS = """
SELECT w.credential_id, w.product_id, w.id, w.started_at, w.last_at, s.ended_at
FROM unnest(%b::uuid[], %b::uuid[], %b::timestamptz[], %b::timestamptz[])
  AS given (credential_id, product_id, since, until)
JOIN metering_implicitsession w ON w.credential_id = given.credential_id
  AND w.product_id = given.product_id
  AND w.last_at > given.since AND w.started_at < given.until
LEFT JOIN metering_session s ON s.customer_id = w.customer_id AND s.key = w.key
  AND s.state IN ('completed', 'failed')
"""
KEEP = """
INSERT INTO metering_implicitsession AS w (
  id, created_at, tenant_id, customer_id, credential_id, product_id, key, started_at,
  last_at)
SELECT id, %b::timestamptz, %b::uuid, customer_id, credential_id, product_id, key,
  started_at, last_at
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[],
  %b::timestamptz[], %b::timestamptz[])
  AS given (id, customer_id, credential_id, product_id, key, started_at, last_at)
ON CONFLICT (id) DO UPDATE SET
  started_at = excluded.started_at, last_at = excluded.last_at
"""


async def assign(
    connection: Connection, tenant_id: UUID, events: Sequence[Event]
) -> None:
    """Give a request's events their implicit sessions; four statements, or none.

    In the transaction that stores them, before they are stored. A lock for each scope
    holds until its end, so whoever comes next sees these events' sessions. Events that
    are stored already keep what they have and move nothing.
    """
    waiting = [event for event in events if event.implicit is not None]
    if not waiting:
        return
    scopes = sorted({e.implicit for e in waiting if e.implicit}, key=lambda s: s.name)
    await connection.execute(LOCK, [[one.name for one in scopes]])
    asked = [tenant_id, [event.event_id for event in waiting]]
    known = {
        row[0] for row in await (await connection.execute(KNOWN, asked)).fetchall()
    }
    fresh: dict[Scope, list[Event]] = {}
    for event in waiting:
        if event.implicit and event.event_id not in known:
            fresh.setdefault(event.implicit, []).append(event)
    if not fresh:
        return
    windows = await _read(connection, fresh)
    moved = [
        (one, window)
        for one, own in fresh.items()
        for window in place(own, windows[one], dt.timedelta(seconds=one.idle_s))
    ]
    moved.sort(key=lambda pair: pair[1].id)
    columns = [
        [window.id for _, window in moved],
        [one.customer_id for one, _ in moved],
        [one.credential_id for one, _ in moved],
        [one.product_id for one, _ in moved],
        [window.key for _, window in moved],
        [window.started_at for _, window in moved],
        [window.last_at for _, window in moved],
    ]
    await connection.execute(KEEP, [waiting[0].received_at, tenant_id, *columns])


async def _read(
    connection: Connection, fresh: dict[Scope, list[Event]]
) -> dict[Scope, list[Window]]:
    """Return the scopes' sessions near the events; one statement."""
    idle = {one: dt.timedelta(seconds=one.idle_s) for one in fresh}
    times = {one: [event.occurred_at for event in own] for one, own in fresh.items()}
    columns = [
        [one.credential_id for one in fresh],
        [one.product_id for one in fresh],
        [min(times[one]) - idle[one] for one in fresh],
        [max(times[one]) + idle[one] for one in fresh],
    ]
    by_ids = {(one.credential_id, one.product_id): one for one in fresh}
    found: dict[Scope, list[Window]] = {one: [] for one in fresh}
    cursor = await connection.execute(WINDOWS, columns)
    for credential_id, product_id, *window in await cursor.fetchall():
        found[by_ids[credential_id, product_id]].append(Window(*window))
    return found


def place(
    events: Sequence[Event], windows: list[Window], idle: dt.timedelta
) -> list[Window]:
    """Give one scope's events their session keys; return the sessions that moved.

    In the order of their time, whatever the order in which they came. An event joins
    the session that was running then; failing that, it goes before the one that began
    within the idle time after it. Two sessions never become one.
    """
    moved: dict[UUID, Window] = {}
    for event in sorted(events, key=lambda e: (e.occurred_at, e.event_id)):
        at = event.occurred_at
        window = _running(windows, at, idle) or _following(windows, at, idle)
        if window is None:
            window = Window(ids.new_id(), at, at)
            windows.append(window)
        window.started_at = min(window.started_at, at)
        window.last_at = max(window.last_at, at)
        moved[window.id] = window
        event.session_key = window.key
    return list(moved.values())


def _running(
    windows: Sequence[Window], at: dt.datetime, idle: dt.timedelta
) -> Window | None:
    """Return the session that began last before an instant, if it was running then."""
    begun = [
        window
        for window in windows
        if window.started_at <= at < window.last_at + idle
        and (window.ended_at is None or at < window.ended_at)
    ]
    return max(begun, key=lambda w: (w.started_at, w.id), default=None)


def _following(
    windows: Sequence[Window], at: dt.datetime, idle: dt.timedelta
) -> Window | None:
    """Return the session that began within the idle time after an instant."""
    later = [w for w in windows if at < w.started_at < at + idle]
    return min(later, key=lambda w: (w.started_at, w.id), default=None)
