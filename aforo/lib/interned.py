"""Rows whose ids follow from what they say: written once, found without looking.

What many rows have in common stands in one row of a table apart. Its id is made of its
content, so whoever needs it knows the id, and writes the row unless it is there. A
connection remembers what it saw committed; a new one, after a failover that lost the
last commits say, starts with nothing.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection, transaction

# Far more than are in use; beyond, all are written once again.
KEPT_MAX = 20_000
Content = TypeVar("Content", bound=Hashable)


def id_of(text: str) -> uuid.UUID:
    """Return the id of a content: a version 8 UUID of its SHA-256.

    As aforo_cost_basis_id() and aforo_ledger_basis_id() in the database.
    """
    digest = bytearray(hashlib.sha256(text.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(digest))


class Memory(Generic[Content]):
    """The ids of contents that each connection saw committed."""

    def __init__(self) -> None:
        """Start with none."""
        self._committed: WeakKeyDictionary[
            psycopg.Connection, dict[Content, uuid.UUID]
        ] = WeakKeyDictionary()

    def here(self) -> dict[Content, uuid.UUID]:
        """Return what the connection in use knows; not to be changed."""
        connection.ensure_connection()
        return self._committed.setdefault(connection.connection, {})

    def write(
        self,
        fresh: Mapping[Content, uuid.UUID],
        insert: Callable[[Mapping[Content, uuid.UUID]], None],
    ) -> None:
        """Insert what may be new, and remember it when the transaction has committed.

        `insert` leaves alone what is there. Who writes the same at the same time waits
        until that transaction ends.
        """
        if not fresh:
            return
        known = self.here()
        insert(fresh)

        def remember() -> None:
            if len(known) + len(fresh) > KEPT_MAX:
                known.clear()
            known.update(fresh)

        transaction.on_commit(remember)

    def forget(self) -> None:
        """Let every connection start with none; for tests, which empty the tables."""
        self._committed.clear()
