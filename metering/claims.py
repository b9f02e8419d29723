"""Which pending events a worker takes next, so that several never wait for each other.

A claim takes the oldest rows of one shard (metering.queue), and of further shards only
while that makes too small a transaction: a second worker finds the others free. Most of
a transaction is spent on each customer, not on each event, so a long queue makes deep
transactions of few customers by itself.

A row that was tried before is taken alone: should the worker end again, nothing else is
blamed for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import NamedTuple

from django.db import transaction

from aforo.lib import sql
from aforo.lib.crash import crashpoint
from billing import books

# Bigger transactions cost less per event; this bounds their time to some 250 ms.
EVENTS_MAX = 2000
# With so many the cost of a transaction itself hardly counts.
EVENTS_ENOUGH = 1000
# How many of the oldest rows are looked at.
ROWS_MAX = 512
# A row that was tried so often is rated event by event …
CAREFUL_FROM = 3
# … and the event at which it then dies again and again is set aside.
GIVE_UP_FROM = 6


class Claim(NamedTuple):
    """One row of the queue, chosen and about to be tried."""

    id: uuid.UUID
    customer_ids: list[uuid.UUID]
    event_ids: list[uuid.UUID]
    attempts: int


class QueuedRow(NamedTuple):
    """A row of the queue as far as choosing reads it."""

    id: uuid.UUID
    shard: int
    size: int  # Events.
    attempts: int


QUEUE = f"""
SELECT id, shard, cardinality(event_ids), attempts
FROM metering_pendingevents WHERE NOT customer_ids <@ %b::uuid[]
ORDER BY id LIMIT {ROWS_MAX}
"""  # noqa: S608 - of our own number
OWNERS = "SELECT id, customer_ids FROM metering_pendingevents WHERE id = ANY(%b)"
ATTEMPT = """
UPDATE metering_pendingevents SET attempts = attempts + 1 WHERE id = ANY(%b)
RETURNING id, customer_ids, event_ids, attempts
"""


def take(*, without: Collection[uuid.UUID] = ()) -> list[Claim]:
    """Choose queue rows nobody else works on, and commit that they are being tried.

    Never those of which it must do without all customers. An empty list says that
    nothing is free.
    """
    busy = set(without)
    claimed: list[Claim] = []
    while not claimed:
        with transaction.atomic(), sql.cursor() as cursor:
            found = cursor.execute(QUEUE, [list(busy)], binary=True).fetchall()
            chosen = [row.id for row in choose([QueuedRow(*row) for row in found])]
            if not chosen:
                return []
            # Rows that another worker has finished meanwhile are in neither answer.
            owners = cursor.execute(OWNERS, [chosen], binary=True).fetchall()
            wanted = {key for _, customers in owners for key in customers} - busy
            mine = {p.customer_id for p in books.lock(wanted, wait=False)}
            if not mine:
                # The long queue of customers whom another has hides nobody else.
                busy |= wanted
                continue
            rows = sorted(key for key, who in owners if not mine.isdisjoint(who))
            cursor.execute(ATTEMPT, [rows], binary=True)
            claimed = sorted(Claim(*row) for row in cursor.fetchall())
    crashpoint("rate.claimed")
    return claimed


def choose(waiting: Sequence[QueuedRow]) -> list[QueuedRow]:
    """Return the rows that one transaction takes; `waiting` is in their order.

    At least one row, however big it is.
    """
    shards: dict[int, list[QueuedRow]] = {}
    for row in waiting:
        shards.setdefault(row.shard, []).append(row)
    chosen: list[QueuedRow] = []
    events = 0
    for rows in shards.values():
        if events >= EVENTS_ENOUGH:
            break
        for row in rows:
            if row.attempts >= CAREFUL_FROM - 1:
                if not chosen:
                    return [row]
                continue  # Its turn comes when it is the first.
            if chosen and events + row.size > EVENTS_MAX:
                break
            chosen.append(row)
            events += row.size
    return chosen
