"""A customer's month by agent: figures, what changed, the guard, the ledger's proof."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlencode

from django.db.models import Count, Q, Sum

from aforo.lib.money import ZERO
from billing.models import Agent, Customer, LedgerEntry
from metering.models import UsageRollup
from portal import ranges
from portal.selectors import agent_changes, analytics, figures
from portal.selectors.agent_changes import Change
from portal.selectors.analytics import NONE, Sums
from portal.selectors.cogs import FLOOR
from portal.selectors.customer_guard import Counted
from portal.selectors.figures import Figures, Span

# More rows than these are told as a number; the total is of all of them.
ROWS_MAX = 50


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent's part of a customer's figures; agent None: no agent was named."""

    agent: Agent | None
    label: str
    figures: Figures
    change: Change | None = None  # None: of fees.
    guard: Counted | None = None  # None: no decision today but plain ones.
    change_url: str = ""  # What is behind the change; empty: nothing changed.
    usage_url: str = ""

    @property
    def is_loss(self) -> bool:
        """Whether it costs more than it brings."""
        margin = self.figures.margin
        return margin is not None and margin < 0

    @property
    def is_below_floor(self) -> bool:
        """Whether its margin is below the floor."""
        ratio = self.figures.margin_ratio
        return ratio is not None and ratio < FLOOR


@dataclass(frozen=True, slots=True)
class ByAgent:
    """The figures of a customer by agent, proved against the ledger."""

    rows: list[AgentRow]
    total: Figures
    ledger: Decimal  # The sum of the ledger for the same events and periods.
    ledger_entries: int

    @property
    def agrees(self) -> bool:
        """Whether the rows sum to the ledger, to the last digit."""
        return self.total.revenue == self.ledger

    @property
    def shown(self) -> list[AgentRow]:
        """The rows that a page lists."""
        return self.rows[:ROWS_MAX]

    @property
    def hidden(self) -> int:
        """How many rows a page leaves out."""
        return max(0, len(self.rows) - ROWS_MAX)


def _sums(customer: Customer, span: Span) -> dict[uuid.UUID | None, Sums]:
    """Return the sums of the customer's currency by agent; one statement."""
    rows = UsageRollup.objects.filter(
        span.hours, customer=customer, currency=customer.currency
    )
    grouped = rows.order_by().values("agent_id").annotate(**analytics.sums_of(""))
    return {
        row["agent_id"]: analytics.read_sums(row, customer.currency) for row in grouped
    }


def by_agent(
    customer: Customer, span: Span, guard: Mapping[uuid.UUID | None, Counted]
) -> ByAgent:
    """Return the customer's figures by agent and the ledger's own sum; six statements.

    `guard` are today's decisions by agent. An agent that was used in the same days
    before, or that the guard stopped today, has a row too.
    """
    earlier = figures.same_days_before(span)
    now, before = _sums(customer, span), _sums(customer, earlier)
    ids = {*now, *before, *(key for key, row in guard.items() if row.any)}
    agents = Agent.objects.select_related("team").in_bulk([i for i in ids if i])
    none = Sums(customer.currency)
    parts = []
    for key in ids:
        agent = agents.get(key) if key else None
        mine = now.get(key, none)
        change = agent_changes.largest(mine, before.get(key, none), earlier.days)
        parts.append(
            AgentRow(
                agent,
                agent.name if agent else "No agent named",
                mine.figures,
                change,
                guard.get(key),
                _behind(customer, key, change, span),
                usage_url(customer, key),
            )
        )
    parts.sort(key=lambda r: (-r.figures.revenue, -r.figures.event_count, r.label))
    fees = figures.fees(span.last_moment).filter(
        customer=customer, currency=customer.currency
    )
    periods = list(fees.values_list("period_id", flat=True).distinct())
    recurring = fees.aggregate(total=Sum("recurring"))["total"] or ZERO
    if recurring:
        fee = Figures(customer.currency, recurring)
        parts.append(AgentRow(None, "Recurring fees", fee))
    total = sum((p.figures for p in parts), Figures(customer.currency))
    ledger, entries = _ledger(customer, span, periods)
    return ByAgent(parts, total, ledger, entries)


def _ledger(
    customer: Customer, span: Span, periods: Sequence[uuid.UUID]
) -> tuple[Decimal, int]:
    """Return the ledger's sum and count for a span's events and periods' fees."""
    usage = Q(event_id__isnull=False, occurred_at__gte=span.start)
    usage &= Q(occurred_at__lt=span.last_hour_end)
    fee = Q(kind=LedgerEntry.Kind.RECURRING, usage_period__in=list(periods))
    entries = LedgerEntry.objects.filter(customer=customer, currency=customer.currency)
    sums = entries.filter(usage | fee).aggregate(total=Sum("amount"), count=Count("pk"))
    return sums["total"] or ZERO, sums["count"]


def _query(customer: Customer, agent: uuid.UUID | None) -> dict[str, str]:
    """Return the filters of an analytics page for one agent of a customer."""
    text = analytics.value_text("agent", agent) if agent else NONE
    found = {"customer": customer.public_id, "agent": text}
    return {**found, "currency": customer.currency}


def usage_url(customer: Customer, agent: uuid.UUID | None, by: str = "model") -> str:
    """Return the page of an agent's usage this month."""
    return f"/analytics/usage?{urlencode({**_query(customer, agent), 'by': by})}"


def _behind(
    customer: Customer, agent: uuid.UUID | None, change: Change, span: Span
) -> str:
    """Return where what is behind a change is listed; empty when nothing changed."""
    if not change.name:
        return ""
    if change.behind == agent_changes.USAGE:
        return usage_url(customer, agent)
    if change.behind == agent_changes.COSTS:
        query = {**_query(customer, agent), "by": "model"}
        return f"/analytics/cogs?{urlencode(query)}"
    query = _query(customer, agent)
    if agent is None:
        del query["agent"]
        query["without"] = "agent"
    failed = change.behind == agent_changes.FAILED
    query |= {"outcome": "failed"} if failed else {"cost": "unknown"}
    query["since"] = ranges.instant(span.start)
    query["until"] = ranges.instant(span.last_hour_end)
    query["void"] = "no"
    return f"/events?{urlencode(query)}"
