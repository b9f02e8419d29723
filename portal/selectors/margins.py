"""The margin guard of one customer: live figures, kept levels and their history."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from billing.models import Agent, Customer, Subscription
from guard.margin import figures, record, rules
from guard.models import Level, MarginChange, MarginLevel, Scope

HISTORY = 10
AGENTS_SHOWN = 10  # The hardest levels, then those that cost most.


@dataclass(frozen=True, slots=True)
class Row:
    """One subject with what it came to in the period."""

    scope: str
    name: str
    level: str
    revenue: Decimal
    cogs: Decimal
    margin: Decimal | None  # Percent.
    currency: str
    unknown_count: int
    kept: MarginLevel | None


@dataclass(frozen=True, slots=True)
class Margins:
    """What a customer's page shows of its margins."""

    rows: list[Row]
    changes: list[tuple[MarginChange, str]]  # Newest first, with whose it is.


def of_customer(customer: Customer) -> Margins:
    """Return a customer's margins as the guard judges them, and what changed lately."""
    kept = record.known([customer.pk])[customer.pk]
    found = [
        standing
        for _, standings in figures.of_customers([customer.pk])
        for standing in standings
    ]
    rows = MarginChange.objects.filter(customer_id=customer.pk)
    changes = list(rows.order_by("-id")[:HISTORY])
    names = _names(
        customer,
        [one.subject.id for one in found] + [one.subject_id for one in changes],
    )
    shown = [
        Row(
            Scope(one.subject.scope).label,
            names.get(one.subject.id, ""),
            kept[one.subject].level if one.subject in kept else Level.OK,
            one.figures.revenue,
            one.figures.cogs,
            rules.margin(one.figures, one.ladder.free_cogs_allowance),
            one.currency,
            one.figures.cost_unknown_count,
            kept.get(one.subject),
        )
        for one in found
    ]
    others = [row for row in shown if row.scope != Scope.AGENT.label]
    agents = [row for row in shown if row.scope == Scope.AGENT.label]
    agents.sort(key=lambda row: (-rules.SEVERITY[Level(row.level)], -row.cogs))
    shown = [*others, *agents[:AGENTS_SHOWN]]
    return Margins(shown, [(one, names.get(one.subject_id, "")) for one in changes])


def _names(customer: Customer, keys: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return what contracts and agents are called; the customer by its own name."""
    wanted = set(keys)
    contracts = Subscription.objects.filter(pk__in=wanted).select_related("product")
    names = {one.pk: one.product.name for one in contracts}
    names |= dict(Agent.objects.filter(pk__in=wanted).values_list("pk", "name"))
    return {**names, customer.pk: customer.name}
