"""The rows that rating leaves in metering's own tables, one statement for each."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from aforo.lib import clock, ids, sql
from aforo.lib.money import plain
from billing.books import Posting
from metering import cost_bases, topics
from metering.batch import Item
from metering.blocks import UNREAD

COSTS = """
INSERT INTO metering_costfact (
  id, tenant_id, customer_id, event_id, kind, provider, model, currency, amount,
  basis_id, figures, unknown, reported, occurred_at)
SELECT r.id, r.tenant_id, r.customer_id, r.event_id, %b, r.provider, r.model,
  r.currency, r.amount, r.basis_id, r.figures, r.unknown, r.reported, r.occurred_at
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::text[],
  %b::text[], %b::numeric[], %b::uuid[], %b::text[], %b::text[], %b::numeric[],
  %b::timestamptz[])
  AS r (id, tenant_id, customer_id, event_id, provider, model, currency, amount,
    basis_id, figures, unknown, reported, occurred_at)
"""


def save_costs(items: Sequence[Item], *, kind: str) -> None:
    """Write what each event cost, at the rates of its own moment."""
    if not items:
        return
    rows = [i.row for i in items]
    columns = [
        [ids.new_id() for _ in items],
        [r.tenant_id for r in rows],
        [r.customer_id for r in rows],
        [r.id for r in rows],
        [i.cost.provider for i in items],
        [i.body.properties.get("model", "")[:120] for i in items],
        [i.cost.currency for i in items],
        [i.cost.amount for i in items],
        cost_bases.save([(i.row.tenant_id, i.cost.basis) for i in items]),
        [i.cost.figures for i in items],
        [i.cost.unknown for i in items],
        [i.reported_cost for i in items],
        [r.occurred_at for r in rows],
    ]
    with sql.cursor() as cursor:
        cursor.execute(COSTS, [kind, *columns])


def save_cost_changes(items: Sequence[Item], *, kind: str) -> None:
    """Append what changed of costs that were written before, and their new lines.

    Where the currency changed, the old one is taken back by a fact of its own.
    """
    rows = [
        (item, currency, amount)
        for item in items
        for currency, amount in (item.cost_facts or {}).items()
    ]
    if not rows:
        return
    own = [currency == item.cost.currency for item, currency, _ in rows]
    columns: list[list[Any]] = [
        [ids.new_id() for _ in rows],
        [i.row.tenant_id for i, *_ in rows],
        [i.row.customer_id for i, *_ in rows],
        [i.row.id for i, *_ in rows],
        [i.cost.provider for i, *_ in rows],
        [i.body.properties.get("model", "")[:120] for i, *_ in rows],
        [currency for _, currency, _ in rows],
        [amount for *_, amount in rows],
        cost_bases.save(
            (item.row.tenant_id, item.cost.basis if new else ())
            for (item, *_), new in zip(rows, own, strict=True)
        ),
        [
            item.cost.figures if new else ""
            for (item, *_), new in zip(rows, own, strict=True)
        ],
        ["" for _ in rows],
        [None for _ in rows],
        [i.row.occurred_at for i, *_ in rows],
    ]
    kinds = [kind if new else "recost" for new in own]
    order = sorted(range(len(rows)), key=lambda index: own[index])
    with sql.cursor() as cursor:
        for name in dict.fromkeys(kinds[index] for index in order):
            mine = [index for index in order if kinds[index] == name]
            chosen = [[column[index] for index in mine] for column in columns]
            cursor.execute(COSTS, [name, *chosen])


def unread(event_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Return those of the events that are listed because their usage was not read."""
    with sql.cursor() as cursor:
        rows = cursor.execute(
            "SELECT event_id FROM metering_unrateable"
            " WHERE event_id = ANY(%b) AND reason = ANY(%b)",
            [list(event_ids), list(UNREAD)],
        ).fetchall()
    return {row[0] for row in rows}


UNRATEABLE = """
INSERT INTO metering_unrateable AS u (
  id, created_at, tenant_id, customer_id, event_id, reason, detail)
SELECT r.id, %b, r.tenant_id, r.customer_id, r.event_id, r.reason, r.detail
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::text[])
  AS r (id, tenant_id, customer_id, event_id, reason, detail)
ON CONFLICT (event_id) DO UPDATE SET
  reason = excluded.reason, detail = excluded.detail, resolved_at = NULL
"""


def list_unrateable(items: Sequence[Item]) -> None:
    """List events that have no price, with the reason."""
    if not items:
        return
    refusals = [i.refusal or ("", "") for i in items]
    columns = [
        [ids.new_id() for _ in items],
        [i.row.tenant_id for i in items],
        [i.row.customer_id for i in items],
        [i.row.id for i in items],
        [reason for reason, _ in refusals],
        [detail[:300] for _, detail in refusals],
    ]
    with sql.cursor() as cursor:
        cursor.execute(UNRATEABLE, [clock.now(), *columns])


QUARANTINE = """
INSERT INTO metering_unrateable (
  id, created_at, tenant_id, customer_id, event_id, reason, detail)
SELECT %b, %b, e.tenant_id, e.customer_id, e.id, 'quarantined', %b
FROM metering_usageevent e WHERE e.id = %b
ON CONFLICT (event_id) DO UPDATE SET
  reason = excluded.reason, detail = excluded.detail, resolved_at = NULL
"""


def quarantine(event_id: uuid.UUID, detail: str) -> None:
    """List an event whose rating failed."""
    with sql.cursor() as cursor:
        cursor.execute(QUARANTINE, [ids.new_id(), clock.now(), detail[:300], event_id])


def announce_costs(items: Sequence[Item], postings: dict[uuid.UUID, Posting]) -> None:
    """Put on the outbox what save_costs() has written of the same items."""
    for item in items:
        posting, cost = postings[item.row.customer_id], item.cost
        topics.tell_cost(
            posting, item, kind="original", currency=cost.currency, amount=cost.amount
        )


def announce_cost_changes(
    items: Sequence[Item], postings: dict[uuid.UUID, Posting]
) -> None:
    """Put on the outbox what save_cost_changes() has appended for the same items."""
    for item in items:
        posting = postings[item.row.customer_id]
        for currency, amount in (item.cost_facts or {}).items():
            topics.tell_cost(
                posting, item, kind="delta", currency=currency, amount=amount
            )


def announce(items: Sequence[Item], postings: dict[uuid.UUID, Posting]) -> None:
    """Put on the outbox what happened: settled requests and the events' figures."""
    for item in items:
        row, posting = item.row, postings[item.row.customer_id]
        if row.request_id:
            posting.settle(row.request_id)
        cost = item.cost_amount
        posting.outbox(
            topics.USAGE,
            {
                "id": row.id.hex,
                "event_id": row.event_id,
                "event_type": row.event_type,
                "customer_id": row.customer_id.hex,
                "agent_id": row.agent_id.hex if row.agent_id else None,
                "session_id": item.session_id.hex if item.session_id else None,
                "model": item.body.properties.get("model", ""),
                "tool_name": row.tool_name,
                "status": row.status,
                "occurred_at": row.occurred_at.isoformat(),
                "currency": item.currency,
                "amount": plain(item.amount),
                "cost": None if cost is None else plain(cost),
                "tokens": item.tokens,
                "unrateable": item.refusal[0] if item.refusal else None,
            },
        )
