"""Stamps of change: whether what a process remembers of a scope is still true.

A scope is a customer, a tenant, or the whole installation (WORLD). Every statement
that changes a stamped table adds a row for each scope that it touches; the stamp of a
scope sums them up. Rows are only added, so a change never waits for another one, and
numbers come from a sequence, so a change that is rolled back leaves no stamp that a
later one could repeat.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence

from aforo.lib import sql

# What belongs to no tenant, such as the library's cost rates.
WORLD = uuid.UUID(int=0)
# Old rows say nothing that a fresh look does not; see prune().
KEPT = dt.timedelta(hours=1)

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
