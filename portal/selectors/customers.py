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
    F,
    OuterRef,
    Prefetch,
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
    Customer,
    Subscription,
    SubscriptionSnapshot,
    Wallet,
)
from catalog.models import PlanVersion
from metering.models import UsageEvent, UsageRollup
from portal.selectors import figures
from portal.selectors.figures import Figures, Span

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


def plans_in_force(customer: Customer) -> list[PlanVersion]:
    """Return the plan versions of the contracts that were not cancelled, once each."""
    versions = [
        s.latest[0].plan_version for s in _live_subscriptions([customer.pk]) if s.latest
    ]
    return list({v.pk: v for v in versions if v is not None}.values())


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
