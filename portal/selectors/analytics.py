"""Usage over a span: by dimension, beside the span before, and over time.

All of it is summed from the hourly sums, in one currency at a time; days are folded
from hours here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import (
    BooleanField,
    DecimalField,
    ExpressionWrapper,
    F,
    Model,
    Q,
    QuerySet,
    Sum,
)
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from aforo.lib import ids
from aforo.lib.money import ZERO
from billing.models import Agent, Customer, Team
from catalog.models import Product
from metering.models import UsageRollup
from portal.selectors.figures import Figures, Span, change

# What stands in an address for "not known".
NONE = "none"
TOKENS: DecimalField[Decimal, Decimal] = DecimalField(max_digits=38, decimal_places=12)


class Dimension(NamedTuple):
    """What usage is broken down by."""

    label: str
    column: str  # Of UsageRollup.
    nothing: str  # What its rows without a value are called.
    of: type[Model] | None = None  # The rows that its values are ids of.


DIMENSIONS: dict[str, Dimension] = {
    "product": Dimension("Product", "product_id", "No product named", Product),
    "customer": Dimension("Customer", "customer_id", "No customer", Customer),
    "team": Dimension("Team", "team_id", "No team named", Team),
    "agent": Dimension("Agent", "agent_id", "No agent named", Agent),
    "model": Dimension("Model", "model", "No model (tools and others)"),
    "provider": Dimension("Provider", "provider", "No provider known"),
    "tool": Dimension("Tool", "tool_name", "No tool"),
    "type": Dimension("Event type", "event_type", "No type"),
}


def value_text(name: str, value: Any) -> str:
    """Return a dimension's value as addresses have it."""
    if value in (None, ""):
        return NONE
    kind = DIMENSIONS[name].of
    return ids.public(kind.public_prefix, value) if kind else str(value)  # type: ignore[attr-defined]


def condition(name: str, text: str) -> Q | None:
    """Return the condition for a value of an address; None when it is no value."""
    dimension = DIMENSIONS[name]
    if text == NONE:
        column = dimension.column
        return Q(**{f"{column}__isnull": True}) if dimension.of else Q(**{column: ""})
    if dimension.of is None:
        return Q(**{dimension.column: text}) if "\0" not in text else None
    key = ids.parse_public(dimension.of.public_prefix, text)  # type: ignore[attr-defined]
    return Q(**{dimension.column: key}) if key else None


@dataclass(frozen=True, slots=True)
class Sums:
    """What a row of a breakdown sums up to, in one currency."""

    currency: str
    events: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    duration_ms: int = 0
    revenue: Decimal = ZERO
    cost: Decimal = ZERO  # Of the events whose cost is known.
    unknown: int = 0  # Events whose cost is not known.
    rated: int = 0  # Events that have a price.
    quantity: Decimal = ZERO  # Of the measurement that was asked for, if one was.

    def __add__(self, other: Sums) -> Sums:
        """Return the sum; both are in one currency."""
        names = [name for name in self.__slots__ if name != "currency"]
        return Sums(
            self.currency, *(getattr(self, n) + getattr(other, n) for n in names)
        )

    @property
    def figures(self) -> Figures:
        """Revenue, cost and margin of it."""
        return Figures(
            self.currency,
            self.revenue,
            self.cost,
            self.events,
            self.unknown,
            self.rated,
        )

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.input_tokens + self.output_tokens

    @property
    def success_ratio(self) -> Decimal | None:
        """The part of the events that did not fail; None without events."""
        if self.events <= 0:
            return None
        return Decimal(self.events - self.errors) / self.events

    @property
    def average_ms(self) -> int | None:
        """The average duration of an event; None when no duration was reported."""
        if self.events <= 0 or not self.duration_ms:
            return None
        return round(self.duration_ms / self.events)

    @property
    def cost_per_call(self) -> Decimal | None:
        """The average cost of the events whose cost is known."""
        known = self.events - self.unknown
        return self.cost / known if known > 0 else None


@dataclass(frozen=True, slots=True)
class Row:
    """One value of a dimension: now, and in the span before."""

    name: str  # The dimension.
    value: str  # As addresses have it.
    label: str
    note: str
    now: Sums
    before: Sums
    url: str = ""  # The page of what it is, if there is one.

    @property
    def revenue_change(self) -> Decimal | None:
        """The relative change of the revenue; None when nothing was rated."""
        return change(self.now.figures.known_revenue, self.before.revenue)

    @property
    def cost_change(self) -> Decimal | None:
        """The relative change of the cost."""
        return change(self.now.cost, self.before.cost)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a page is about: two spans, filters by dimension, a currency."""

    span: Span
    before: Span
    currency: str
    filters: Mapping[str, str] = field(default_factory=dict)
    quantity: str = ""  # A measurement to sum beside the rest.

    def where(self, span: Span) -> Q:
        """Return the condition of the hourly sums."""
        found = span.hours & Q(currency=self.currency)
        for name, text in self.filters.items():
            found &= condition(name, text) or Q(pk=None)
        return found


# Which sums a field of Sums is made of, as far as charts ask for one alone.
SUMMED = {
    "revenue": ["revenue_sum"],
    "cost": ["cost_sum"],
    "events": ["events_sum"],
    "errors": ["errors_sum"],
    "tokens": ["input_sum", "output_sum"],
    "input_tokens": ["input_sum"],
    "output_tokens": ["output_sum"],
    "cached_tokens": ["cached_sum"],
    "quantity": ["quantity_sum"],
}


def _quantity(name: str) -> Any:
    """Return the expression that sums a measurement."""
    if name in ("input_tokens", "output_tokens", "cache_read_tokens"):
        return Sum(Cast(F(name), TOKENS))
    return Sum(Cast(KeyTextTransform(name, "more"), TOKENS))


def sums_of(quantity: str, only: str = "") -> dict[str, Any]:
    """Return what is summed of the hourly sums; `only` for one field of Sums."""
    found: dict[str, Any] = {
        "events_sum": Sum("event_count"),
        "errors_sum": Sum("error_count"),
        "input_sum": Sum("input_tokens"),
        "output_sum": Sum("output_tokens"),
        "cached_sum": Sum("cache_read_tokens"),
        "duration_sum": Sum("duration_ms"),
        "revenue_sum": Sum("revenue"),
        "cost_sum": Sum("cost"),
        "unknown_sum": Sum("cost_unknown_count"),
        "rated_sum": Sum("rated_count"),
    }
    if quantity:
        found["quantity_sum"] = _quantity(quantity)
    return {name: found[name] for name in SUMMED[only]} if only else found


def read_sums(row: Mapping[str, Any], currency: str) -> Sums:
    """Return a summed row; what was not summed is 0."""
    get = row.get
    return Sums(
        currency,
        events=int(get("events_sum") or 0),
        errors=int(get("errors_sum") or 0),
        input_tokens=int(get("input_sum") or 0),
        output_tokens=int(get("output_sum") or 0),
        cached_tokens=int(get("cached_sum") or 0),
        duration_ms=int(get("duration_sum") or 0),
        revenue=get("revenue_sum") or ZERO,
        cost=get("cost_sum") or ZERO,
        unknown=int(get("unknown_sum") or 0),
        rated=int(get("rated_sum") or 0),
        quantity=get("quantity_sum") or ZERO,
    )


def _by(name: str, choice: Choice) -> tuple[dict[Any, Sums], dict[Any, Sums]]:
    """Return the sums by the values of a dimension, now and before; one statement."""
    column = DIMENSIONS[name].column
    rows = UsageRollup.objects.filter(
        choice.where(choice.span) | choice.where(choice.before)
    )
    is_now = ExpressionWrapper(choice.span.hours, BooleanField())
    grouped = rows.annotate(is_now=is_now).order_by().values(column, "is_now")
    now: dict[Any, Sums] = {}
    before: dict[Any, Sums] = {}
    for row in grouped.annotate(**sums_of(choice.quantity)):
        part = now if row["is_now"] else before
        part[row[column]] = read_sums(row, choice.currency)
    return now, before


def _labels(name: str, values: Iterable[Any]) -> dict[Any, tuple[str, str, str]]:
    """Return name, note and page of a dimension's values; one statement at most."""
    kind = DIMENSIONS[name].of
    if kind is None:
        return {}
    found: QuerySet[Any] = kind._default_manager.filter(pk__in=[v for v in values if v])
    if name == "agent":
        found = found.select_related("team", "customer")
    elif name == "team":
        found = found.select_related("customer")
    labels = {}
    for row in found:
        note, url = "", ""
        if name == "agent":
            note = f"{row.team.name}, {row.customer.name}"
        elif name == "team":
            note = row.customer.name
        elif name == "customer":
            note, url = row.segment or row.external_id, f"/customers/{row.public_id}"
        elif name == "product":
            url = f"/products/{row.public_id}"
        labels[row.pk] = (row.name, note, url)
    return labels


def named(name: str, texts: Iterable[str]) -> dict[str, str]:
    """Return what ids of addresses are called, those that exist; one statement."""
    kind = DIMENSIONS[name].of
    assert kind is not None, "a dimension of rows"
    keys = [ids.parse_public(kind.public_prefix, text) for text in texts]  # type: ignore[attr-defined]
    found = _labels(name, [key for key in keys if key])
    return {value_text(name, key): label[0] for key, label in found.items()}


def breakdown(name: str, choice: Choice, *, order: str = "revenue") -> list[Row]:
    """Return the rows of a dimension, the largest first; two statements at most."""
    now, before = _by(name, choice)
    labels = _labels(name, {*now, *before})
    none = Sums(choice.currency)
    rows = []
    for value in {*now, *before}:
        label, note, url = labels.get(
            value, (str(value or "") or DIMENSIONS[name].nothing, "", "")
        )
        if isinstance(value, uuid.UUID) and value not in labels:
            label = DIMENSIONS[name].nothing  # Of a row that is gone.
        text = value_text(name, value)
        rows.append(
            Row(
                name,
                text,
                label,
                note,
                now.get(value, none),
                before.get(value, none),
                url,
            )
        )
    return sorted(
        rows, key=lambda r: (-getattr(r.now, order), -r.now.events, r.label, r.value)
    )


def total(rows: Iterable[Row], currency: str) -> tuple[Sums, Sums]:
    """Return what the rows sum to, now and before."""
    now = before = Sums(currency)
    for row in rows:
        now, before = now + row.now, before + row.before
    return now, before


def whole(choice: Choice, span: Span) -> Sums:
    """Return the sums of a span as one row, without any breakdown; one statement."""
    rows = UsageRollup.objects.filter(choice.where(span))
    return read_sums(rows.aggregate(**sums_of(choice.quantity)), choice.currency)


def currencies(span: Span) -> dict[str, Figures]:
    """Return revenue and events of a span by currency, the most used first."""
    rows = UsageRollup.objects.filter(span.hours).order_by().values("currency")
    found = rows.annotate(
        events_sum=Sum("event_count"), revenue_sum=Sum("revenue"), cost_sum=Sum("cost")
    )
    return {
        row["currency"]: Figures(
            row["currency"], row["revenue_sum"], row["cost_sum"], row["events_sum"]
        )
        for row in sorted(found, key=lambda r: (-r["events_sum"], r["currency"]))
    }


def options(name: str, span: Span) -> list[tuple[str, str]]:
    """Return the values of a dimension that were used in a span, to choose from."""
    column = DIMENSIONS[name].column
    rows = UsageRollup.objects.filter(span.hours).order_by()
    values = list(rows.values_list(column, flat=True).distinct()[:500])
    labels = _labels(name, values)
    nothing = DIMENSIONS[name].nothing
    found = [
        (
            value_text(name, value),
            labels[value][0]
            if value in labels
            else nothing
            if isinstance(value, uuid.UUID)
            else value or nothing,
        )
        for value in values
    ]
    return sorted(found, key=lambda pair: (pair[0] == NONE, pair[1].lower()))
