"""The queue of events that are stored and not rated yet.

A request may bring events of a hundred customers. A row for each of them cost more than
rating did, and one row for all would let no second worker help. So the customers are
dealt out to a few shards by their ids, and a request leaves a row for each shard.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Sequence
from typing import NamedTuple

from aforo.lib import sql
from metering.models import PendingEvents

# So many workers can rate at once; more make more rows of a request.
SHARDS = 8


def shard_of(customer_id: uuid.UUID) -> int:
    """Return the shard of a customer: of the random end of its id."""
    return customer_id.int % SHARDS


def pending_before(
    customer_ids: Collection[uuid.UUID], instant: dt.datetime
) -> set[uuid.UUID]:
    """Return those of the customers with events received before an instant, unrated."""
    wanted = set(customer_ids)
    rows = PendingEvents.objects.filter(
        received_at__lt=instant, customer_ids__overlap=list(wanted)
    )
    found = rows.values_list("customer_ids", flat=True)
    return wanted.intersection(key for own in found for key in own)


class QueuedEvent(NamedTuple):
    """An event of a queue row and its customer."""

    event_id: uuid.UUID
    customer_id: uuid.UUID


def events_of(row_id: uuid.UUID) -> list[QueuedEvent]:
    """Return the events of a queue row as they were stored, none when it is gone."""
    with sql.cursor() as cursor:
        rows = cursor.execute(
            "SELECT e.id, e.customer_id FROM metering_pendingevents p"
            " CROSS JOIN unnest(p.event_ids) AS t (event_id)"
            " JOIN metering_usageevent e ON e.id = t.event_id"
            " WHERE p.id = %b ORDER BY e.id",
            [row_id],
        ).fetchall()
    return [QueuedEvent(*row) for row in rows]


def holds(row_id: uuid.UUID, event_id: uuid.UUID) -> bool:
    """Tell whether an event waits in a queue row; sure under its books' lock."""
    with sql.cursor() as cursor:
        row = cursor.execute(
            "SELECT %b = ANY(event_ids) FROM metering_pendingevents WHERE id = %b",
            [event_id, row_id],
        ).fetchone()
    return row is not None and bool(row[0])


def drop(row_ids: Sequence[uuid.UUID]) -> None:
    """Take rows off the queue: all their events are rated."""
    with sql.cursor() as cursor:
        cursor.execute(
            "DELETE FROM metering_pendingevents WHERE id = ANY(%b)", [list(row_ids)]
        )


# Two workers may each rate a part of a row: what is kept is worked out on the row as it
# is when its lock comes free.
DROP_PART = """
UPDATE metering_pendingevents SET attempts = 0,
  event_ids = ARRAY(SELECT id FROM unnest(event_ids) WITH ORDINALITY AS t (id, place)
    WHERE id <> ALL(%(events)b::uuid[]) ORDER BY place),
  customer_ids = ARRAY(SELECT id FROM unnest(customer_ids) AS t (id)
    WHERE id <> ALL(%(customers)b::uuid[]))
WHERE id = ANY(%(rows)b::uuid[])
"""
DROP_EMPTY = """
DELETE FROM metering_pendingevents
WHERE id = ANY(%b) AND cardinality(event_ids) = 0
"""


def drop_part(
    row_ids: Sequence[uuid.UUID],
    *,
    events: Sequence[uuid.UUID],
    customers: Collection[uuid.UUID],
) -> None:
    """Take customers, all of whose events are rated, off rows that others stay in."""
    if not row_ids:
        return
    rows = sorted(row_ids)
    given = {"rows": rows, "events": list(events), "customers": list(customers)}
    with sql.cursor() as cursor:
        cursor.execute(DROP_PART, given)
        cursor.execute(DROP_EMPTY, [rows])


DROP_EVENT = """
UPDATE metering_pendingevents SET attempts = COALESCE(%(attempts)b::smallint, attempts),
  event_ids = array_remove(event_ids, %(event)b),
  customer_ids = ARRAY(SELECT DISTINCT customer_id FROM metering_usageevent
    WHERE id = ANY(event_ids) AND id <> %(event)b)
WHERE id = %(row)b
"""


def drop_event(
    row_id: uuid.UUID, event_id: uuid.UUID, *, attempts: int | None = None
) -> None:
    """Take one event off its queue row, and the row when it was the last."""
    given = {"row": row_id, "event": event_id, "attempts": attempts}
    with sql.cursor() as cursor:
        cursor.execute(DROP_EVENT, given)
        cursor.execute(DROP_EMPTY, [[row_id]])


def drop_voided(customer_id: uuid.UUID, event_id: uuid.UUID) -> None:
    """Take an event off the queue, wherever it is; its customer's books are locked."""
    with sql.cursor() as cursor:
        rows = cursor.execute(
            "SELECT id FROM metering_pendingevents"
            " WHERE customer_ids @> ARRAY[%b::uuid] AND %b = ANY(event_ids)",
            [customer_id, event_id],
        ).fetchall()
    for (row_id,) in rows:
        drop_event(row_id, event_id)
