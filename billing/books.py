"""One transaction on a customer's money: lock, append, prove, tell.

Lock order everywhere: CustomerBooks by customer id, then wallets by id, then the
invoice counter.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db import transaction as db

from aforo.lib import clock, ids, sql
from billing import agent_totals, ledger
from billing.ledger import Entry, Owned
from billing.models import CustomerBooks
from billing.signals import books_changed, config_changed


@dataclass(slots=True)
class Posting:
    """What one transaction adds to one customer's books, collected until its end."""

    customer_id: uuid.UUID
    tenant_id: uuid.UUID
    version: int  # The version that this transaction makes.
    head: str  # Digest of the batch before.
    config_version: int
    entries: list[Entry] = field(default_factory=list)
    messages: dict[str, list[Any]] = field(default_factory=dict)
    settled: list[str] = field(default_factory=list)
    touched: bool = False

    def append(self, *entries: Entry) -> None:
        """Add entries to the ledger."""
        self.entries.extend(entries)

    def outbox(self, topic: str, message: Any) -> None:
        """Add a message (JSON) for a topic, published after the commit."""
        self.messages.setdefault(topic, []).append(message)

    def settle(self, request_id: str) -> None:
        """Say that a request's usage is in the books: the edge drops what it holds."""
        self.settled.append(request_id)

    def touch(self) -> None:
        """Make a new version although nothing is appended (totals, wallets)."""
        self.touched = True

    @property
    def is_empty(self) -> bool:
        """Whether the transaction leaves the books as they are."""
        return not (self.entries or self.messages or self.settled or self.touched)


LOCK = """
SELECT customer_id, tenant_id, version, head, config_version
FROM billing_customerbooks WHERE customer_id = ANY(%b)
ORDER BY customer_id FOR UPDATE
"""


def lock(customer_ids: Iterable[uuid.UUID], *, wait: bool = True) -> list[Posting]:
    """Lock the books of customers, in the order of ids; without waiting skips some."""
    statement = LOCK if wait else LOCK.rstrip() + " SKIP LOCKED"
    with sql.cursor() as cursor:
        rows = cursor.execute(statement, [list(customer_ids)]).fetchall()
    return [Posting(c, t, version + 1, head, cv) for c, t, version, head, cv in rows]


UPDATE = """
UPDATE billing_customerbooks b
SET version = r.version, head = r.head, changed_at = %b
FROM unnest(%b::uuid[], %b::bigint[], %b::text[]) AS r (customer_id, version, head)
WHERE b.customer_id = r.customer_id
"""
BATCHES = """
INSERT INTO billing_ledgerbatch
  (id, created_at, tenant_id, customer_id, version, entry_count, previous, digest)
SELECT r.id, %b, r.tenant_id, r.customer_id, r.version, r.entry_count, r.previous,
  r.digest
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::bigint[], %b::int[], %b::text[],
  %b::text[])
  AS r (id, tenant_id, customer_id, version, entry_count, previous, digest)
"""
OUTBOX = """
INSERT INTO core_outboxmessage
  (created_at, tenant_id, customer_id, version, messages, settled)
SELECT %b, r.tenant_id, r.customer_id, r.version, r.messages, r.settled::jsonb
FROM unnest(%b::uuid[], %b::uuid[], %b::bigint[], %b::text[], %b::text[])
  AS r (tenant_id, customer_id, version, messages, settled)
"""
_json = msgspec.json.Encoder(decimal_format="string").encode


def write(postings: Sequence[Posting]) -> None:
    """Write what the postings collected: entries, digests, versions, outbox.

    One statement per table for any number of customers; after the commit
    billing.signals.books_changed names them.
    """
    live = [p for p in postings if not p.is_empty]
    if not live:
        return
    now = clock.now()
    rows = [
        (Owned(p.tenant_id, p.customer_id, p.version), entry)
        for p in live
        for entry in p.entries
    ]
    ledger.insert(rows, now)
    agent_totals.add_entries(rows)
    digests = [ledger.digest(p.head, p.entries) for p in live]
    tenants = [p.tenant_id for p in live]
    customers = [p.customer_id for p in live]
    versions = [p.version for p in live]
    with sql.cursor() as cursor:
        cursor.execute(
            BATCHES,
            [
                now,
                [ids.new_id() for _ in live],
                tenants,
                customers,
                versions,
                [len(p.entries) for p in live],
                [p.head for p in live],
                digests,
            ],
        )
        cursor.execute(UPDATE, [now, customers, versions, digests])
        telling = [p for p in live if p.messages or p.settled]
        if telling:
            cursor.execute(
                OUTBOX,
                [
                    now,
                    [p.tenant_id for p in telling],
                    [p.customer_id for p in telling],
                    [p.version for p in telling],
                    [_json(p.messages).decode() for p in telling],
                    [_json(p.settled).decode() if p.settled else None for p in telling],
                ],
            )
    db.on_commit(lambda: books_changed.send(sender=None, customer_ids=customers))


@contextmanager
def transaction(customer_id: uuid.UUID) -> Iterator[Posting]:
    """Lock one customer's books for the block and write what it collected.

    Raises CustomerBooks.DoesNotExist for an unknown customer.
    """
    with db.atomic():
        postings = lock([customer_id])
        if not postings:
            raise CustomerBooks.DoesNotExist(f"no books of customer {customer_id}")
        yield postings[0]
        write(postings)


CONFIG = """
UPDATE billing_customerbooks SET config_version = config_version + 1, changed_at = %b
WHERE customer_id = ANY(%b)
"""


def configure(customer_ids: Iterable[uuid.UUID], *, tell: bool = True) -> None:
    """Note that what the edge must know of the customers changed.

    Inside the transaction of the change; after its commit
    billing.signals.config_changed names them, unless the caller tells the edge the
    one thing that changed and leaves the rest to the beat.
    """
    changed = sorted(set(customer_ids))
    if not changed:
        return
    with db.atomic():
        with sql.cursor() as cursor:
            cursor.execute(CONFIG, [clock.now(), changed])
        if not tell:
            return
        db.on_commit(lambda: config_changed.send(sender=None, customer_ids=changed))
