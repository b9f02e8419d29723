"""The database's own cursor, for statements that write many rows at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from django.db import connection, transaction

STREAMED = 5_000  # Rows that a stream fetches at a time.


def cursor() -> psycopg.Cursor[Any]:
    """Return a cursor that sends parameters apart from the statement.

    Django's own pastes them into the text; arrays of a thousand rows cost several
    times as much that way. It belongs to Django's connection and transaction.
    """
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)


def stream(statement: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a statement, some thousands in memory at a time.

    Inside a transaction only; one stream at a time.
    """
    connection.ensure_connection()
    with psycopg.ServerCursor(connection.connection, "aforo_stream") as rows:
        rows.itersize = STREAMED
        yield from rows.execute(statement, values or None)


@contextlib.contextmanager
def snapshot() -> Iterator[None]:
    """Read one state of the database, whatever commits meanwhile.

    Inside a transaction that has begun already, it is that one's.
    """
    begun = connection.in_atomic_block
    with transaction.atomic():
        if not begun:
            cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def array(values: Sequence[str]) -> str:
    """Return a Postgres array literal of the texts."""
    if not values:
        return "{}"
    text = '","'.join(values)
    if "\\" not in text and text.count('"') == 2 * (len(values) - 1):
        return f'{{"{text}"}}'  # Nothing to quote.
    quoted = (v.replace("\\", "\\\\").replace('"', '\\"') for v in values)
    return '{"' + '","'.join(quoted) + '"}'
