"""The end of sessions: what their share of errors adds is posted, once."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from typing import NamedTuple

from django.db import transaction

from aforo.lib import clock, sql
from billing import books, contracts, group_totals, rating
from billing.contracts import Account
from billing.group_totals import Ended
from billing.ledger import Entry
from billing.rating import Total, TotalKey
from metering import pipeline, topics

log = logging.getLogger(__name__)

# Of one customer at a time; the next run goes on.
SESSIONS_MAX = 1_000

# A paused contract pays for nothing: its sessions wait until it goes on.
DUE = """
FROM billing_grouptotal t
JOIN billing_usagetotal u ON u.id = t.total_id
JOIN billing_subscription b ON b.id = u.subscription_id AND b.state <> 'paused'
JOIN metering_session s ON s.id = t.group_id
WHERE t.settled_at IS NULL AND s.state IN ('completed', 'failed', 'expired')
"""
CUSTOMERS = f"SELECT DISTINCT t.customer_id, t.tenant_id {DUE}"
SESSIONS = f"""
SELECT u.subscription_id, u.snapshot_id, u.period_id, t.total_id, t.charge_key,
  t.group_id, s.agent_id, s.team_id
{DUE} AND t.customer_id = %b ORDER BY t.total_id, t.group_id LIMIT {SESSIONS_MAX}
"""
PRICES = """
UPDATE metering_session s SET price = s.price + r.amount
FROM unnest(%b::uuid[], %b::numeric[]) AS r (id, amount) WHERE s.id = r.id
"""


class Row(NamedTuple):
    """A session's use under one charge, when the session has ended."""

    key: TotalKey
    total_id: uuid.UUID
    charge_key: str
    ended: Ended


def settle() -> int:
    """Settle sessions that have ended; return how many, 0 when none is left.

    Idempotent: each customer's are found again under the lock of the books. One whose
    sessions cannot be settled does not keep the others.
    """
    with sql.cursor() as cursor:
        customers = cursor.execute(CUSTOMERS).fetchall()
    count = 0
    for customer, tenant in customers:
        try:
            count += settle_customer(customer, tenant)
        except pipeline.STORE_FAULTS:
            raise
        except Exception:
            log.exception("sessions of customer %s cannot be settled", customer)
    return count


@transaction.atomic
def settle_customer(customer_id: uuid.UUID, tenant_id: uuid.UUID) -> int:
    """Settle what is due of one customer in one transaction."""
    postings = {p.customer_id: p for p in books.lock([customer_id])}
    rows = _due(customer_id)
    if not rows:
        return 0
    account = contracts.load([(customer_id, tenant_id)])[customer_id]
    totals = rating.load_totals([customer_id], {row.key for row in rows})
    by_id = {total.id: total for total in totals.values()}
    wanted = {(row.total_id, row.charge_key, row.ended.session_id) for row in rows}
    group_totals.read(by_id, wanted)
    posting = postings[customer_id]
    for key, total in sorted(totals.items()):
        ended = {row.ended for row in rows if row.key == key}
        posting.append(*_settle_total(account, total, sorted(ended)))
    rating.save_totals(totals.values())
    group_totals.save(totals.values())
    _add_prices(posting.entries)
    priced = {e.session_id for e in posting.entries if e.session_id is not None}
    topics.tell_sessions(postings, dict.fromkeys(priced, ""))
    pipeline.burn(postings, pipeline.wallets_of(postings))
    posting.touch()
    books.write([posting])
    return len({row.ended.session_id for row in rows})


def _due(customer_id: uuid.UUID) -> list[Row]:
    """Return the ended sessions of a customer that are not settled."""
    with sql.cursor() as cursor:
        found = cursor.execute(SESSIONS, [customer_id]).fetchall()
    return [
        Row(TotalKey(sub, snapshot, period), total, charge, Ended(session, *owner))
        for sub, snapshot, period, total, charge, session, *owner in found
    ]


def _settle_total(account: Account, total: Total, ended: list[Ended]) -> list[Entry]:
    """Settle sessions of one counter row, on the invoice that is open for it."""
    priced = account.plan_of(total.key.snapshot_id)
    if priced is None:  # DUE leaves paused contracts alone, and an end has no usage.
        raise LookupError(f"snapshot {total.key.snapshot_id} has sessions but no plan")
    carrier = account.billing_period(account.period(total.key.period_id), clock.now())
    return group_totals.settle(total, priced.plan, ended, carrier.id)


def _add_prices(entries: Iterable[Entry]) -> None:
    """Add what was posted to the sessions' prices."""
    rows = [(entry.session_id, entry.amount) for entry in entries]
    if rows:
        with sql.cursor() as cursor:
            cursor.execute(PRICES, [list(column) for column in zip(*rows, strict=True)])
