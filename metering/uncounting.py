"""What an event counted, taken back: its cost, its session and its hour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from aforo.core import fx
from aforo.lib import sql
from aforo.lib.money import ZERO
from billing.models import LedgerEntry
from metering import rollups, sessions
from metering.batch import decode
from metering.blocks import UNREAD
from metering.models import (
    CostFact,
    Session,
    Unrateable,
    UsageEvent,
    UsageRollup,
)
from metering.rollups import NOBODY, Delta
from metering.sessions import ENDINGS, ERRORS, TOOL_EVENT

COSTS = """
SELECT f.currency, sum(f.amount), (array_agg(f.provider ORDER BY f.id))[1],
  (array_agg(f.model ORDER BY f.id))[1]
FROM metering_costfact f WHERE f.event_id = %b GROUP BY f.currency
"""


@dataclass(slots=True)
class Counted:
    """What one event added to sums when it came, and to its price since."""

    errors: int
    tools: int
    measurements: Mapping[str, Decimal]
    provider: str  # Of its first cost.
    cost: Decimal | None  # None: not known.

    def whole(self, *names: str) -> int:
        """Return the sum of some measurements."""
        return int(sum((self.measurements.get(name, ZERO) for name in names), ZERO))


def take_back(event: UsageEvent, *, entry: LedgerEntry | None, net: Decimal) -> None:
    """Take an event that was counted out of all sums; `net` moves their prices.

    The books are locked. Costs get a fact with the opposite sum; nothing of the event
    itself is changed.
    """
    cost, currency = _cost_back(event)
    quoted = entry.currency if entry is not None else currency
    if cost is not None and currency != quoted:
        cost = fx.Rates([event.tenant_id]).convert(
            cost,
            tenant_id=event.tenant_id,
            base=currency,
            quote=quoted,
            at=event.occurred_at,
        )
    counted = _counted(event, cost)
    _hour_back(event, counted, entry, quoted, net)
    if event.session_key:
        _session_back(event, counted, net)


def _counted(event: UsageEvent, cost: Decimal | None) -> Counted:
    """Return what the event counted, by its body."""
    first = event.costs.filter(kind=CostFact.Kind.ORIGINAL).first()
    return Counted(
        errors=int(event.status in ERRORS),
        tools=int(event.event_type == TOOL_EVENT),
        measurements=_measured(event),
        provider=first.provider if first else "",
        cost=cost,
    )


def _measured(event: UsageEvent) -> dict[str, Decimal]:
    """Return the measurements that were counted.

    A usage block that was not understood counted nothing, until a replay read it.
    """
    unread = Unrateable.objects.filter(event=event, reason__in=UNREAD, resolved_at=None)
    if unread.exists():
        return {}
    body = decode(json.dumps(event.body))
    return {name: Decimal(text) for name, text in body.measurements.items()}


def _cost_back(event: UsageEvent) -> tuple[Decimal | None, str]:
    """Append the opposite of the event's costs; return what they were."""
    with sql.cursor() as cursor:
        found = cursor.execute(COSTS, [event.pk]).fetchall()
    known = [row for row in found if row[1] is not None]
    for currency, amount, provider, model in known:
        if amount:
            CostFact.objects.create(
                tenant_id=event.tenant_id,
                customer_id=event.customer_id,
                event=event,
                kind=CostFact.Kind.DELTA,
                provider=provider,
                model=model,
                currency=currency,
                amount=-amount,
                occurred_at=event.occurred_at,
            )
    if not known:
        return None, found[0][0] if found else str(event.customer.currency)
    return known[0][1], known[0][0]


def _hour_back(
    event: UsageEvent,
    counted: Counted,
    entry: LedgerEntry | None,
    currency: str,
    net: Decimal,
) -> None:
    """Take the event out of its hour.

    A tool may have been listed under another name since, and an event that had no
    price at first was counted in the currency of its cost: so the row is looked for
    among those of its hour, the likeliest first.
    """
    properties = event.body.get("properties", {})
    rows = list(
        UsageRollup.objects.filter(
            customer_id=event.customer_id,
            hour=event.occurred_at.replace(minute=0, second=0, microsecond=0),
            product_id=event.product_id,
            agent_id=event.agent_id,
            team_id=event.team_id,
            event_type=event.event_type,
            model=properties.get("model", "")[:120],
            provider=(properties.get("provider", "") or counted.provider)[:60],
        ).order_by("id")
    )
    names = [entry.tool_name, event.tool_name] if entry else [event.tool_name]

    def rank(row: UsageRollup) -> tuple[bool, bool, bool, bool]:
        lacks = counted.cost is None and not row.cost_unknown_count
        return (
            row.event_count <= 0,
            row.currency != currency,
            lacks,
            row.tool_name not in names,
        )

    where = min(rows, key=rank)
    back = Delta(event.tenant_id)
    back.count(status=event.status, measurements=counted.measurements, sign=-1)
    back.cost = -(counted.cost or ZERO)
    back.unknown = -int(counted.cost is None)
    deltas = {_key(where): back}
    if entry is not None:
        priced = [row for row in rows if row.currency == currency]

        def rank_of_price(row: UsageRollup) -> tuple[bool, bool, bool]:
            return row.rated_count <= 0, row is not where, row.tool_name not in names

        target = _key(min(priced, key=rank_of_price))
        price = deltas.setdefault(target, Delta(event.tenant_id))
        price.revenue, price.rated = net, -1
    rollups.apply(deltas)


def _key(row: UsageRollup) -> rollups.Key:
    """Return the key of an hourly sum."""
    return rollups.Key(
        row.customer_id,
        row.hour,
        row.product_id or NOBODY,
        row.agent_id or NOBODY,
        row.team_id or NOBODY,
        row.event_type,
        row.model,
        row.provider,
        row.tool_name,
        row.currency,
    )


SESSION = """
UPDATE metering_session SET
  event_count = event_count - 1,
  tool_invocation_count = tool_invocation_count - %(tools)b,
  error_count = error_count - %(errors)b,
  input_tokens = input_tokens - %(input_tokens)b,
  output_tokens = output_tokens - %(output_tokens)b,
  total_duration_ms = total_duration_ms - %(duration_ms)b,
  price = price + %(net)b, cost = cost - %(cost)b,
  cost_unknown_count = cost_unknown_count - %(unknown)b
WHERE id = %(id)b
"""
# What the session's events that are neither void nor waiting say of it.
LEFT = """
SELECT min(e.occurred_at), max(e.occurred_at) FROM metering_usageevent e
WHERE e.customer_id = %b AND e.session_key = %b AND e.session_key <> '' AND e.id <> %b
  AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
  AND EXISTS (SELECT FROM metering_costfact f WHERE f.event_id = e.id)
"""
ENDINGS_LEFT = """
SELECT e.event_type, e.occurred_at FROM metering_usageevent e
WHERE e.customer_id = %b AND e.session_key = %b AND e.session_key <> '' AND e.id <> %b
  AND e.event_type = ANY(%b)
  AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
  AND EXISTS (SELECT FROM metering_costfact f WHERE f.event_id = e.id)
ORDER BY e.id
"""


def _session_back(event: UsageEvent, counted: Counted, net: Decimal) -> None:
    """Take the event out of its session, and its span and end with it."""
    found = Session.objects.filter(
        customer_id=event.customer_id, key=event.session_key
    ).first()
    if found is None:
        return
    with sql.cursor() as cursor:
        cursor.execute(
            SESSION,
            {
                "tools": counted.tools,
                "errors": counted.errors,
                "input_tokens": counted.whole("input_tokens"),
                "output_tokens": counted.whole("output_tokens"),
                "duration_ms": counted.whole("tool_duration_ms", "latency_ms"),
                "net": net,
                "cost": counted.cost or ZERO,
                "unknown": int(counted.cost is None),
                "id": found.pk,
            },
        )
        if event.occurred_at in (found.started_at, found.last_event_at):
            key = [event.customer_id, event.session_key, event.pk]
            row = cursor.execute(LEFT, key).fetchone()
            if row is not None and row[0] is not None:
                cursor.execute(
                    "UPDATE metering_session SET started_at = %b, last_event_at = %b"
                    " WHERE id = %b",
                    [*row, found.pk],
                )
    if event.event_type in ENDINGS:
        _reopen(event, found)


def _reopen(event: UsageEvent, found: Session) -> None:
    """Let a session stand where its other events leave it."""
    if found.state not in set(ENDINGS.values()):
        return  # The beat has moved it since.
    with sql.cursor() as cursor:
        said = cursor.execute(
            ENDINGS_LEFT,
            [event.customer_id, event.session_key, event.pk, list(ENDINGS)],
        ).fetchall()
    state, ended_at = sessions.standing(said)
    Session.objects.filter(pk=found.pk).update(state=state, ended_at=ended_at)
