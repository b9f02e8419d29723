"""The recorded usage of a month, read again as rating saw it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from typing import Any

import psycopg
from django.db import connection, transaction

from aforo.core import fx
from aforo.lib import sql
from aforo.lib.money import ZERO
from billing import hierarchy, levels
from billing.hierarchy import Course
from billing.models import BillingPeriod
from catalog.pricing import (
    Plan,
    PlanState,
    UsageEvent,
    close_sessions,
    group_of,
    rate_by_level,
    rate_many,
)
from catalog.pricing.bulk import Layout, Tabulation
from catalog.pricing.state import SessionUse
from metering.batch import decode, with_tool
from metering.costing import AMOUNT, CURRENCY, PRICED_WITH
from metering.measurements import priced

# Rows that travel at once, and that are held at once.
FETCH = 5_000
RATE_BATCH = 1_000

# What the month's own invoice charges: late usage stands on a later one.
EVENTS = f"""
SELECT l.subscription_id, e.event_id, e.occurred_at, e.event_type, e.body::text,
  e.agent_id, {AMOUNT}, {CURRENCY},
  l.session_id, e.correlation_id, l.tool_name
FROM billing_ledgerentry l
JOIN metering_usageevent e ON e.id = l.event_id
{PRICED_WITH}
WHERE l.customer_id = %b AND l.billing_period_id = %b AND l.usage_period_id = %b
  AND l.kind = 'usage' AND l.subscription_id = ANY(%b)
  -- What was voided before the invoice; a later void stands on a later one.
  AND NOT EXISTS (SELECT FROM billing_ledgerentry r
    WHERE r.reverses_id = l.id AND r.billing_period_id = l.billing_period_id)
"""  # noqa: S608  # Only constants.
ENDED = """
SELECT id FROM metering_session
WHERE id = ANY(%b) AND state IN ('completed', 'failed', 'expired')
"""
# The order of rating: it decides only which event a limit refuses.
IN_ORDER = " ORDER BY e.id"
# Where spend levels decide, the order is that of time.
BY_TIME = " ORDER BY e.occurred_at, e.event_id"


@dataclass(slots=True)
class Usage:
    """A month's usage under several plans, and what it cost the seller."""

    # By subscription: the state under each plan, in their order.
    states: dict[uuid.UUID, list[PlanState]] = field(default_factory=dict)
    event_count: int = 0
    cost: Decimal = ZERO  # Of the events whose cost is known, in the plans' currency.
    cost_unknown_count: int = 0

    def add(self, other: Usage) -> None:
        """Add the usage of further contracts."""
        self.states |= other.states
        self.event_count += other.event_count
        self.cost += other.cost
        self.cost_unknown_count += other.cost_unknown_count


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the usage of one customer's period and some of its contracts."""

    period: BillingPeriod
    subscriptions: Sequence[uuid.UUID]
    currency: str  # Of the plans; costs are converted to it, each at its own time.
    rates: fx.Rates

    def read(
        self, *, order: str = ""
    ) -> Generator[list[tuple[uuid.UUID, UsageEvent]], None, None]:
        """Yield the events with their subscriptions, some thousand at a time.

        The rows come through a cursor of the server, inside one transaction that is
        open until the generator is closed.
        """
        period = self.period
        args = [period.customer_id, period.pk, period.pk, list(self.subscriptions)]
        agents: dict[uuid.UUID, Course] = {}
        with transaction.atomic():
            with sql.cursor() as cursor:
                # All rows are wanted, not the first few soon.
                cursor.execute("SET LOCAL cursor_tuple_fraction = 1")
            rows = psycopg.ServerCursor(connection.connection, "aforo_history")
            with rows:
                rows.execute(EVENTS + order, args, binary=True)
                segment = hierarchy.segments([period.customer_id])[period.customer_id]
                while chunk := rows.fetchmany(FETCH):
                    _learn(agents, chunk)
                    yield [(row[0], self._event(row, agents, segment)) for row in chunk]

    def _event(
        self, row: Sequence[Any], agents: dict[uuid.UUID, Course], segment: Course
    ) -> UsageEvent:
        """Return an event as rating priced it."""
        _, event_id, at, event_type, text, agent_id, cost, currency, *held = row
        session_id, correlation_id, tool = held
        body = decode(text)
        properties = with_tool(body.properties, tool)
        if agent_id is not None:
            facts = agents[agent_id].at(at)
            properties |= hierarchy.facets(facts, segment.at(at))
        if cost is not None and currency != self.currency:
            cost = self.rates.convert(
                cost,
                tenant_id=self.period.tenant_id,
                base=currency,
                quote=self.currency,
                at=at,
            )
        return UsageEvent(
            event_id,
            at,
            event_type,
            properties,
            priced({n: Decimal(v) for n, v in body.measurements.items()}),
            cost,
            session_id.hex if session_id else "",
            correlation_id,
        )


def _learn(agents: dict[uuid.UUID, Course], chunk: Sequence[Sequence[Any]]) -> None:
    """Read what filters may ask of agents that were not met before."""
    new = {row[5] for row in chunk if row[5] is not None} - agents.keys()
    if new:
        agents.update(hierarchy.agents(new))


def measure(
    reader: Reader, layout: Layout, *, beat: Callable[[], None] = lambda: None
) -> Usage:
    """Return the usage of a month under the plans of a layout.

    One pass adds the events up; plans under which that does not answer are rated
    event by event in a second one. `beat` is called now and then on the way.
    """
    usage = Usage()
    tables = {key: Tabulation(layout) for key in reader.subscriptions}
    with contextlib.closing(reader.read()) as chunks:
        for chunk in chunks:
            batches: dict[uuid.UUID, list[UsageEvent]] = {}
            for key, event in chunk:
                batches.setdefault(key, []).append(event)
                if event.cost is None:
                    usage.cost_unknown_count += 1
                else:
                    usage.cost += event.cost
            usage.event_count += len(chunk)
            for key, events in batches.items():
                tables[key].add(events)
            beat()
    found = {key: table.states() for key, table in tables.items()}
    tables.clear()
    open_ones = {
        key: [i for i, state in enumerate(states) if state is None]
        for key, states in found.items()
    }
    plans = [division.plan for division in layout.divisions]
    for levelled in (False, True):
        due = {
            key: [i for i in own if bool(plans[i].levels) is levelled]
            for key, own in open_ones.items()
        }
        if any(due.values()):
            _rate_singly(reader, plans, found, due, beat, levelled=levelled)
    usage.states = {
        key: [
            _with_ended(plan, state)
            for plan, state in zip(plans, states, strict=True)
            if state is not None
        ]
        for key, states in found.items()
    }
    return usage


def _with_ended(plan: Plan, state: PlanState) -> PlanState:
    """Return the usage with the sessions that have ended by now closed."""
    groups = {
        found[1]
        for key, used in state.items()
        if isinstance(used, SessionUse) and (found := group_of(key))
    }
    if not groups:
        return state
    with sql.cursor() as cursor:
        rows = cursor.execute(ENDED, [[uuid.UUID(hex=group) for group in groups]])
        ended = [session.hex for (session,) in rows.fetchall()]
    return close_sessions(plan, state, ended)[1]


def _rate_singly(
    reader: Reader,
    plans: Sequence[Plan],
    found: dict[uuid.UUID, list[PlanState | None]],
    open_ones: dict[uuid.UUID, list[int]],
    beat: Callable[[], None],
    *,
    levelled: bool,
) -> None:
    """Fill in the states that are open, event by event in the order of rating.

    Those under plans with spend levels in the order of time, with what was spent.
    """
    standings = levels.supposed(open_ones, plans)
    now = {(k, i): standings[k] for k, own in open_ones.items() for i in own}
    for key, indexes in open_ones.items():
        for index in indexes:
            found[key][index] = {}
    order = BY_TIME if levelled else IN_ORDER
    with contextlib.closing(reader.read(order=order)) as chunks:
        for chunk in chunks:
            batches: dict[uuid.UUID, list[UsageEvent]] = {}
            for key, event in chunk:
                if open_ones[key]:
                    batches.setdefault(key, []).append(event)
            for key, events in batches.items():
                for index in open_ones[key]:
                    state = found[key][index] or {}
                    rest = iter(events)
                    while batch := list(islice(rest, RATE_BATCH)):
                        if levelled:
                            before = now[key, index]
                            rated = rate_by_level(plans[index], state, batch, before)
                            now[key, index] = replace(before, spend=rated.spend)
                            state = rated.after
                        else:
                            _, state = rate_many(plans[index], state, batch)
                    found[key][index] = state
            beat()
