"""The course of usage over a span: hours, days or weeks, the largest values apart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models.functions import TruncDay, TruncHour, TruncWeek

from aforo.lib.money import ZERO
from metering.models import UsageRollup
from portal.selectors.analytics import (
    DIMENSIONS,
    Choice,
    Row,
    read_sums,
    sums_of,
    value_text,
)
from portal.selectors.figures import Span

TOP = 5
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
STEPS: dict[str, Any] = {"hour": TruncHour, "day": TruncDay, "week": TruncWeek}


def _buckets(span: Span, step: str) -> list[dt.datetime]:
    """Return the starts of the hours, days or weeks that a span touches."""
    at = span.start.replace(minute=0, second=0, microsecond=0)
    width = HOUR if step == "hour" else DAY
    if step != "hour":
        at = at.replace(hour=0)
    if step == "week":
        at -= at.weekday() * DAY
        width = 7 * DAY
    found = []
    while at < span.end:
        found.append(at)
        at += width
    return found


@dataclass(frozen=True, slots=True)
class Series:
    """The course of one value of a dimension."""

    label: str
    values: list[Decimal]

    @property
    def total(self) -> Decimal:
        """The sum of the course."""
        return sum(self.values, ZERO)


def series(
    name: str, choice: Choice, *, step: str, measure: str, rows: Sequence[Row]
) -> tuple[list[dt.datetime], list[Series]]:
    """Return the course of the first rows, and of all others together.

    One statement. `measure` is a field of Sums; the rows are those of `breakdown`.
    """
    column = DIMENSIONS[name].column
    grouped = (
        UsageRollup.objects.filter(choice.where(choice.span))
        .annotate(at=STEPS[step]("hour", tzinfo=dt.UTC))
        .order_by()
        .values("at", column)
        .annotate(**sums_of(choice.quantity, measure))
    )
    buckets = _buckets(choice.span, step)
    place = {at: index for index, at in enumerate(buckets)}
    top = {row.value: row.label for row in rows[:TOP]}
    courses = {value: [ZERO] * len(buckets) for value in [*top, ""]}
    for found in grouped:
        value = value_text(name, found[column])
        amount = Decimal(getattr(read_sums(found, choice.currency), measure))
        courses[value if value in top else ""][place[found["at"]]] += amount
    result = [Series(label, courses[value]) for value, label in top.items()]
    if len(rows) > TOP:
        result.append(Series(f"{len(rows) - TOP} others", courses[""]))
    return buckets, result
