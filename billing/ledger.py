"""Append to the ledger, and prove that nobody touched it since."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from aforo.lib import sql
from aforo.lib.money import figures_text, plain
from billing import ledger_bases


class Entry(NamedTuple):
    """One row for the ledger; see billing.models.LedgerEntry for the columns.

    A named tuple, because one is made for every event.
    """

    id: uuid.UUID
    subscription_id: uuid.UUID
    snapshot_id: uuid.UUID
    usage_period_id: uuid.UUID
    billing_period_id: uuid.UUID
    kind: str
    currency: str
    amount: Decimal  # The sum of `amounts`.
    charge_keys: Sequence[str]
    quantities: Sequence[Decimal]
    amounts: Sequence[Decimal]
    steps: Sequence[str]  # Per charge, JSON text: catalog.pricing.pack_steps.
    occurred_at: dt.datetime
    event_id: uuid.UUID | None = None
    reverses_id: uuid.UUID | None = None
    event_type: str = ""
    tool_name: str = ""
    agent_id: uuid.UUID | None = None
    team_id: uuid.UUID | None = None
    session_id: uuid.UUID | None = None
    spend_level: str | None = None  # Where the plan has levels.


INSERT = """
INSERT INTO billing_ledgerentry (
  id, tenant_id, customer_id, version, recorded_at,
  subscription_id, snapshot_id, usage_period_id, billing_period_id, kind, currency,
  amount, basis_id, quantities, amounts, own_steps, occurred_at, event_id, reverses_id,
  event_type, tool_name, agent_id, team_id, session_id, spend_level)
SELECT
  r.id, r.tenant_id, r.customer_id, r.version, %b,
  r.subscription_id, r.snapshot_id, r.usage_period_id, r.billing_period_id, r.kind,
  r.currency, r.amount, r.basis_id, r.quantities, r.amounts, r.own_steps::jsonb,
  r.occurred_at, r.event_id, r.reverses_id,
  r.event_type, r.tool_name, r.agent_id, r.team_id, r.session_id, r.spend_level
FROM unnest(
  %b::uuid[], %b::uuid[], %b::uuid[], %b::bigint[], %b::uuid[], %b::uuid[],
  %b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::numeric[], %b::uuid[],
  %b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::uuid[], %b::uuid[],
  %b::text[], %b::text[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[]
) AS r (
  id, tenant_id, customer_id, version, subscription_id, snapshot_id, usage_period_id,
  billing_period_id, kind, currency, amount, basis_id, quantities, amounts, own_steps,
  occurred_at, event_id, reverses_id, event_type, tool_name, agent_id, team_id,
  session_id, spend_level)
"""


class Owned(NamedTuple):
    """Whose an entry is, and in which version of the books."""

    tenant_id: uuid.UUID
    customer_id: uuid.UUID
    version: int


def insert(rows: Sequence[tuple[Owned, Entry]], recorded_at: dt.datetime) -> None:
    """Write the entries in one statement; the caller holds the books' locks.

    What they have in common with others is written first, where it is new.
    """
    if not rows:
        return
    owned = [owner for owner, _ in rows]
    entries = [entry for _, entry in rows]
    bases = [
        ledger_bases.basis_of(owner.tenant_id, entry.charge_keys, entry.steps)
        for owner, entry in rows
    ]
    columns: list[list[Any]] = [
        [e.id for e in entries],
        [o.tenant_id for o in owned],
        [o.customer_id for o in owned],
        [o.version for o in owned],
        [e.subscription_id for e in entries],
        [e.snapshot_id for e in entries],
        [e.usage_period_id for e in entries],
        [e.billing_period_id for e in entries],
        [e.kind for e in entries],
        [e.currency for e in entries],
        [e.amount for e in entries],
        ledger_bases.save(bases),
        [figures_text(e.quantities) for e in entries],
        [figures_text(e.amounts) for e in entries],
        [
            ledger_bases.steps_text(e.steps) if shared is None else None
            for e, (_, _, shared) in zip(entries, bases, strict=True)
        ],
        [e.occurred_at for e in entries],
        [e.event_id for e in entries],
        [e.reverses_id for e in entries],
        [e.event_type for e in entries],
        [e.tool_name for e in entries],
        [e.agent_id for e in entries],
        [e.team_id for e in entries],
        [e.session_id for e in entries],
        [e.spend_level for e in entries],
    ]
    with sql.cursor() as cursor:
        cursor.execute(INSERT, [recorded_at, *columns])


def digest(previous: str, entries: Iterable[Any]) -> str:
    """Return the digest of one batch of entries, chained to the one before.

    It covers what decides money: ids, periods, charges, quantities, amounts, times
    and the spend level where there is one, in the order of ids. Takes Entry or
    LedgerEntry rows.
    """
    state = hashlib.sha256(previous.encode())
    for entry in sorted(entries, key=lambda e: e.id):
        state.update(_canonical(entry))
    return state.hexdigest()


def _canonical(entry: Any) -> bytes:
    """Return the fields of an entry as one line of text."""
    return "|".join(
        [
            entry.id.hex,
            entry.kind,
            str(entry.event_id or ""),
            str(entry.reverses_id or ""),
            entry.subscription_id.hex,
            entry.snapshot_id.hex,
            entry.usage_period_id.hex,
            entry.billing_period_id.hex,
            entry.currency,
            plain(entry.amount),
            ",".join(entry.charge_keys),
            ",".join([plain(q) for q in entry.quantities]),
            ",".join([plain(a) for a in entry.amounts]),
            str(entry.occurred_at.timestamp()),
            *([entry.spend_level] if entry.spend_level else ()),
            "\n",
        ]
    ).encode()
