"""Filters that lead from a figure to the events behind it.

They have no box of their own: a figure's link names them, the form keeps them.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import django_filters
from django import forms
from django.db.models import Exists, OuterRef, Q, QuerySet

from aforo.lib import ids
from billing.models import LedgerEntry
from catalog.models import ToolName
from metering.blocks import UNREAD
from metering.models import CostFact, Unrateable
from metering.sessions import ERRORS

Rows = QuerySet[Any]
# What `without` may name, and the condition for events that lack it.
LACKS = {
    "customer": Q(customer=None),
    "product": Q(product=None),
    "team": Q(team=None),
    "agent": Q(agent=None),
    "tool": Q(tool_name=""),
    "type": Q(event_type=""),
    "model": Q(body__properties__model__isnull=True) | Q(body__properties__model=""),
}
DAY_LENGTH = len("2026-11-27")
NO_PROVIDER = Q(body__properties__provider__isnull=True) | Q(
    body__properties__provider=""
)


def _hidden() -> django_filters.CharFilter:
    """Return a filter without a box; its method is filter_behind."""
    return django_filters.CharFilter(method="filter_behind", widget=forms.HiddenInput())


def _at(text: str, *, is_end: bool) -> dt.datetime | None:
    """Return an instant of an address, or None when it is none.

    A day alone is meant whole: as the end of a span it is the instant after it.
    """
    try:
        at = dt.datetime.fromisoformat(text)
        if is_end and len(text) == DAY_LENGTH:
            at += dt.timedelta(days=1)
        return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


class InstantField(forms.CharField):
    """A day or an instant of an address; a text that is none is refused."""

    def clean(self, value: Any) -> str:
        """Return the text; raises ValidationError."""
        text: str = super().clean(value)
        if text and _at(text, is_end=True) is None:
            raise forms.ValidationError(
                f"“{text[:40]}” is no day or time, such as 2026-11-27 or"
                " 2026-11-27T08:00Z. Nothing is listed."
            )
        return text


class InstantFilter(django_filters.CharFilter):  # type: ignore[misc]
    """One end of a span; it has no box."""

    field_class = InstantField


def _end(label: str) -> InstantFilter:
    """Return the filter of one end of a span."""
    widget = forms.HiddenInput()
    return InstantFilter(method="filter_behind", label=label, widget=widget)


class BehindFigures(django_filters.FilterSet):  # type: ignore[misc]
    """Events by what the analytics pages break down by."""

    agent = _hidden()
    team = _hidden()
    model = _hidden()
    provider = _hidden()
    measurement = _hidden()
    without = _hidden()
    outcome = _hidden()
    cost = _hidden()
    currency = _hidden()
    void = _hidden()
    since = _end("From")
    until = _end("Until")

    def filter_queryset(self, queryset: Rows) -> Rows:
        """Keep what all filters keep; a span with an end that is none has nothing."""
        rows: Rows = super().filter_queryset(queryset)
        wrong = {"since", "until"} & set(self.form.errors)
        return rows.none() if wrong else rows

    def filter_tool(self, rows: Rows, name: str, value: str) -> Rows:
        """Keep the calls of a tool, under every name that it has had."""
        names = ToolName.objects.filter(tool__name=value).values("name")
        return rows.filter(Q(tool_name=value) | Q(tool_name__in=names))

    def filter_behind(self, rows: Rows, name: str, value: str) -> Rows:
        """Keep the events that a figure counts; a value that is none keeps none."""
        if name in ("agent", "team"):
            prefix = "agt" if name == "agent" else "tem"
            return rows.filter(**{f"{name}_id": ids.parse_public(prefix, value)})
        if name in ("since", "until"):
            at = _at(value, is_end=name == "until")
            way = "gte" if name == "since" else "lt"
            return rows.filter(**{f"occurred_at__{way}": at}) if at else rows.none()
        if name == "void":
            return rows.filter(void__isnull=True) if value == "no" else rows.none()
        if name == "without":
            return self._without(rows, value.split(","))
        if name == "outcome":
            return rows.filter(status__in=ERRORS) if value == "failed" else rows.none()
        if name == "measurement":
            return rows.filter(body__measurements__has_key=value)
        if name == "model":
            return rows.filter(body__properties__model=value)
        return self._by_books(rows, name, value)

    def _by_books(self, rows: Rows, name: str, value: str) -> Rows:
        """Keep events by what their cost or their ledger entry says."""
        facts = CostFact.objects.filter(event=OuterRef("pk"))
        if name == "provider":
            costed = Exists(facts.filter(kind="original", provider=value))
            own = Q(body__properties__provider=value)
            return rows.filter(own | (NO_PROVIDER & Q(costed)))
        if name == "cost" and value == "reported":
            return rows.filter(Exists(facts.filter(reported__isnull=False)))
        if name == "cost" and value == "no_rate":
            listed = Unrateable.objects.filter(event=OuterRef("pk"), resolved_at=None)
            unread = Exists(listed.filter(reason__in=UNREAD))
            return self._by_books(rows, name, "unknown").filter(
                ~unread, void__isnull=True
            )
        if name == "cost":
            known = Exists(facts.filter(amount__isnull=False))
            return rows.filter(Exists(facts), ~known)
        booked = LedgerEntry.objects.filter(event_id=OuterRef("pk"))
        unrated = ~Exists(booked) & Q(Exists(facts.filter(currency=value)))
        return rows.filter(Exists(booked.filter(currency=value)) | unrated)

    def _without(self, rows: Rows, names: list[str]) -> Rows:
        """Keep the events that lack each of the dimensions."""
        for name in names:
            if name == "provider":
                facts = CostFact.objects.filter(event=OuterRef("pk"), kind="original")
                rows = rows.filter(NO_PROVIDER, Exists(facts.filter(provider="")))
            elif name in LACKS:
                rows = rows.filter(LACKS[name])
        return rows
