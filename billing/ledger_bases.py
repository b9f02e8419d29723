"""What many ledger entries have in common, written once: charges, and their steps.

An event moves the same charges at the same prices as those before it; only quantities
and amounts are its own.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping

from aforo.lib import clock, interned, sql

# Tenant, charge keys and, where they are the same for every quantity, the packed steps
# of each as JSON text; else None, and the entry has its own.
Basis = tuple[uuid.UUID, tuple[str, ...], tuple[str, ...] | None]
_memory = interned.Memory[Basis]()
forget = _memory.forget

INSERT = """
INSERT INTO billing_ledgerbasis (id, created_at, tenant_id, charge_keys, steps)
SELECT r.id, %b, r.tenant_id, r.charge_keys::varchar[], r.steps::jsonb
FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::text[])
  AS r (id, tenant_id, charge_keys, steps)
ORDER BY r.id ON CONFLICT (id) DO NOTHING
"""


def basis_of(
    tenant_id: uuid.UUID, charge_keys: Iterable[str], steps: Iterable[str]
) -> Basis:
    """Return what an entry of such charges and packed steps may share with others."""
    packed = tuple(steps)
    for text in packed:
        if text[1] == "[":  # A list of steps, with quantities and amounts in it.
            return tenant_id, tuple(charge_keys), None
    return tenant_id, tuple(charge_keys), packed


def steps_text(steps: Iterable[str]) -> str:
    """Return the steps of all charges as one JSON text."""
    return f"[{','.join(steps)}]"


def id_of(basis: Basis) -> uuid.UUID:
    """Return the id of a basis, the same as aforo_ledger_basis_id() in the database."""
    tenant_id, keys, steps = basis
    parts = [keys, None if steps is None else [json.loads(text) for text in steps]]
    # As Postgres writes such jsonb.
    return interned.id_of(f"{tenant_id}{json.dumps(parts, ensure_ascii=False)}")


def save(wanted: Iterable[Basis]) -> list[uuid.UUID]:
    """Return the ids of bases, and write those that may be new.

    In the caller's transaction; see aforo.lib.interned.
    """
    known = _memory.here()
    fresh: dict[Basis, uuid.UUID] = {}
    found = []
    for basis in wanted:
        key = known.get(basis) or fresh.get(basis)
        if key is None:
            key = fresh[basis] = id_of(basis)
        found.append(key)
    _memory.write(fresh, _insert)
    return found


def _insert(fresh: Mapping[Basis, uuid.UUID]) -> None:
    """Write bases unless they are there, in the order of their ids."""
    columns = [
        list(fresh.values()),
        [tenant_id for tenant_id, _, _ in fresh],
        [sql.array(keys) for _, keys, _ in fresh],
        [None if steps is None else steps_text(steps) for *_, steps in fresh],
    ]
    with sql.cursor() as cursor:
        cursor.execute(INSERT, [clock.now(), *columns])
