"""From stored events to the books: one transaction under the customers' locks.

The queue of record is PendingEvents. A transaction takes the pending events of one
hot customer or of many small ones (at most EVENTS_MAX), rates them and deletes their
queue rows; a crash anywhere rolls all of it back, and the sweeper finds it again.
"""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Collection, Sequence
from typing import NamedTuple

import django.db
import psycopg
from django.db import transaction

from aforo.lib import clock, sql
from aforo.lib.crash import crashpoint
from aforo.lib.money import ZERO
from billing import books, burndown, rating
from billing.books import Posting
from billing.ledger import Entry
from billing.rating import Fact, Total, TotalKey
from catalog.pricing import Unrateable
from metering import batch, rollups, sessions, writing
from metering.batch import Item

log = logging.getLogger(__name__)

# Bigger transactions cost less per event; this bounds their time to some 250 ms.
EVENTS_MAX = 2000
# A batch that failed so often is rated event by event …
CAREFUL_FROM = 3
# … and the event at which it then dies again and again is set aside.
GIVE_UP_FROM = 6
# The store's own trouble (away, a lock, a deadlock) says nothing about an event.
STORE_FAULTS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    django.db.OperationalError,
    django.db.InterfaceError,
)


class Pending(NamedTuple):
    """One row of the queue."""

    id: uuid.UUID
    customer_id: uuid.UUID
    event_ids: list[uuid.UUID]
    attempts: int


QUEUE = """
SELECT id, customer_id, event_ids, attempts FROM metering_pendingevents
WHERE (%b::uuid[] IS NULL OR customer_id = ANY(%b)) AND customer_id <> ALL(%b)
ORDER BY id LIMIT 256
"""
ATTEMPT = """
UPDATE metering_pendingevents SET attempts = attempts + 1 WHERE id = ANY(%b)
RETURNING id, customer_id, event_ids, attempts
"""
TAKE = """
SELECT id, customer_id, event_ids, attempts FROM metering_pendingevents
WHERE id = ANY(%b) AND customer_id = ANY(%b) ORDER BY id
"""


def rate(customer_ids: Collection[uuid.UUID] | None = None) -> int:
    """Rate what is pending, of the named customers or of all; return how many events.

    Idempotent: what another worker has locked or rated is left alone. Returns when
    nothing is left that it could take.
    """
    done = 0
    while True:
        claimed = _claim(None if customer_ids is None else list(customer_ids))
        if not claimed:
            return done
        careful = [p for p in claimed if p.attempts >= CAREFUL_FROM]
        count = 0
        if careful:
            count = sum(_rate_carefully(p) for p in careful)
        swift = [p for p in claimed if p.attempts < CAREFUL_FROM]
        if swift:
            count += _rate_swiftly(swift)
        if count == 0:
            return done
        done += count


def _claim(customer_ids: list[uuid.UUID] | None) -> list[Pending]:
    """Choose queue rows nobody else works on, and commit that they are being tried."""
    busy: set[uuid.UUID] = set()
    mine: set[uuid.UUID] = set()
    with transaction.atomic(), sql.cursor() as cursor:
        # The long queue of a customer whom another worker has hides nobody else.
        while not mine:
            found = cursor.execute(QUEUE, [customer_ids, customer_ids, list(busy)])
            chosen = _up_to_max([Pending(*row) for row in found.fetchall()])
            if not chosen:
                return []
            wanted = {p.customer_id for p in chosen}
            mine = {p.customer_id for p in books.lock(wanted, wait=False)}
            busy |= wanted - mine
        cursor.execute(ATTEMPT, [[p.id for p in chosen if p.customer_id in mine]])
        claimed = [Pending(*row) for row in cursor.fetchall()]
    crashpoint("rate.claimed")
    return claimed


def _up_to_max(rows: Sequence[Pending]) -> list[Pending]:
    """Return the first rows that make one transaction of bearable size."""
    chosen: list[Pending] = []
    size = 0
    for row in rows:
        if chosen and size + len(row.event_ids) > EVENTS_MAX:
            break
        chosen.append(row)
        size += len(row.event_ids)
    return chosen


def _rate_swiftly(claimed: Sequence[Pending]) -> int:
    """Rate queue rows together; after a fault each customer's apart from the others'.

    Rows that fail stand: the next try counts, and the third is careful.
    """
    try:
        return _rate_together(claimed)
    except STORE_FAULTS:
        log.exception("rating %d queue rows failed", len(claimed))
        return 0
    except Exception:
        by_customer: dict[uuid.UUID, list[Pending]] = {}
        for row in claimed:
            by_customer.setdefault(row.customer_id, []).append(row)
        if len(by_customer) > 1:
            return sum(_rate_swiftly(rows) for rows in by_customer.values())
        log.exception("rating %d queue rows failed", len(claimed))
        return 0


def _rate_together(claimed: Sequence[Pending]) -> int:
    """Rate queue rows of many customers in one transaction; return how many events."""
    with transaction.atomic():
        postings = {
            p.customer_id: p
            for p in books.lock({p.customer_id for p in claimed}, wait=False)
        }
        if not postings:
            return 0
        with sql.cursor() as cursor:
            rows = [
                Pending(*row)
                for row in cursor.execute(
                    TAKE, [[p.id for p in claimed], list(postings)]
                ).fetchall()
            ]
        event_ids = list(itertools.chain.from_iterable(r.event_ids for r in rows))
        if not event_ids:
            return 0
        process(postings, event_ids)
        writing.drop_pending([r.id for r in rows])
        crashpoint("rate.in_txn")
    crashpoint("rate.committed")
    return len(event_ids)


def _rate_carefully(pending: Pending) -> int:
    """Rate a queue row that failed before, event by event; set aside what fails.

    An event that kills the process leaves its row with a rising count of attempts;
    after some more tries its first event is set aside unseen.
    """
    left = list(pending.event_ids)
    if pending.attempts >= GIVE_UP_FROM:
        _set_aside(pending, left.pop(0), "it ended the worker")
    for event_id in left:
        try:
            with transaction.atomic():
                postings = {p.customer_id: p for p in books.lock([pending.customer_id])}
                if not writing.is_pending(pending.id, event_id):
                    continue  # Another worker was here between two events.
                process(postings, [event_id])
                # A row that gets on is not what ends workers.
                writing.drop_event(pending.id, event_id, attempts=CAREFUL_FROM)
        except STORE_FAULTS:
            raise
        except Exception as error:
            log.exception("event %s cannot be rated", event_id)
            _set_aside(pending, event_id, f"{type(error).__name__}: {error}")
    return len(pending.event_ids)


def _set_aside(pending: Pending, event_id: uuid.UUID, detail: str) -> None:
    """List an event as quarantined and take it off the queue, if it still waits."""
    with transaction.atomic():
        books.lock([pending.customer_id])
        if writing.is_pending(pending.id, event_id):
            writing.quarantine(event_id, detail)
            writing.drop_event(pending.id, event_id, attempts=CAREFUL_FROM - 1)


def process(
    postings: dict[uuid.UUID, Posting],
    event_ids: Sequence[uuid.UUID],
    *,
    replayed: bool = False,
) -> list[Item]:
    """Rate stored events and write all their effects; the books are locked.

    Steps: enrich → cost → rate → ledger, totals, sessions, rollups, wallets, outbox.
    `replayed` events were listed before: they are priced, not counted again; a cost
    that was not known then is booked now.
    """
    rows = batch.read(event_ids)
    known = batch.context(rows, clock.now())
    session_ids = sessions.identify(rows)
    items = [
        batch.judge(row, known, session_ids.get((row.customer_id, row.session_key)))
        for row in rows
    ]
    if replayed:
        unknown = writing.unknown_costs(event_ids)
        for item in items:
            item.replayed = True
            item.cost_found = item.row.id in unknown and item.cost_amount is not None
    totals = _price(items, postings)
    rating.save_totals(totals)
    sessions.save(items)
    rollups.save(items)
    if replayed:
        writing.save_costs([i for i in items if i.cost_found], kind="delta")
    else:
        writing.save_costs(items, kind="original")
    writing.list_unrateable([i for i in items if i.refusal is not None])
    _burn(postings)
    writing.announce(items, postings)
    books.write(list(postings.values()))
    return items


def _price(items: Sequence[Item], postings: dict[uuid.UUID, Posting]) -> list[Total]:
    """Price the facts on top of their totals; append entries, note refusals."""
    groups: dict[TotalKey, list[tuple[Item, Fact]]] = {}
    for item in items:
        if item.fact is not None:
            fact = item.fact
            key = TotalKey(fact.subscription_id, fact.snapshot.id, fact.usage_period.id)
            groups.setdefault(key, []).append((item, fact))
    totals = rating.load_totals(list(postings), groups)
    for key in sorted(groups):
        pairs = groups[key]
        row = pairs[0][0].row
        total = totals.get(key)
        if total is None:
            total = totals[key] = rating.new_total(
                tenant_id=row.tenant_id,
                customer_id=row.customer_id,
                key=key,
                currency=pairs[0][0].currency,
            )
        results = rating.rate_group(total, [fact for _, fact in pairs])
        for (item, _), result in zip(pairs, results, strict=True):
            if isinstance(result, Unrateable):
                item.refusal = (
                    str(result.reason),
                    f"{result.charge_key}: {result.detail}",
                )
                item.fact = None
            else:
                item.amount = result.amount
                postings[item.row.customer_id].append(result)
    return list(totals.values())


def _burn(postings: dict[uuid.UUID, Posting]) -> None:
    """Take what was rated from the customers' wallets, once per wallet and period."""
    with sql.cursor() as cursor:
        found = cursor.execute(
            "SELECT customer_id, currency FROM billing_wallet"
            " WHERE customer_id = ANY(%b) ORDER BY id",
            [list(postings)],
        ).fetchall()
    for customer_id, currency in found:
        posting = postings[customer_id]
        periods: dict[uuid.UUID, list[Entry]] = {}
        for entry in posting.entries:
            if entry.currency == currency:
                periods.setdefault(entry.billing_period_id, []).append(entry)
        for period_id, entries in sorted(periods.items()):
            kinds = {entry.event_type for entry in entries}
            name = kinds.pop() if len(kinds) == 1 else "usage"
            burndown.burn(
                posting=posting,
                currency=currency,
                amount=sum((entry.amount for entry in entries), ZERO),
                title=f"{name} × {len(entries):,}",
                billing_period_id=period_id,
            )
