"""Revenue, cost and margin of a span of time, always from the same sources.

Revenue = rated usage (hourly rollups) + the recurring amounts of the billing periods
that are in force at the end of the span. Cost = the known cost of that usage.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import TruncDay

from aforo.lib.money import ZERO
from billing.models import UsageTotal
from metering.models import UsageRollup

TICK = dt.timedelta(microseconds=1)


class Span(NamedTuple):
    """[start, end) in UTC."""

    start: dt.datetime
    end: dt.datetime

    @property
    def hours(self) -> Q:
        """The condition for rollups of the span: every hour that it touches."""
        return Q(hour__gte=self.start, hour__lt=self.end)

    @property
    def last_hour_end(self) -> dt.datetime:
        """When the last hour that the span touches ends: rollups cover it whole."""
        hour = (self.end - TICK).replace(minute=0, second=0, microsecond=0)
        return hour + dt.timedelta(hours=1)

    @property
    def days(self) -> str:
        """The days in words, without the year: 1–18 Feb."""
        last = self.last_moment
        if last.date() == self.start.date():
            return f"{self.start:%-d %b}"
        if last.month == self.start.month:
            return f"{self.start.day}–{last:%-d %b}"
        return f"{self.start:%-d %b} – {last:%-d %b}"

    @property
    def last_moment(self) -> dt.datetime:
        """The last instant of the span."""
        return self.end - TICK


@dataclass(frozen=True, slots=True)
class Figures:
    """What came in and what it cost, in one currency."""

    currency: str
    revenue: Decimal = ZERO
    cost: Decimal = ZERO  # Of the events whose cost is known.
    event_count: int = 0
    unknown_count: int = 0  # Events whose cost is not known.
    rated_count: int = 0  # Events that have a price, be it 0.

    def __add__(self, other: Figures) -> Figures:
        """Return the sum; both are in one currency."""
        return Figures(
            self.currency,
            self.revenue + other.revenue,
            self.cost + other.cost,
            self.event_count + other.event_count,
            self.unknown_count + other.unknown_count,
            self.rated_count + other.rated_count,
        )

    @property
    def known_revenue(self) -> Decimal | None:
        """The revenue; None when nothing was rated, which is not a revenue of zero."""
        return self.revenue if self.revenue or self.rated_count > 0 else None

    @property
    def known_cost(self) -> Decimal | None:
        """The cost; None when no event's cost is known."""
        if self.event_count and self.unknown_count >= self.event_count:
            return None
        return self.cost

    @property
    def margin(self) -> Decimal | None:
        """Revenue less known cost; None when either is not known."""
        revenue, cost = self.known_revenue, self.known_cost
        return None if revenue is None or cost is None else revenue - cost

    @property
    def margin_ratio(self) -> Decimal | None:
        """Margin over revenue; None without revenue or known cost.

        Where some costs are not known it is at most this: see portal.ui.figures.margin.
        """
        margin = self.margin
        return margin / self.revenue if margin is not None and self.revenue else None

    @property
    def why_unknown(self) -> str:
        """Why cost or margin may be a dash."""
        if self.event_count and self.unknown_count >= self.event_count:
            return "no event's cost is known: cost rates are missing"
        return "no revenue yet" if self.rated_count > 0 else self.why_no_revenue

    @property
    def why_no_revenue(self) -> str:
        """Why the revenue may be a dash."""
        if self.event_count > 0:
            return "nothing is rated: no event has a price yet"
        return "nothing is rated: nothing was used"


def month_to_date(now: dt.datetime) -> Span:
    """Return the calendar month in UTC up to now."""
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Span(start, now)


def same_days_before(span: Span) -> Span:
    """Return as much of the month before as the span covers of its own."""
    start = month_to_date(span.start - dt.timedelta(days=1)).start
    return Span(start, min(start + (span.end - span.start), span.start))


def last_days(now: dt.datetime, days: int) -> Span:
    """Return the last so many calendar days in UTC, today included."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return Span(today - dt.timedelta(days=days - 1), now)


def change(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    """Return the relative change; None when there is nothing to compare with."""
    if now is None or not before:
        return None
    return (now - before) / abs(before)


SUMS: dict[str, Any] = {
    "revenue_sum": Sum("revenue"),
    "cost_sum": Sum("cost"),
    "events": Sum("event_count"),
    "unknown": Sum("cost_unknown_count"),
    "rated": Sum("rated_count"),
}


def figures(row: Mapping[str, Any]) -> Figures:
    """Return the figures of a row that was summed with SUMS."""
    return Figures(
        row["currency"],
        row["revenue_sum"] or ZERO,
        row["cost_sum"] or ZERO,
        row["events"] or 0,
        row["unknown"] or 0,
        row["rated"] or 0,
    )


def fees(at: dt.datetime) -> QuerySet[UsageTotal]:
    """Return the totals whose billing period is in force at an instant."""
    return UsageTotal.objects.filter(period__start_at__lte=at, period__end_at__gt=at)


def of_tenant(span: Span) -> dict[str, Figures]:
    """Return the tenant's figures by currency; two statements."""
    rows = UsageRollup.objects.filter(span.hours).values("currency").annotate(**SUMS)
    found = {row["currency"]: figures(row) for row in rows}
    recurring = (
        fees(span.last_moment).values_list("currency").annotate(Sum("recurring"))
    )
    for currency, amount in recurring:
        fee = Figures(currency, amount or ZERO)
        found[currency] = found.get(currency, Figures(currency)) + fee
    return found


def of_customers(span: Span, ids: Iterable[Any]) -> dict[Any, dict[str, Figures]]:
    """Return figures by customer and currency; two statements."""
    wanted = list(ids)
    rows = UsageRollup.objects.filter(span.hours, customer__in=wanted)
    found: dict[Any, dict[str, Figures]] = {key: {} for key in wanted}
    for row in rows.values("customer_id", "currency").annotate(**SUMS):
        found[row["customer_id"]][row["currency"]] = figures(row)
    recurring = fees(span.last_moment).filter(customer__in=wanted)
    for key, currency, amount in recurring.values_list(
        "customer_id", "currency"
    ).annotate(Sum("recurring")):
        own = found[key]
        own[currency] = own.get(currency, Figures(currency)) + Figures(
            currency, amount or ZERO
        )
    return found


def by_day(span: Span, currency: str, **where: Any) -> dict[dt.date, Figures]:
    """Return the figures of rated usage for every day of the span, empty days too."""
    rows = (
        UsageRollup.objects.filter(span.hours, currency=currency, **where)
        .annotate(day=TruncDay("hour", tzinfo=dt.UTC))
        .values("day", "currency")
        .annotate(**SUMS)
        .order_by("day")
    )
    found = {row["day"].date(): figures(row) for row in rows}
    count = (span.end - span.start).days + 1
    days = [(span.start + dt.timedelta(days=i)).date() for i in range(count)]
    return {day: found.get(day, Figures(currency)) for day in days}


def main_currency(found: Mapping[str, Figures], preferred: str) -> str:
    """Return the currency to show first: the preferred one, or where the money is."""
    if preferred in found or not found:
        return preferred
    return max(found, key=lambda c: found[c].revenue)


def unknown_costs(span: Span, limit: int = 5) -> list[dict[str, Any]]:
    """Return what lacks a cost rate, the most frequent first."""
    rows = UsageRollup.objects.filter(span.hours, cost_unknown_count__gt=0)
    grouped = rows.values("model", "tool_name", "event_type").annotate(
        events=Sum(F("cost_unknown_count"))
    )
    return list(grouped.order_by("-events")[:limit])
