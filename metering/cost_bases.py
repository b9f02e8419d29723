"""What the cost lines of many events have in common, written once.

The id of a basis follows from its tenant and content, so nobody has to look for one: it
is there, or whoever needs it first writes it. A connection remembers which ones it saw
committed; a new one, after a failover say, starts with none.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection, transaction

from aforo.lib import clock, sql
from catalog.cost_lines import parts_of

# Of a tenant: unit, price and rate id of each line, one after the other.
Basis = tuple[uuid.UUID, tuple[str, ...]]
# Far more than the models, units and prices in use; beyond, all are written again.
KEPT_MAX = 20_000
_committed: WeakKeyDictionary[psycopg.Connection, dict[Basis, uuid.UUID]]
_committed = WeakKeyDictionary()

INSERT = """
INSERT INTO metering_costbasis (id, created_at, tenant_id, parts)
SELECT r.id, %b, r.tenant_id, r.parts::jsonb
FROM unnest(%b::uuid[], %b::uuid[], %b::text[]) AS r (id, tenant_id, parts)
ORDER BY r.id ON CONFLICT (id) DO NOTHING
"""


def text_of(basis: tuple[str, ...]) -> str:
    """Return the parts of a basis as Postgres writes such jsonb."""
    return json.dumps(parts_of(basis), ensure_ascii=False)


def id_of(tenant_id: uuid.UUID, text: str) -> uuid.UUID:
    """Return the id of a basis: a version 8 UUID of the SHA-256 of tenant and parts.

    The same as aforo_cost_basis_id() in the database.
    """
    digest = bytearray(hashlib.sha256(f"{tenant_id}{text}".encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(digest))


def save(
    wanted: Iterable[tuple[uuid.UUID, tuple[str, ...]]],
) -> list[uuid.UUID | None]:
    """Return the ids of bases, None of those without lines, and write the new ones.

    `wanted` has the tenant with the basis of each cost. In the caller's transaction;
    who writes the same basis at the same time waits until it ends.
    """
    connection.ensure_connection()
    known = _committed.setdefault(connection.connection, {})
    # Most of a batch is of one tenant, whose id is not hashed again for each event.
    tenant: uuid.UUID | None = None
    mine: dict[tuple[str, ...], uuid.UUID] = {}
    by_tenant: dict[uuid.UUID, dict[tuple[str, ...], uuid.UUID]] = {}
    fresh: dict[uuid.UUID, tuple[uuid.UUID, str]] = {}
    new: dict[Basis, uuid.UUID] = {}
    found: list[uuid.UUID | None] = []
    for tenant_id, basis in wanted:
        if not basis:
            found.append(None)
            continue
        if tenant_id is not tenant:
            tenant, mine = tenant_id, by_tenant.setdefault(tenant_id, {})
        key = mine.get(basis)
        if key is None:
            key = known.get((tenant_id, basis))
            if key is None:
                text = text_of(basis)
                key = new[tenant_id, basis] = id_of(tenant_id, text)
                fresh[key] = tenant_id, text
            mine[basis] = key
        found.append(key)
    if fresh:
        _insert(fresh)
        transaction.on_commit(lambda: _remember(known, new))
    return found


def _insert(fresh: dict[uuid.UUID, tuple[uuid.UUID, str]]) -> None:
    """Write bases that may be new, in the order of their ids."""
    columns = [
        list(fresh),
        [tenant_id for tenant_id, _ in fresh.values()],
        [text for _, text in fresh.values()],
    ]
    with sql.cursor() as cursor:
        cursor.execute(INSERT, [clock.now(), *columns])


def _remember(known: dict[Basis, uuid.UUID], new: dict[Basis, uuid.UUID]) -> None:
    """Note bases that are committed now."""
    if len(known) + len(new) > KEPT_MAX:
        known.clear()
    known.update(new)


def forget() -> None:
    """Let every connection start with none; for tests, which empty the table."""
    _committed.clear()
