"""What single sessions used, for charges that look at sessions: rows of their own.

A period can have a hundred thousand sessions: in the counter row each would be read
and written with every batch. Here a batch reads and writes those that it touches.
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
    Dimensions,
    Plan,
    close_sessions,
    session_key,
    session_of,
    state_from_json,
    state_to_json,
    steps_to_json,
)

SELECT = """
SELECT s.total_id, s.charge_key, s.session_id, s.state::text
FROM billing_sessiontotal s
JOIN unnest(%b::uuid[], %b::text[], %b::uuid[]) AS k (total_id, charge_key, session_id)
  USING (total_id, charge_key, session_id)
"""
SAVE = """
INSERT INTO billing_sessiontotal (
  id, created_at, tenant_id, customer_id, total_id, charge_key, session_id, state)
SELECT r.id, %b, r.tenant_id, r.customer_id, r.total_id, r.charge_key, r.session_id,
  r.state::jsonb
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::uuid[],
  %b::text[])
  AS r (id, tenant_id, customer_id, total_id, charge_key, session_id, state)
ON CONFLICT (total_id, session_id, charge_key) DO UPDATE SET state = excluded.state
"""
SETTLE = """
UPDATE billing_sessiontotal SET settled_at = %b
WHERE total_id = %b AND session_id = ANY(%b)
"""


def charges_of(plan: Plan) -> list[str]:
    """Return the keys of the charges that look at single sessions."""
    return [
        charge.key
        for charge in plan.charges
        if isinstance(charge.model, Dimensions) and charge.model.needs_sessions
    ]


def load(totals: Mapping[TotalKey, Total], facts: Iterable[Fact]) -> None:
    """Put the sessions of facts into their totals; the books' locks are held."""
    wanted: set[tuple[uuid.UUID, str, uuid.UUID]] = set()
    by_id: dict[uuid.UUID, Total] = {}
    for fact in facts:
        plan = fact.snapshot.plan
        if fact.session_id is None or plan is None:
            continue
        key = TotalKey(fact.subscription_id, fact.snapshot.id, fact.usage_period.id)
        total = totals[key]
        by_id[total.id] = total
        wanted |= {(total.id, k, fact.session_id) for k in charges_of(plan.plan)}
    read(by_id, wanted)


def read(
    by_id: Mapping[uuid.UUID, Total], wanted: Iterable[tuple[uuid.UUID, str, uuid.UUID]]
) -> None:
    """Put sessions into totals: (total, charge, session) that exist."""
    rows = sorted(wanted)
    if not rows:
        return
    with sql.cursor() as cursor:
        found = cursor.execute(
            SELECT, [list(column) for column in zip(*rows, strict=True)]
        ).fetchall()
    for total_id, charge, session, state in found:
        key = session_key(charge, session.hex)
        data = {key: msgspec.json.decode(state)}
        by_id[total_id].sessions.update(state_from_json(data))


def save(totals: Iterable[Total]) -> None:
    """Write the sessions that a batch touched; the totals are written before."""
    rows = []
    for total in totals:
        for key, state in total.sessions.items():
            found = session_of(key)
            assert found is not None, "sessions are kept under their keys"
            charge, session = found
            text = msgspec.json.encode(state_to_json({key: state})[key]).decode()
            rows.append((total, charge, uuid.UUID(hex=session), text))
    if not rows:
        return
    rows.sort(key=lambda row: (row[0].id, row[2], row[1]))
    columns = [
        [ids.new_id() for _ in rows],
        [total.tenant_id for total, *_ in rows],
        [total.customer_id for total, *_ in rows],
        [total.id for total, *_ in rows],
        [charge for _, charge, _, _ in rows],
        [session for _, _, session, _ in rows],
        [text for *_, text in rows],
    ]
    with sql.cursor() as cursor:
        cursor.execute(SAVE, [clock.now(), *columns])


class Ended(NamedTuple):
    """A session that has ended and is not settled, with whose it was."""

    session_id: uuid.UUID
    agent_id: uuid.UUID | None
    team_id: uuid.UUID | None


def settle(
    total: Total, plan: Plan, ended: Sequence[Ended], billing_period_id: uuid.UUID
) -> list[Entry]:
    """Price the end of sessions and move the counter row; return what is to be posted.

    The totals' sessions are loaded, the books locked. A session that has not too many
    errors posts nothing and is settled too.
    """
    by_key = {one.session_id.hex: one for one in ended}
    before = {**total.state, **total.sessions}
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
                steps=[steps_to_json(line.steps) for line in found],
                occurred_at=now,
                event_type="session.closed",
                agent_id=one.agent_id,
                team_id=one.team_id,
                session_id=one.session_id,
            )
        )
    with sql.cursor() as cursor:
        cursor.execute(SETTLE, [now, total.id, [one.session_id for one in ended]])
    return entries
