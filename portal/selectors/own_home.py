"""What a customer's own people see first: their agents, spend, contracts, credit.

Nothing here reads cost: it is the seller's, and so is the margin.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Max, Sum

from aforo.lib.money import ZERO
from billing import periods
from billing.contracts import plans_of
from billing.models import Agent, BillingPeriod, Customer, UsageTotal, Wallet
from catalog.describe import describe
from metering.models import UsageRollup
from portal.selectors import customers


@dataclass(frozen=True, slots=True)
class Spend:
    """What the period under way comes to so far, in one currency, without tax."""

    currency: str
    usage: Decimal
    recurring: Decimal  # Fixed amounts, minimums not yet among them.

    @property
    def total(self) -> Decimal:
        """Usage and fixed amounts."""
        return self.usage + self.recurring


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent and what its calls came to in the period."""

    agent: Agent
    key_count: int  # Credentials that were not revoked.
    last_used_at: dt.datetime | None
    is_to_the_hour: bool  # Of its events only the hour is known, no key was named.
    event_count: int
    # By currency; empty: nothing was used, None: nothing of it has a price yet.
    spend: list[tuple[str, Decimal | None]]


@dataclass(frozen=True, slots=True)
class Contract:
    """One subscription and its plan in words."""

    product: str
    plan: str
    state: str
    agent: str  # Whose alone it is; empty: the customer's.
    words: str


def spend(customer: Customer, period: BillingPeriod | None) -> list[Spend]:
    """Return the spend of the period by currency, the customer's own first.

    The same counters that spend caps look at; one statement.
    """
    found = {customer.currency: Spend(customer.currency, ZERO, ZERO)}
    rows = UsageTotal.objects.filter(customer=customer, period=period)
    sums = rows.order_by().values("currency")
    for row in sums.annotate(usage=Sum("spend"), fixed=Sum("recurring")):
        found[row["currency"]] = Spend(row["currency"], row["usage"], row["fixed"])
    return list(found.values())


def agents(customer: Customer, period: BillingPeriod | None) -> list[AgentRow]:
    """Return the customer's agents with what each used in the period; three statements.

    Usage is summed by the hours of the period.
    """
    used: dict[uuid.UUID, list[dict[str, Any]]] = {}
    if period is not None:
        rows = UsageRollup.objects.filter(
            customer=customer,
            agent_id__isnull=False,
            hour__gte=period.start_at,
            hour__lt=period.end_at,
        )
        sums = rows.order_by("currency").values("agent_id", "currency")
        for row in sums.annotate(
            amount=Sum("revenue"),
            events=Sum("event_count"),
            rated=Sum("rated_count"),
            last=Max("hour"),
        ):
            used.setdefault(row["agent_id"], []).append(row)
    found = Agent.objects.filter(customer=customer).select_related("team")
    found = found.annotate(last_used=Max("credentials__last_used_at"))
    keys: dict[uuid.UUID, int] = {}
    for key in customer.credentials.filter(revoked_at=None).values_list("agent_id"):
        keys[key[0]] = keys.get(key[0], 0) + 1
    rows_of = [(agent, used.get(agent.pk, [])) for agent in found.order_by("name")]
    listed = [
        AgentRow(
            agent,
            keys.get(agent.pk, 0),
            *_last_used(agent.last_used, [row["last"] for row in rows]),
            sum(row["events"] for row in rows),
            [(row["currency"], _known(row)) for row in rows],
        )
        for agent, rows in rows_of
    ]
    never = dt.datetime.min.replace(tzinfo=dt.UTC)
    return sorted(listed, key=lambda row: row.last_used_at or never, reverse=True)


def _known(row: Mapping[str, Any]) -> Decimal | None:
    """Return what an agent's usage came to; None when nothing of it was rated."""
    amount: Decimal = row["amount"]
    return amount if amount or row["rated"] > 0 else None


def _last_used(
    key: dt.datetime | None, hours: list[dt.datetime]
) -> tuple[dt.datetime | None, bool]:
    """Return when an agent was last used, and whether only the hour is known.

    `key` is when a key of its own was; `hours` are the last with events in its name.
    """
    hour = max(hours, default=None)
    if hour is None or (key is not None and key >= hour):
        return key, False
    return hour, True


def contracts(customer: Customer) -> list[Contract]:
    """Return the contracts that were not cancelled, each with its plan in words."""
    rows = [s for s in customers.subscriptions(customer) if s.history]
    paid = plans_of(row.history[0] for row in rows)
    return [
        Contract(
            product=row.product.name,
            plan=row.history[0].plan_version.plan.name,
            state=row.state,
            agent=row.agent.name if row.agent else "",
            words=describe(paid[row.history[0].pk].plan),
        )
        for row in rows
        if row.state != "cancelled" and row.history[0].pk in paid
    ]


def overview(customer: Customer, now: dt.datetime) -> dict[str, Any]:
    """Return everything that the page shows."""
    period = periods.find(customer.pk, now)
    return {
        "customer": customer,
        "now": now,
        "period": period,
        "spend": spend(customer, period),
        "agents": agents(customer, period),
        "contracts": contracts(customer),
        "wallets": list(Wallet.objects.filter(customer=customer).order_by("currency")),
    }
