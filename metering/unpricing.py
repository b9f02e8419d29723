"""What an event's price was, taken back: its entry mirrored, and the rest repriced."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from aforo.lib import ids, sql
from aforo.lib.money import ZERO
from billing import contracts, group_totals, rating
from billing.contracts import Account
from billing.ledger import Entry
from billing.models import LedgerEntry, SubscriptionSnapshot
from billing.rating import Total, TotalKey
from catalog.pricing import (
    NO_STEPS,
    Line,
    Plan,
    PlanState,
    UsageEvent,
    close_sessions,
    collect,
    group_of,
    groups_of,
    price,
)
from catalog.pricing.exact import EXACT
from catalog.pricing.removal import without
from metering import models, rated

# One counter row's surviving events, and the event itself.
OF_TOTAL = """
AND l.customer_id = %b AND l.subscription_id = %b AND l.snapshot_id = %b
AND l.usage_period_id = %b AND e.id {} %b
"""
CLOSED = """
SELECT DISTINCT group_id FROM billing_grouptotal
WHERE total_id = %b AND state->>'closed' = 'true'
"""
FORGET = """
DELETE FROM billing_grouptotal t USING unnest(%b::text[], %b::uuid[])
  AS k (charge_key, group_id)
WHERE t.total_id = %b AND t.charge_key = k.charge_key AND t.group_id = k.group_id
"""


class Moved(NamedTuple):
    """What one charge's line changes by."""

    quantity: Decimal
    amount: Decimal


def take_back(
    event: models.UsageEvent, entry: LedgerEntry, account: Account, now: dt.datetime
) -> list[Entry]:
    """Move the event's counter row back; return its reversal and reprice entries.

    The books are locked; the caller appends what is returned. The entries stand in
    the event's own period, on the invoice that is open for it.
    """
    key = TotalKey(entry.subscription_id, entry.snapshot_id, entry.usage_period_id)
    total = rating.load_totals([event.customer_id], [key])[key]
    plan = _plan(entry, account)
    usage = _usage(event, key)
    before = dict(total.state)
    after = _after(plan, total, usage, event)
    carrier = account.billing_period(account.period(key.period_id), now)
    with decimal.localcontext(EXACT):
        moved = _difference(plan, before, after)
        reversal = _mirror(entry, carrier.id, now)
        entries = [reversal, *_reprice(entry, moved, carrier.id, now)]
        _save(total, plan, usage, after, entries)
    return entries


def _plan(entry: LedgerEntry, account: Account) -> Plan:
    """Return what the event was priced by; that of a paused contract is read apart."""
    priced = account.plan_of(entry.snapshot_id)
    if priced is None:
        snapshots = SubscriptionSnapshot.objects.filter(pk=entry.snapshot_id)
        priced = contracts.plans_of(snapshots)[entry.snapshot_id]
    return priced.plan


def _usage(event: models.UsageEvent, key: TotalKey) -> UsageEvent:
    """Return the event as it was priced."""
    where = rated.RATED + OF_TOTAL.format("=") + rated.ORDER
    values = [event.customer_id, *key, event.pk]
    ((_, usage),) = rated.read([event.tenant_id], where, values)
    return usage


def _after(
    plan: Plan, total: Total, usage: UsageEvent, event: models.UsageEvent
) -> PlanState:
    """Return the counter row's usage without the event."""
    if not groups_of(plan, [usage]):
        found = without(plan, total.state, usage)
        if found is not None:
            return found
    where = rated.RATED + OF_TOTAL.format("<>") + rated.ORDER
    values = [event.customer_id, *total.key, event.pk]
    others = [one for _, one in rated.read([event.tenant_id], where, values)]
    state = collect(plan, others)
    with sql.cursor() as cursor:
        closed = cursor.execute(CLOSED, [total.id]).fetchall()
    return close_sessions(plan, state, [session.hex for (session,) in closed])[1]


def _difference(plan: Plan, before: PlanState, after: PlanState) -> dict[str, Moved]:
    """Return what each charge's price changes by, from one usage to another."""
    old: Mapping[str, Line] = {line.charge_key: line for line in price(plan, before)}
    new: Mapping[str, Line] = {line.charge_key: line for line in price(plan, after)}
    moved = {}
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        moved[key] = Moved(
            (b.quantity if b else ZERO) - (a.quantity if a else ZERO),
            (b.amount if b else ZERO) - (a.amount if a else ZERO),
        )
    return moved


def _mirror(entry: LedgerEntry, carrier: uuid.UUID, now: dt.datetime) -> Entry:
    """Return the reversal: the entry with every sign turned."""
    return Entry(
        id=ids.new_id(),
        subscription_id=entry.subscription_id,
        snapshot_id=entry.snapshot_id,
        usage_period_id=entry.usage_period_id,
        billing_period_id=carrier,
        kind=LedgerEntry.Kind.REVERSAL,
        currency=entry.currency,
        amount=-entry.amount,
        charge_keys=entry.charge_keys,
        quantities=[-quantity for quantity in entry.quantities],
        amounts=[-amount for amount in entry.amounts],
        steps=[NO_STEPS] * len(entry.charge_keys),
        occurred_at=now,
        event_id=entry.event_id,
        reverses_id=entry.id,
        event_type=entry.event_type,
        tool_name=entry.tool_name,
        agent_id=entry.agent_id,
        team_id=entry.team_id,
        session_id=entry.session_id,
        spend_level=entry.spend_level,
    )


def _reprice(
    entry: LedgerEntry, moved: Mapping[str, Moved], carrier: uuid.UUID, now: dt.datetime
) -> list[Entry]:
    """Return what the charges change by beyond the reversal, if anything.

    One entry with one part for every charge: what the other events now cost more or
    less because this one is gone.
    """
    rest = dict(moved)
    for key, quantity, amount in zip(
        entry.charge_keys, entry.quantities, entry.amounts, strict=True
    ):
        was = rest.get(key, Moved(ZERO, ZERO))
        rest[key] = Moved(was.quantity + quantity, was.amount + amount)
    parts = {key: part for key, part in sorted(rest.items()) if any(part)}
    if not parts:
        return []
    amounts = [part.amount for part in parts.values()]
    mirror = _mirror(entry, carrier, now)
    return [
        mirror._replace(
            id=ids.new_id(),
            kind=LedgerEntry.Kind.REPRICE,
            amount=sum(amounts, ZERO),
            charge_keys=list(parts),
            quantities=[part.quantity for part in parts.values()],
            amounts=amounts,
            steps=[NO_STEPS] * len(parts),
            reverses_id=None,
        )
    ]


def _save(
    total: Total,
    plan: Plan,
    usage: UsageEvent,
    after: PlanState,
    entries: list[Entry],
) -> None:
    """Write the counter row, and the groups that the event was part of."""
    touched = groups_of(plan, [usage])
    total.state = {k: state for k, state in after.items() if not group_of(k)}
    total.groups = {k: state for k, state in after.items() if k in touched}
    total.spend += sum((entry.amount for entry in entries), ZERO)
    total.event_count -= 1
    get = usage.measurements.get
    total.token_count -= int(get("input_tokens", ZERO) + get("output_tokens", ZERO))
    if usage.cost is None:
        total.cost_unknown_count -= 1
    else:
        total.cost -= usage.cost
    rating.save_totals([total])
    group_totals.save([total])
    gone = [group_of(k) for k in sorted(touched - after.keys())]
    places = [place for place in gone if place is not None]
    if places:
        columns = [[c for c, _ in places], [uuid.UUID(hex=g) for _, g in places]]
        with sql.cursor() as cursor:
            cursor.execute(FORGET, [*columns, total.id])
