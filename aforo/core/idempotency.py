"""The Idempotency-Key header: a request that is sent again gets its first answer.

The key is unique for a tenant and an endpoint. The answer is stored by the transaction
that stores what it tells of; requests with one key wait for each other on an advisory
lock, before any other. The ingest door runs the same statements on a connection of its
own (metering.idempotency).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from aforo.lib import clock, ids, sql
from aforo.lib.errors import AforoError

ENDPOINT_MAX = 80
# How long a request waits for another one that has its key.
WAIT = "SET LOCAL lock_timeout = '2s'"
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%b, 0))"
FIND = """
SELECT body_hash, response::text, status FROM core_idempotencykey
WHERE tenant_id = %b AND endpoint = %b AND key = %b
"""
KEEP = """
INSERT INTO core_idempotencykey
  (id, created_at, tenant_id, endpoint, key, body_hash, status, response)
VALUES (%b, %b, %b, %b, %b, %b, %b, %b::text::jsonb)
"""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class Once(NamedTuple):
    """A request that asked to be done once."""

    tenant_id: UUID
    endpoint: str
    key: str
    body_hash: str

    @property
    def lock_name(self) -> str:
        """What requests with the same key wait on."""
        return "\n".join(map(str, self[:3]))


def wanted(
    key: str | None, *, tenant_id: UUID, endpoint: str, body: bytes
) -> Once | None:
    """Return what the header asks for; None without the header.

    Raises AforoError 400 `invalid_idempotency_key`.
    """
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise AforoError(
            "invalid_idempotency_key",
            400,
            "send 1 to 255 printable characters without spaces",
            field="Idempotency-Key",
        )
    if len(endpoint) > ENDPOINT_MAX or "\0" in endpoint:
        endpoint = hashlib.sha256(endpoint.encode()).hexdigest()
    return Once(tenant_id, endpoint, key, hashlib.sha256(body).hexdigest())


def check_same(once: Once, body_hash: str) -> None:
    """Refuse a key that came with another body before.

    Raises AforoError 422 `idempotency_key_reused`.
    """
    if body_hash != once.body_hash:
        raise AforoError(
            "idempotency_key_reused",
            422,
            "this key was sent with another body",
            field="Idempotency-Key",
        )


def find(once: Once) -> tuple[int, bytes] | None:
    """Return status and body of the first answer, and keep others waiting.

    In a transaction. Raises AforoError: 409 `in_flight` when the other request takes
    too long, 422 `idempotency_key_reused`.
    """
    with sql.cursor() as cursor:
        cursor.execute(WAIT)
        try:
            cursor.execute(LOCK, [once.lock_name])
        except psycopg.errors.LockNotAvailable as error:
            detail = "a request with this key is being answered; send it again"
            raise AforoError("in_flight", 409, detail, retry_after=1) from error
        cursor.execute("SET LOCAL lock_timeout = DEFAULT")
        row = cursor.execute(FIND, once[:3]).fetchone()
    if row is None:
        return None
    check_same(once, row[0])
    return row[2], again(row[1])


def again(response: str) -> bytes:
    """Return a kept answer as it travels: without blanks."""
    return msgspec.json.format(response.encode(), indent=-1)


def keep(once: Once, status: int, answer: bytes) -> None:
    """Store the answer, in the transaction that stores what it tells of."""
    with sql.cursor() as cursor:
        cursor.execute(KEEP, kept(once, status, answer))


def kept(once: Once, status: int, answer: bytes) -> list[Any]:
    """Return the values of KEEP."""
    return [ids.new_id(), clock.now(), *once, status, answer.decode()]
