"""When keys were last used: one statement for every kind of key."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping

from aforo.lib import sql

# A busy key is noted once in this time and not at every call.
NOTED_EVERY = dt.timedelta(minutes=1)


def statement(table: str, ids: str = "%b", times: str = "%b") -> str:
    """Return the statement that notes keys of a table, given two arrays in SQL.

    Rows that somebody else holds are left to the next note: this waits for nobody, so
    it cannot deadlock with a rotation, whatever else the transaction has locked. An
    instant older than the noted one changes nothing.
    """
    return f"""
WITH due AS (
  SELECT k.id, used.at
  FROM unnest({ids}::uuid[], {times}::timestamptz[]) AS used (id, at)
  JOIN {table} k ON k.id = used.id
  WHERE k.last_used_at IS NULL
    OR k.last_used_at <= used.at - interval '{NOTED_EVERY.total_seconds()} seconds'
  FOR NO KEY UPDATE OF k SKIP LOCKED
)
UPDATE {table} k SET last_used_at = due.at FROM due WHERE k.id = due.id
"""  # noqa: S608 - of our own names


def note(table: str, used: Mapping[uuid.UUID, dt.datetime]) -> None:
    """Note when keys of a table were last used, by id; exact to NOTED_EVERY."""
    if used:
        with sql.cursor() as cursor:
            cursor.execute(statement(table), [list(used), list(used.values())])
