"""Products: what each brings in, its plans in words, and its metrics."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Prefetch, QuerySet

from billing.models import Subscription, SubscriptionSnapshot
from catalog.models import Metric, Plan, PlanVersion, Product
from catalog.plans import describe, load_plans
from metering.models import UsageRollup
from portal.selectors.figures import (
    SUMS,
    Figures,
    Span,
    by_day,
    figures,
    main_currency,
)

TREND_DAYS = 30


@dataclass(slots=True)
class Row:
    """One product as the list shows it."""

    product: Product
    figures: dict[str, Figures]  # Of rated usage, by currency.
    plan_count: int
    subscription_count: int

    def main(self, preferred: str) -> Figures:
        """Return the figures in the preferred currency, or where the money is."""
        currency = main_currency(self.figures, preferred)
        return self.figures.get(currency, Figures(currency))


def rows(products: Sequence[Product], span: Span) -> list[Row]:
    """Return what the list shows of these products; three statements."""
    ids = [p.pk for p in products]
    sums: dict[uuid.UUID, dict[str, Figures]] = {key: {} for key in ids}
    grouped = UsageRollup.objects.filter(span.hours, product_id__in=ids)
    for row in grouped.values("product_id", "currency").annotate(**SUMS):
        sums[row["product_id"]][row["currency"]] = figures(row)
    plans = dict(
        Plan.objects.filter(product__in=ids)
        .order_by()
        .values_list("product")
        .annotate(Count("pk"))
    )
    live = Subscription.objects.filter(product__in=ids)
    live = live.exclude(state=Subscription.State.CANCELLED).order_by()
    contracts = dict(live.values_list("product").annotate(Count("pk")))
    return [
        Row(p, sums[p.pk], plans.get(p.pk, 0), contracts.get(p.pk, 0)) for p in products
    ]


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a plan, with its words and its subscribers."""

    version: PlanVersion
    summary: str  # Empty for a draft.
    subscriber_count: int


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan with its versions, the newest first."""

    plan: Plan
    versions: list[VersionRow]


def plans(product: Product) -> list[PlanRow]:
    """Return the product's plans with every version; four statements."""
    versions = PlanVersion.objects.select_related("published_by").order_by("-number")
    found = list(
        Plan.objects.filter(product=product).prefetch_related(
            Prefetch("versions", versions, to_attr="history")
        )
    )
    every: list[PlanVersion] = [v for plan in found for v in _history(plan)]
    fixed = {v.pk for v in every if v.state != PlanVersion.State.DRAFT}
    priced = load_plans(fixed)
    counts = _subscribers(product)
    return [
        PlanRow(
            plan,
            [
                VersionRow(
                    v,
                    describe(priced[v.pk].plan) if v.pk in priced else "",
                    counts.get(v.pk, 0),
                )
                for v in _history(plan)
            ],
        )
        for plan in found
    ]


def _history(plan: Any) -> list[PlanVersion]:
    """Return the prefetched versions of a plan."""
    history: list[PlanVersion] = plan.history
    return history


def _subscribers(product: Product) -> dict[uuid.UUID, int]:
    """Return how many live subscriptions are on each plan version."""
    latest = (
        SubscriptionSnapshot.objects.filter(subscription__product=product)
        .exclude(subscription__state=Subscription.State.CANCELLED)
        .order_by("subscription_id", "-number")
        .distinct("subscription_id")
        .values_list("plan_version", flat=True)
    )
    counts: dict[uuid.UUID, int] = {}
    for version in latest:
        if version is not None:
            counts[version] = counts.get(version, 0) + 1
    return counts


def metrics(product: Product) -> QuerySet[Metric]:
    """Return the metrics that the product's published plans charge for."""
    codes: set[str] = set()
    published = PlanVersion.objects.filter(
        plan__product=product, state=PlanVersion.State.PUBLISHED
    )
    for body in published.values_list("body", flat=True):
        for charge in body.get("charges", ()):
            metric = charge.get("metric") or {}
            codes.add(metric.get("key", "") if isinstance(metric, dict) else metric)
    return Metric.objects.filter(code__in=codes)


def trend(product: Product, span: Span, currency: str) -> dict[dt.date, Figures]:
    """Return the product's rated usage by day."""
    return by_day(span, currency, product_id=product.pk)
