"""Stamps of change: whether what a process remembers of a scope is still true.

A scope is a customer, a tenant, or the whole installation (WORLD). Every statement
that changes a stamped table adds a row for each scope that it touches; the stamp of a
scope sums them up. Rows are only added, so a change never waits for another one, and
numbers come from a sequence, so a change that is rolled back leaves no stamp that a
later one could repeat.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from django.db import transaction

from aforo.lib import sql

# What belongs to no tenant, such as the library's cost rates.
WORLD = uuid.UUID(int=0)
# Old rows say nothing that a fresh look does not; see prune().
KEPT = dt.timedelta(hours=1)
# What nobody asked for that long is dropped, whatever its stamp; far below KEPT.
UNUSED_S = 600.0

Entry = TypeVar("Entry")

TABLE_SQL = """
CREATE TABLE core_changestamp (
  id bigint GENERATED ALWAYS AS IDENTITY,
  scope uuid NOT NULL,
  made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX core_changestamp_scope ON core_changestamp (scope) INCLUDE (id);
REVOKE ALL ON core_changestamp FROM aforo_web;

CREATE FUNCTION aforo_stamp(wanted uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT count(*) || '.' || coalesce(sum(id), 0) FROM core_changestamp
  WHERE scope = wanted
$$;
CREATE FUNCTION aforo_stamp_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  EXECUTE format(
    'INSERT INTO core_changestamp (scope) SELECT DISTINCT scope FROM (%s) AS s'
    ' WHERE scope IS NOT NULL', TG_ARGV[0]);
  RETURN NULL;
END $$;
"""


def stamped_sql(
    table: str,
    scopes: str,
    *,
    events: Sequence[str] = ("INSERT", "UPDATE", "DELETE"),
) -> list[str]:
    """Return the statements that stamp every change of a table's rows.

    `scopes` selects the column `scope` from `changed`: the rows as a statement left
    them, or those that it deleted.
    """
    return [
        f'CREATE TRIGGER "stamped_{event.lower()}" AFTER {event} ON "{table}"'
        f" REFERENCING {'OLD' if event == 'DELETE' else 'NEW'} TABLE AS changed"
        " FOR EACH STATEMENT"
        f" EXECUTE FUNCTION aforo_stamp_change($scopes${scopes}$scopes$)"
        for event in events
    ]


def scope_sql(column: str) -> str:
    """Return the scopes of a table whose column names them; NULL is WORLD."""
    return f"SELECT COALESCE({column}, '{WORLD}') AS scope FROM changed"  # noqa: S608


def read(scopes: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the stamps of scopes as they are now."""
    with sql.cursor() as cursor:
        rows = cursor.execute(
            "SELECT scope, aforo_stamp(scope) FROM unnest(%b::uuid[]) AS s (scope)",
            [list(set(scopes))],
        ).fetchall()
    return dict(rows)


def prune(before: dt.datetime) -> int:
    """Delete rows made before an instant; who remembers their scopes reads again."""
    with sql.cursor() as cursor:
        return cursor.execute(
            "DELETE FROM core_changestamp WHERE made_at < %b", [before]
        ).rowcount


class Memory(Generic[Entry]):
    """The entries of one kind that this process remembers, the newest used last."""

    def __init__(self, limit: int) -> None:
        """Remember at most so many entries."""
        self._limit = limit
        self._kept: OrderedDict[uuid.UUID, tuple[object, Entry, float]] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def get(self, key: uuid.UUID, stamp: object) -> Entry | None:
        """Return the entry if it is still true, and count whether it was.

        One that nobody used for long is not: rows of its stamp may have gone since,
        see prune(), and without them the stamp is what it was before a change.
        """
        now = time.monotonic()
        with self._lock:
            found = self._kept.get(key)
            if found is None or found[0] != stamp or now - found[2] >= UNUSED_S:
                self.misses += 1
                return None
            self.hits += 1
            self._kept[key] = (stamp, found[1], now)
            self._kept.move_to_end(key)
            return found[1]

    def put(self, key: uuid.UUID, stamp: object, entry: Entry) -> None:
        """Remember an entry, and drop what nobody used for long."""
        now = time.monotonic()
        with self._lock:
            self._kept[key] = (stamp, entry, now)
            self._kept.move_to_end(key)
            while True:  # The one just put ends it.
                oldest, (_, _, used_at) = next(iter(self._kept.items()))
                if len(self._kept) <= self._limit and now - used_at < UNUSED_S:
                    return
                del self._kept[oldest]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


def remembered(
    memory: Memory[Entry],
    wanted: Mapping[uuid.UUID, object],
    load: Callable[[list[uuid.UUID]], dict[uuid.UUID, Entry]],
) -> dict[uuid.UUID, Entry]:
    """Return the entries of keys with these stamps, read where none is remembered.

    What was read is remembered after the commit: it may hold rows of the transaction.
    """
    entries, missing = {}, []
    for key, stamp in wanted.items():
        entry = memory.get(key, stamp)
        if entry is None:
            missing.append(key)
        else:
            entries[key] = entry
    if missing:
        read = load(sorted(missing))
        entries.update(read)

        def remember() -> None:
            for key, entry in read.items():
                memory.put(key, wanted[key], entry)

        transaction.on_commit(remember)
    return entries
