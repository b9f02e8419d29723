"""Which pending events a worker takes next, so that several never wait for each other.

A hot customer is one queue and many customers are parallel: a claim takes whole
customers, the one that has waited longest first, until their events fill one
transaction. A second worker then finds other customers free.

Most of a transaction is spent on each customer, not on each event. So while more waits
than one transaction takes, it takes much of few customers, not a little of all.
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


class Claim(NamedTuple):
    """One row of the queue, chosen and about to be tried."""

    id: uuid.UUID
    customer_id: uuid.UUID
    attempts: int


class Waiting(NamedTuple):
    """The oldest queue rows of one customer, with how many events each holds."""

    customer_id: uuid.UUID
    row_ids: list[uuid.UUID]
    sizes: list[int]


# How many of the oldest rows are looked at; when so many wait, a claim goes deep:
# so many customers, so many rows of each.
ROWS_MAX = 1024
DEEP_CUSTOMERS = 40
DEEP_ROWS = 400

# Without the ids of the events: they are read once, by the transaction that rates.
QUEUE = f"""
SELECT customer_id, array_agg(id ORDER BY id), array_agg(size ORDER BY id)
FROM (
  SELECT id, customer_id, cardinality(event_ids) AS size
  FROM metering_pendingevents
  WHERE (%b::uuid[] IS NULL OR customer_id = ANY(%b)) AND customer_id <> ALL(%b)
  ORDER BY id LIMIT {ROWS_MAX}
) AS oldest
GROUP BY customer_id ORDER BY (array_agg(id ORDER BY id))[1]
"""  # noqa: S608 - of our own number
DEEP = f"""
SELECT own.customer_id, array_agg(own.id ORDER BY own.id),
  array_agg(own.size ORDER BY own.id)
FROM unnest(%b::uuid[]) WITH ORDINALITY AS k (customer_id, place)
CROSS JOIN LATERAL (
  SELECT p.customer_id, p.id, cardinality(p.event_ids) AS size
  FROM metering_pendingevents p WHERE p.customer_id = k.customer_id
  ORDER BY p.id LIMIT {DEEP_ROWS}
) AS own
GROUP BY own.customer_id, k.place ORDER BY k.place
"""  # noqa: S608 - of our own numbers
ATTEMPT = """
UPDATE metering_pendingevents SET attempts = attempts + 1 WHERE id = ANY(%b)
RETURNING id, customer_id, attempts
"""


def take(
    customer_ids: list[uuid.UUID] | None, *, without: Collection[uuid.UUID] = ()
) -> list[Claim]:
    """Choose queue rows nobody else works on, and commit that they are being tried.

    Of the named customers, or of all; never of those it must do without. An empty
    list says that nothing is free.
    """
    busy = set(without)
    with transaction.atomic(), sql.cursor() as cursor:
        while True:
            asked = [customer_ids, customer_ids, list(busy)]
            found = cursor.execute(QUEUE, asked).fetchall()
            if sum(len(row[1]) for row in found) == ROWS_MAX:
                first = [row[0] for row in found[:DEEP_CUSTOMERS]]
                found = cursor.execute(DEEP, [first]).fetchall() or found
            chosen = _one_transaction([Waiting(*row) for row in found])
            if not chosen:
                return []
            mine = {p.customer_id for p in books.lock(chosen, wait=False)}
            if mine:
                break
            # The long queue of a customer whom another worker has hides nobody else.
            busy |= chosen.keys()
        rows = [row for customer in mine for row in chosen[customer]]
        cursor.execute(ATTEMPT, [sorted(rows)])
        claimed = [Claim(*row) for row in cursor.fetchall()]
    crashpoint("rate.claimed")
    return claimed


def _one_transaction(waiting: Sequence[Waiting]) -> dict[uuid.UUID, list[uuid.UUID]]:
    """Return the queue rows of the first customers that fill one transaction.

    At least one row, however big it is.
    """
    chosen: dict[uuid.UUID, list[uuid.UUID]] = {}
    events = 0
    for customer in waiting:
        for row_id, size in zip(customer.row_ids, customer.sizes, strict=True):
            if chosen and events + size > EVENTS_MAX:
                return chosen
            chosen.setdefault(customer.customer_id, []).append(row_id)
            events += size
    return chosen
