"""The tools of a product: registered ones, and those that only traffic shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Max, Q, Sum

from aforo.lib import clock
from catalog.models import Product, Tool, ToolName
from catalog.registry import current_name
from metering.models import UsageRollup
from portal.selectors.figures import SUMS, Figures, Span, figures

SHOWN_MAX = 200


@dataclass(frozen=True, slots=True)
class Traffic:
    """What calls under one name, or under all names of a tool, came to."""

    figures: Figures
    error_count: int
    last_hour: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Row:
    """A registered tool with its names and its traffic."""

    tool: Tool
    called: str  # What it is called now.
    names: list[ToolName]
    traffic: list[Traffic]  # One for each currency.

    @property
    def others(self) -> list[ToolName]:
        """The names beside the one that it is called by."""
        return [n for n in self.names if n.name != self.called]


def count(product: Product) -> int:
    """Return how many tools are registered."""
    return Tool.objects.filter(product=product).count()


def listed(product: Product, span: Span) -> list[Row]:
    """Return the registered tools with their traffic; three statements.

    Sums of usage before a name was registered stand under that name: they are shown
    with the tool all the same.
    """
    found = list(Tool.objects.filter(product=product).prefetch_related("names"))
    names = {t.name: t for t in found}
    names |= {n.name: t for t in found for n in t.names.all()}
    sums: dict[Any, dict[str, list[dict[str, Any]]]] = {t.pk: {} for t in found}
    for row in _sums(product, span, Q(tool_name__in=names)):
        by_currency = sums[names[row["tool_name"]].pk]
        by_currency.setdefault(row["currency"], []).append(row)
    now = clock.now()
    rows = [
        Row(
            tool,
            current_name(tool, list(tool.names.all()), now),
            list(tool.names.all()),
            [_together(parts) for parts in sums[tool.pk].values()],
        )
        for tool in found
    ]
    return sorted(rows, key=lambda r: (r.tool.deprecated_at is not None, r.called))


def unlisted(product: Product, span: Span) -> list[tuple[str, Traffic]]:
    """Return the names in traffic that no tool has, the most frequent first."""
    known = Q(tool_name__in=Tool.objects.filter(product=product).values("name"))
    known |= Q(tool_name__in=ToolName.objects.filter(product=product).values("name"))
    rows = _sums(product, span, ~known).order_by("-events")[:SHOWN_MAX]
    return [(row["tool_name"], _together([row])) for row in rows]


def _sums(product: Product, span: Span, which: Q) -> Any:
    """Return the span's hourly sums by tool and currency."""
    rows = UsageRollup.objects.filter(span.hours, product_id=product.pk)
    grouped = rows.filter(~Q(tool_name=""), which).order_by()
    return grouped.values("tool_name", "currency").annotate(
        errors=Sum("error_count"), last=Max("hour"), **SUMS
    )


def _together(parts: Iterable[dict[str, Any]]) -> Traffic:
    """Return the traffic of several names in one currency."""
    first, *others = parts
    whole = dict(first)
    for part in others:
        whole |= {name: whole[name] + part[name] for name in (*SUMS, "errors")}
        whole["last"] = max(whole["last"], part["last"])
    return Traffic(figures(whole), whole["errors"], whole["last"])
