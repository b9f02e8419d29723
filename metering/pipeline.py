"""From stored events to the books: one transaction under the customers' locks.

The queue of record is PendingEvents. A transaction takes queue rows of one shard of the
customers or of some (metering.claims), rates their events and deletes them; a crash
anywhere rolls all of it back, and the sweeper finds it again.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Collection, Mapping, Sequence

import django.db
import psycopg
from django.db import transaction

from aforo.core.last_used import NOTED_EVERY
from aforo.lib import clock, sql
from aforo.lib.crash import crashpoint
from aforo.lib.memory import uncollected
from aforo.lib.money import ZERO
from billing import (
    books,
    burndown,
    credentials,
    group_totals,
    levels,
    rating,
    spend_levels,
)
from billing.books import Posting
from billing.ledger import Entry
from billing.rating import Fact, Total, TotalKey
from billing.spend_levels import Cause, Trigger
from catalog.pricing import Unrateable
from metering import (
    batch,
    claims,
    enrichment,
    homes,
    queue,
    recosting,
    rollups,
    sessions,
    writing,
)
from metering.batch import Item, Row
from metering.claims import Claim
from metering.queue import QueuedEvent

log = logging.getLogger(__name__)

# The store's own trouble (away, a lock, a deadlock) says nothing about an event.
STORE_FAULTS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    django.db.OperationalError,
    django.db.InterfaceError,
)


def rate() -> int:
    """Rate what is pending; return how many events.

    Idempotent: what another worker has locked or rated is left alone. Returns when
    nothing is left that it could take.
    """
    done = 0
    # Customers whose rows another worker took after the claim, or that failed.
    left_alone: set[uuid.UUID] = set()
    while claimed := claims.take(without=left_alone):
        careful = [c for c in claimed if c.attempts >= claims.CAREFUL_FROM]
        count = sum(_rate_carefully(c) for c in careful)
        swift = [c for c in claimed if c.attempts < claims.CAREFUL_FROM]
        if swift:
            count += _rate_swiftly(swift)
        if count == 0:
            left_alone |= {key for c in claimed for key in c.customer_ids}
        done += count
    return done


def _rate_swiftly(claimed: Sequence[Claim]) -> int:
    """Rate queue rows together; after a fault each apart from the others.

    Rows that fail stand: the next try counts, and the third is careful.
    """
    try:
        return _rate_together(claimed)
    except STORE_FAULTS:
        log.exception("rating %d queue rows failed", len(claimed))
        return 0
    except Exception:
        if len(claimed) > 1:
            return sum(_rate_swiftly([row]) for row in claimed)
        log.exception("rating %d queue rows failed", len(claimed))
        return 0


def _rate_together(claimed: Sequence[Claim]) -> int:
    """Rate queue rows in one transaction; return how many events.

    Of customers whom somebody else holds just now nothing is taken: their events stay
    in their rows.
    """
    with uncollected(), transaction.atomic():
        wanted = {key for row in claimed for key in row.customer_ids}
        postings = {p.customer_id: p for p in books.lock(wanted, wait=False)}
        if not postings:
            return 0
        taken = batch.take(claimed, postings)
        if not taken.rows:
            return 0
        _process(postings, taken)
        whole = [c.id for c in claimed if postings.keys() >= set(c.customer_ids)]
        queue.drop(whole)
        queue.drop_part(
            sorted({c.id for c in claimed}.difference(whole)),
            events=[row.id for row in taken.rows],
            customers=postings,
        )
        crashpoint("rate.in_txn")
    crashpoint("rate.committed")
    return len(taken.rows)


def _rate_carefully(claim: Claim) -> int:
    """Rate a queue row that failed before, event by event; set aside what fails.

    An event that kills the process leaves its row with a rising count of attempts;
    after some more tries its first event is set aside unseen.
    """
    left = queue.events_of(claim.id)
    count = len(left)
    if left and claim.attempts >= claims.GIVE_UP_FROM:
        _set_aside(claim, left.pop(0), "it ended the worker")
    for event in left:
        try:
            with transaction.atomic():
                postings = {p.customer_id: p for p in books.lock([event.customer_id])}
                if not queue.holds(claim.id, event.event_id):
                    continue  # Another worker was here between two events.
                process(postings, [event.event_id])
                # A row that gets on is not what ends workers.
                queue.drop_event(claim.id, event.event_id, attempts=claims.CAREFUL_FROM)
        except STORE_FAULTS:
            raise
        except Exception as error:
            log.exception("event %s cannot be rated", event.event_id)
            _set_aside(claim, event, f"{type(error).__name__}: {error}")
    return count


def _set_aside(claim: Claim, event: QueuedEvent, detail: str) -> None:
    """List an event as quarantined and take it off the queue, if it still waits."""
    with transaction.atomic():
        books.lock([event.customer_id])
        if queue.holds(claim.id, event.event_id):
            writing.quarantine(event.event_id, detail)
            queue.drop_event(claim.id, event.event_id, attempts=claims.CAREFUL_FROM - 1)


def process(
    postings: dict[uuid.UUID, Posting],
    event_ids: Sequence[uuid.UUID],
    *,
    replayed: bool = False,
) -> list[Item]:
    """Rate stored events and write all their effects; the books are locked.

    `replayed` events were listed before: they are priced, not counted again; a cost
    that was not known then is booked now.
    """
    return _process(postings, batch.read(event_ids, postings), replayed=replayed)


def _process(
    postings: dict[uuid.UUID, Posting], taken: batch.Batch, *, replayed: bool = False
) -> list[Item]:
    """Rate a batch and write all its effects.

    Steps: enrich → cost → rate → ledger, totals, sessions, rollups, wallets, outbox.
    """
    rows = taken.rows
    known = enrichment.of(rows, taken.stamps, clock.now())
    session_ids = sessions.identify(rows)
    items = [
        batch.judge(row, known, session_ids.get((row.customer_id, row.session_key)))
        for row in rows
    ]
    if replayed:
        unread = writing.unread([row.id for row in rows])
        for item in items:
            reading = item.body.reading
            item.usage_found = item.row.id in unread and not (
                reading is not None and reading.refused
            )
        recosting.compare(items, known, rated_again=True)
    homes.bring_home(items, known)
    totals, crossings = _price(items, postings)
    rating.save_totals(totals)
    for customer, triggers in sorted(crossings.items()):
        spend_levels.settle(postings[customer], triggers=triggers)
    group_totals.save(totals)
    sessions.save(items, postings)
    rollups.save(items)
    if replayed:
        writing.save_cost_changes(items, kind="delta")
        writing.announce_cost_changes(items, postings)
    else:
        writing.save_costs(items, kind="original")
        writing.announce_costs(items, postings)
        _note_used(rows)
    writing.list_unrateable([i for i in items if i.refusal is not None])
    burn(postings, {c: e.wallets for c, e in known.customers.items()})
    writing.announce(items, postings)
    books.write(list(postings.values()))
    return items


# When this process last noted a credential; most batches name none that is due.
_noted: dict[uuid.UUID, dt.datetime] = {}
NOTED_MAX = 50_000


def _note_used(rows: Sequence[Row]) -> None:
    """Note when the credentials that events name were last used."""
    used: dict[uuid.UUID, dt.datetime] = {}
    for row in rows:
        if key := row.credential_id:
            at = min(row.occurred_at, row.received_at)
            used[key] = max(at, used.get(key, at))
    due = {
        key: at
        for key, at in used.items()
        if key not in _noted or _noted[key] <= at - NOTED_EVERY
    }
    if len(_noted) > NOTED_MAX:
        _noted.clear()
    _noted.update(due)
    credentials.note_used(due)


# By customer and subscription: what brought a contract to another spend level.
Crossings = dict[uuid.UUID, dict[uuid.UUID, Trigger]]


def _price(
    items: Sequence[Item], postings: dict[uuid.UUID, Posting]
) -> tuple[list[Total], Crossings]:
    """Price the facts on top of their totals; append entries, note refusals."""
    groups: dict[TotalKey, list[tuple[Item, Fact]]] = {}
    for item in items:
        if item.fact is not None:
            fact = item.fact
            key = TotalKey(fact.subscription_id, fact.snapshot.id, fact.usage_period.id)
            groups.setdefault(key, []).append((item, fact))
    totals = rating.load_totals(list(postings), groups)
    for key in sorted(groups):
        first = groups[key][0][0]
        if key not in totals:
            totals[key] = rating.new_total(
                tenant_id=first.row.tenant_id,
                customer_id=first.row.customer_id,
                key=key,
                currency=first.currency,
            )
    facts = {key: [fact for _, fact in pairs] for key, pairs in groups.items()}
    group_totals.load(totals, facts)
    standings = levels.load(totals, facts)
    crossings: Crossings = {}
    for key in sorted(groups):
        pairs, total = groups[key], totals[key]
        standing = standings.of(total, facts[key][0].snapshot)
        results = rating.rate_group(total, facts[key], standing)
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
        plan = facts[key][0].snapshot.plan
        if plan is not None and plan.plan.levels:
            rated = ((item.row.id, item.amount) for item, _ in pairs if item.fact)
            if event := levels.crossed_by(plan.plan, standing, rated):
                triggers = crossings.setdefault(total.customer_id, {})
                triggers[key.subscription_id] = Trigger(Cause.SPEND, event_id=event)
    return list(totals.values()), crossings


def burn(
    postings: dict[uuid.UUID, Posting], wallets: Mapping[uuid.UUID, Sequence[str]]
) -> None:
    """Take what was rated from the customers' wallets, once per wallet and period.

    `wallets` are the currencies in which customers have one.
    """
    for customer_id, currencies in sorted(wallets.items()):
        posting = postings[customer_id]
        for currency in currencies:
            _burn(posting, currency)


def _burn(posting: Posting, currency: str) -> None:
    """Take what was rated in a currency from the customer's wallet."""
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


WALLETS = """
SELECT customer_id, array_agg(currency::text ORDER BY id) FROM billing_wallet
WHERE customer_id = ANY(%b) GROUP BY customer_id
"""


def wallets_of(customers: Collection[uuid.UUID]) -> dict[uuid.UUID, list[str]]:
    """Return the currencies in which customers have a wallet."""
    with sql.cursor() as cursor:
        return dict(cursor.execute(WALLETS, [list(customers)]).fetchall())
