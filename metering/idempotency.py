"""The Idempotency-Key header: a request that is sent again gets its first answer."""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from aforo.lib import clock, ids, sql
from aforo.lib.errors import AforoError
from metering.canonical import bad
from metering.directory import Caller
from metering.pool import Connection

ENDPOINT = "POST /v1/events"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_encode = msgspec.json.Encoder().encode


class Once(NamedTuple):
    """A request that asked to be done once."""

    tenant_id: UUID
    endpoint: str
    key: str
    body_hash: str


# Two requests with one key wait for each other, up to the lock timeout.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%b, 0))"
FIND = """
SELECT body_hash, response FROM core_idempotencykey
WHERE tenant_id = %b AND endpoint = %b AND key = %b
"""
KEEP = """
INSERT INTO core_idempotencykey
  (id, created_at, tenant_id, endpoint, key, body_hash, status, response)
VALUES (%b, %b, %b, %b, %b, %b, %b, %b::text::jsonb)
"""


def wanted(
    key: str | None, caller: Caller, body: bytes, *, endpoint: str = ENDPOINT
) -> Once | None:
    """Return what the header asks for; None without the header."""
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        detail = "send 1 to 255 printable characters without spaces"
        raise bad("invalid_idempotency_key", detail, "Idempotency-Key")
    own = caller.credential
    # Callers who report for themselves cannot take each other's keys.
    if own:
        endpoint = f"{endpoint} {ids.public('crd', own.id)}"
    return Once(caller.tenant_id, endpoint, key, hashlib.sha256(body).hexdigest())


async def find(connection: Connection, once: Once) -> bytes | None:
    """Return the answer that was given, and keep others with the key waiting.

    Raises AforoError (422) when the key came with another body.
    """
    await connection.execute(LOCK, ["\n".join(map(str, once[:3]))])
    cursor = await connection.execute(FIND, once[:3])
    return _answered(await cursor.fetchone(), once)


def _answered(row: tuple[str, Any] | None, once: Once) -> bytes | None:
    """Return the answer of a stored row, which must be of the same body."""
    if row is None:
        return None
    if row[0] != once.body_hash:
        raise AforoError(
            "idempotency_key_reused",
            422,
            "this key was sent with another body",
            field="Idempotency-Key",
        )
    return _encode(row[1])


async def keep(connection: Connection, once: Once, answer: bytes) -> None:
    """Store the answer, in the transaction that stores what it tells of."""
    values = [ids.new_id(), clock.now(), *once, 200, answer.decode()]
    await connection.execute(KEEP, values)


def find_now(once: Once) -> bytes | None:
    """Do what `find` does, in the transaction of Django's connection."""
    with sql.cursor() as cursor:
        cursor.execute(LOCK, ["\n".join(map(str, once[:3]))])
        row = cursor.execute(FIND, once[:3]).fetchone()
    # Django's connection leaves JSON as text.
    return _answered(row and (row[0], msgspec.json.decode(row[1])), once)


def keep_now(once: Once, status: int, answer: bytes) -> None:
    """Do what `keep` does, in the transaction of Django's connection."""
    values = [ids.new_id(), clock.now(), *once, status, answer.decode()]
    with sql.cursor() as cursor:
        cursor.execute(KEEP, values)
