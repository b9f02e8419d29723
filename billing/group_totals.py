"""What single sessions, correlations and windows used, for charges that look at them.

These are rows of their own. A period can have a hundred thousand sessions: in the
counter row each would be read and written with every batch. Here a batch reads and
writes those that it touches.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from aforo.lib import clock, ids, sql
from aforo.lib.money import ZERO
from billing.ledger import Entry
from billing.models import LedgerEntry
from billing.rating import Fact, Total, TotalKey
from catalog.pricing import (
    Pieces,
    Plan,
    Tally,
    close_sessions,
    group_key,
    group_of,
    groups_of,
    pack_steps,
    state_from_json,
    state_to_json,
)

SELECT = """
SELECT s.total_id, s.charge_key, s.group_id, s.state::text
FROM billing_grouptotal s
JOIN unnest(%b::uuid[], %b::text[], %b::uuid[]) AS k (total_id, charge_key, group_id)
  USING (total_id, charge_key, group_id)
"""
SAVE = """
INSERT INTO billing_grouptotal (
  id, created_at, tenant_id, customer_id, total_id, charge_key, group_id, state,
  settled_at)
SELECT r.id, %b, r.tenant_id, r.customer_id, r.total_id, r.charge_key, r.group_id,
  r.state::jsonb, r.settled_at
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::uuid[],
  %b::text[], %b::timestamptz[])
  AS r (id, tenant_id, customer_id, total_id, charge_key, group_id, state, settled_at)
ON CONFLICT (total_id, group_id, charge_key) DO UPDATE SET state = excluded.state
"""
SETTLE = """
UPDATE billing_grouptotal t SET settled_at = %b
FROM unnest(%b::text[], %b::uuid[]) AS k (charge_key, group_id)
WHERE t.total_id = %b AND t.charge_key = k.charge_key AND t.group_id = k.group_id
"""


def load(
    totals: Mapping[TotalKey, Total], facts: Mapping[TotalKey, Sequence[Fact]]
) -> None:
    """Put the groups of facts into their totals; the books' locks are held."""
    wanted: set[tuple[uuid.UUID, str, uuid.UUID]] = set()
    for key, own in facts.items():
        priced = own[0].snapshot.plan
        assert priced is not None, "a fact has a plan"
        groups = groups_of(priced.plan, [fact.usage for fact in own])
        wanted |= {(totals[key].id, *_place(group)) for group in groups}
    read({total.id: total for total in totals.values()}, wanted)


def _place(key: str) -> tuple[str, uuid.UUID]:
    """Return the charge and the group of a key of the state."""
    found = group_of(key)
    assert found is not None, "groups are kept under their keys"
    charge_key, group = found
    return charge_key, uuid.UUID(hex=group)


def read(
    by_id: Mapping[uuid.UUID, Total], wanted: Iterable[tuple[uuid.UUID, str, uuid.UUID]]
) -> None:
    """Put groups into totals: (total, charge, group) that exist."""
    rows = sorted(wanted)
    if not rows:
        return
    with sql.cursor() as cursor:
        found = cursor.execute(
            SELECT, [list(column) for column in zip(*rows, strict=True)]
        ).fetchall()
    for total_id, charge, group, state in found:
        key = group_key(charge, group.hex)
        data = {key: msgspec.json.decode(state)}
        by_id[total_id].groups.update(state_from_json(data))


def save(totals: Iterable[Total]) -> None:
    """Write the groups that a batch touched; the totals are written before."""
    rows = []
    now = clock.now()
    for total in totals:
        for key, state in total.groups.items():
            charge, group = _place(key)
            text = msgspec.json.encode(state_to_json({key: state})[key]).decode()
            # An outcome's pieces and windows have nothing to be priced at an end.
            settled = now if isinstance(state, Pieces | Tally) else None
            rows.append((total, charge, group, text, settled))
    if not rows:
        return
    rows.sort(key=lambda row: (row[0].id, row[2], row[1]))
    owners = [row[0] for row in rows]
    columns = [
        [ids.new_id() for _ in rows],
        [total.tenant_id for total in owners],
        [total.customer_id for total in owners],
        [total.id for total in owners],
        [charge for _, charge, *_ in rows],
        [group for _, _, group, *_ in rows],
        [text for *_, text, _ in rows],
        [settled for *_, settled in rows],
    ]
    with sql.cursor() as cursor:
        cursor.execute(SAVE, [now, *columns])


class Ended(NamedTuple):
    """A session that has ended and is not settled, with whose it was."""

    session_id: uuid.UUID
    agent_id: uuid.UUID | None
    team_id: uuid.UUID | None


def settle(
    total: Total, plan: Plan, ended: Sequence[Ended], billing_period_id: uuid.UUID
) -> list[Entry]:
    """Price the end of sessions and move the counter row; return what is to be posted.

    The totals' groups are loaded, the books locked. A session that has not too many
    errors posts nothing and is settled too.
    """
    by_key = {one.session_id.hex: one for one in ended}
    before = {**total.state, **total.groups}
    lines, after = close_sessions(plan, before, by_key)
    total.keep(after)
    now = clock.now()
    entries = []
    for session, found in lines.items():
        one = by_key[session]
        amounts = [line.amount for line in found]
        amount = sum(amounts, ZERO)
        total.spend += amount
        entries.append(
            Entry(
                id=ids.new_id(),
                subscription_id=total.key.subscription_id,
                snapshot_id=total.key.snapshot_id,
                usage_period_id=total.key.period_id,
                billing_period_id=billing_period_id,
                kind=LedgerEntry.Kind.REPRICE,
                currency=total.currency,
                amount=amount,
                charge_keys=[line.charge_key for line in found],
                quantities=[line.quantity for line in found],
                amounts=amounts,
                steps=[pack_steps(line) for line in found],
                occurred_at=now,
                event_type="session.closed",
                agent_id=one.agent_id,
                team_id=one.team_id,
                session_id=one.session_id,
            )
        )
    # Just what was loaded and closed: a session's other charges may still wait.
    places = [_place(key) for key in total.groups]
    columns = [[charge for charge, _ in places], [group for _, group in places]]
    with sql.cursor() as cursor:
        cursor.execute(SETTLE, [now, *columns, total.id])
    return entries
