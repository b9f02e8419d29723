"""The Idempotency-Key of ingested events, on the door's own connection."""

from __future__ import annotations

from aforo.core import idempotency
from aforo.core.idempotency import FIND, KEEP, LOCK, Once
from aforo.lib import ids
from metering.directory import Caller
from metering.pool import Connection

__all__ = ["Once", "find", "keep", "wanted"]

ENDPOINT = "POST /v1/events"


def wanted(key: str | None, caller: Caller, body: bytes) -> Once | None:
    """Return what the header asks for; None without the header.

    Raises AforoError 400 `invalid_idempotency_key`.
    """
    own = caller.credential
    # Callers who report for themselves cannot take each other's keys.
    endpoint = f"{ENDPOINT} {ids.public('crd', own.id)}" if own else ENDPOINT
    return idempotency.wanted(
        key, tenant_id=caller.tenant_id, endpoint=endpoint, body=body
    )


async def find(connection: Connection, once: Once) -> bytes | None:
    """Return the answer that was given, and keep others with the key waiting.

    They wait up to the connection's lock timeout. Raises AforoError 422 when the key
    came with another body.
    """
    await connection.execute(LOCK, [once.lock_name])
    row = await (await connection.execute(FIND, once[:3])).fetchone()
    if row is None:
        return None
    idempotency.check_same(once, row[0])
    return idempotency.again(row[1])


async def keep(connection: Connection, once: Once, answer: bytes) -> None:
    """Store the answer, in the transaction that stores what it tells of."""
    await connection.execute(KEEP, idempotency.kept(once, 200, answer))
