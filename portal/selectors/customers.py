"""Customers: the list with its figures, and everything about one of them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import (
    Case,
    Count,
    F,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from aforo.lib.models import MoneyField
from aforo.lib.money import ZERO
from billing.models import (
    Agent,
    Customer,
    LedgerEntry,
    Subscription,
    SubscriptionSnapshot,
    Team,
    UsageTotal,
    Wallet,
)
from guard.models import Decision
from metering.models import UsageEvent, UsageRollup
from portal.selectors import figures
from portal.selectors.figures import SUMS, Figures, Span

# Below every real ratio: customers without a margin come last when sorted by it.
NO_MARGIN = Decimal(-1_000_000)
PLANS_SHOWN = 2
LONG_AGO = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


def _money(value: Any) -> Coalesce:
    """Return an expression as money, absent rows as zero."""
    return Coalesce(value, ZERO, output_field=MoneyField())


def _usage(column: str, span: Span) -> Subquery:
    """Return the sum of a rollup column of the outer customer over the span."""
    rows = UsageRollup.objects.filter(
        span.hours, customer=OuterRef("pk"), currency=OuterRef("currency")
    )
    sums = rows.order_by().values("customer").annotate(total=Sum(column))
    return Subquery(sums.values("total"), output_field=MoneyField())


def _fees(span: Span) -> Subquery:
    """Return the recurring amounts of the outer customer's period in force."""
    rows = figures.fees(span.last_moment).filter(
        customer=OuterRef("pk"), currency=OuterRef("currency")
    )
    sums = rows.order_by().values("customer").annotate(total=Sum("recurring"))
    return Subquery(sums.values("total"), output_field=MoneyField())


def sortable(rows: QuerySet[Customer], key: str, span: Span) -> QuerySet[Customer]:
    """Return the customers with the one annotation that a sort key needs.

    Keys: name, revenue, cost, margin, wallet, last_event (each as `sort_<key>` but
    name). The figures are those of the customer's own currency.
    """
    if key == "name":
        return rows
    if key == "wallet":
        balance = Wallet.objects.filter(
            customer=OuterRef("pk"), currency=OuterRef("currency")
        ).values("balance")[:1]
        return rows.annotate(sort_wallet=_money(Subquery(balance)))
    if key == "last_event":
        last = UsageEvent.objects.filter(customer=OuterRef("pk")).order_by("-id")
        return rows.annotate(
            sort_last_event=Coalesce(
                Subquery(last.values("received_at")[:1]), Value(LONG_AGO)
            )
        )
    revenue = _money(_usage("revenue", span)) + _money(_fees(span))
    cost = _money(_usage("cost", span))
    if key == "margin":
        ratio = Case(
            When(revenue_then=0, then=Value(NO_MARGIN)),
            default=(F("revenue_then") - F("cost_then")) / F("revenue_then"),
            output_field=MoneyField(),
        )
        return rows.annotate(revenue_then=revenue, cost_then=cost).annotate(
            sort_margin=ratio
        )
    return rows.annotate(**{f"sort_{key}": revenue if key == "revenue" else cost})


@dataclass(slots=True)
class Row:
    """One customer as the list shows it."""

    customer: Customer
    figures: Figures
    plans: list[str] = field(default_factory=list)
    wallet: Decimal | None = None  # None: the customer has no wallet.
    last_event_at: dt.datetime | None = None

    @property
    def more_plans(self) -> int:
        """How many plans the list leaves out."""
        return max(0, len(self.plans) - PLANS_SHOWN)


def rows(customers: Sequence[Customer], span: Span) -> list[Row]:
    """Return what the list shows of these customers; five statements."""
    ids = [c.pk for c in customers]
    sums = figures.of_customers(span, ids)
    found = {
        c.pk: Row(c, sums[c.pk].get(c.currency, Figures(c.currency))) for c in customers
    }
    for subscription in _live_subscriptions(ids):
        version = subscription.latest[0].plan_version if subscription.latest else None
        if version is not None:
            found[subscription.customer_id].plans.append(str(version))
    for wallet in Wallet.objects.filter(customer__in=ids):
        if wallet.currency == found[wallet.customer_id].customer.currency:
            found[wallet.customer_id].wallet = wallet.balance
    last = UsageEvent.objects.filter(customer=OuterRef("pk")).order_by("-id")
    times = Customer.objects.filter(pk__in=ids).annotate(
        last_at=Subquery(last.values("received_at")[:1])
    )
    for key, at in times.values_list("pk", "last_at"):
        found[key].last_event_at = at
    return [found[key] for key in ids]


def _live_subscriptions(customer_ids: Sequence[uuid.UUID]) -> list[Any]:
    """Return the customers' subscriptions that were not cancelled, with their plan."""
    latest = SubscriptionSnapshot.objects.select_related("plan_version__plan")
    latest = latest.order_by("subscription_id", "-number").distinct("subscription_id")
    live = Subscription.objects.filter(customer__in=customer_ids).exclude(
        state=Subscription.State.CANCELLED
    )
    return list(
        live.select_related("product", "agent")
        .prefetch_related(Prefetch("snapshots", latest, to_attr="latest"))
        .order_by("started_at")
    )


def subscriptions(customer: Customer) -> list[Any]:
    """Return all contracts of a customer with every snapshot, the newest first."""
    snapshots = SubscriptionSnapshot.objects.select_related("plan_version__plan")
    found = Subscription.objects.filter(customer=customer)
    return list(
        found.select_related("product", "agent")
        .prefetch_related(
            Prefetch("snapshots", snapshots.order_by("-number"), to_attr="history")
        )
        .order_by("state", "-started_at")
    )


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent's part of a customer's figures; agent None: no agent was named."""

    agent: Agent | None
    label: str
    figures: Figures


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


def by_agent(customer: Customer, span: Span) -> ByAgent:
    """Return revenue and cost by agent, and the ledger's own sum; five statements."""
    sums = (
        UsageRollup.objects.filter(
            span.hours, customer=customer, currency=customer.currency
        )
        .values("agent_id", "currency")
        .annotate(**SUMS)
        .order_by("-revenue_sum")
    )
    found = list(sums)
    ids = [row["agent_id"] for row in found]
    agents = Agent.objects.select_related("team").in_bulk([i for i in ids if i])
    parts = []
    for row in found:
        agent = agents.get(row["agent_id"])
        label = agent.name if agent else "No agent named"
        parts.append(AgentRow(agent, label, figures.figures(row)))
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


@dataclass(frozen=True, slots=True)
class GuardToday:
    """What the guard refused or let through in degraded state since 00:00 UTC."""

    denied: int
    throttled: int
    degraded: int
    reasons: list[tuple[str, int]]


def guard_today(customer: Customer, now: dt.datetime) -> GuardToday:
    """Return the guard's decisions on a customer since 00:00 UTC."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    found = Decision.objects.filter(customer_id=customer.pk, decided_at__gte=day)
    grouped = found.values_list("decision", "degraded", "reason_code")
    counts = {"deny": 0, "throttle": 0}
    degraded = 0
    reasons: dict[str, int] = {}
    for decision, is_degraded, reason, count in grouped.annotate(Count("pk")):
        degraded += count if is_degraded else 0
        if decision in counts:
            counts[decision] += count
            reasons[reason] = reasons.get(reason, 0) + count
    ranked = sorted(reasons.items(), key=lambda r: -r[1])
    return GuardToday(counts["deny"], counts["throttle"], degraded, ranked)


def tree(customer: Customer) -> list[Team]:
    """Return the customer's teams with their agents and credentials."""
    agents = Agent.objects.prefetch_related("credentials").order_by("name")
    return list(
        Team.objects.filter(customer=customer)
        .prefetch_related(Prefetch("agents", agents))
        .order_by("name")
    )


def open_totals(customer: Customer, at: dt.datetime) -> QuerySet[UsageTotal]:
    """Return where the customer's subscriptions stand in the period in force."""
    return figures.fees(at).filter(customer=customer).select_related("subscription")
