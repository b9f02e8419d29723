"""The charts of the pages; each has a caption with its finding and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import template
from django.utils.safestring import SafeString

from portal.ui import charts

register = template.Library()

# Rows of a chart: label, value (a Decimal or int), text (as written), url (optional).
Rows = Sequence[Mapping[str, Any]]


@register.simple_tag
def sparkline(values: Sequence[Decimal | int], label: str) -> SafeString:
    """A small course of values: {% sparkline days "Revenue of the last 14 days" %}."""
    return charts.sparkline(values, label)


@register.inclusion_tag("includes/chart_columns.html")
def columns(
    rows: Rows, caption: str, head: str = "Day", unit: str = ""
) -> dict[str, Any]:
    """Values over time as upright bars: {% columns days "Busiest on 14 Mar" %}."""
    return {
        "plot": charts.columns([row["value"] for row in rows], caption),
        "rows": rows,
        "first": rows[0] if rows else None,
        "last": rows[-1] if rows else None,
        "caption": caption,
        "head": head,
        "unit": unit or "Value",
    }


@register.inclusion_tag("includes/chart_bars.html")
def bars(rows: Rows, caption: str = "", head: str = "Part") -> dict[str, Any]:
    """Values side by side as lying bars with their text: {% bars models "…" %}."""
    top = max((Decimal(row["value"]) for row in rows), default=Decimal(0))
    drawn = [dict(row, bar=charts.bar(row["value"], top)) for row in rows]
    return {"rows": drawn, "caption": caption, "head": head}


@register.inclusion_tag("includes/chart_share.html")
def share_bar(rows: Rows, caption: str, head: str = "Part") -> dict[str, Any]:
    """How a whole is made up: {% share_bar parts "Tokens are 71 % of cost" %}."""
    marked = [
        dict(row, mark=charts.MARKS[i % 6], series=f"s{i % 6 + 1}")
        for i, row in enumerate(rows)
    ]
    plot = charts.share([row["value"] for row in rows], caption)
    return {"rows": marked, "plot": plot, "caption": caption, "head": head}


@register.inclusion_tag("includes/gauge.html")
def gauge(
    label: str,
    used: Decimal,
    limit: Decimal | None,
    text: str,
    warn_at: Decimal = Decimal("0.8"),
) -> dict[str, Any]:
    """How much of a limit is used: {% gauge "Daily cap" used cap "$1 of $25" %}."""
    plot = charts.meter(used, limit, warn_at, label) if limit else ""
    portion = charts.share_of(used, limit) if limit else None
    return {"label": label, "text": text, "plot": plot, "portion": portion}


@register.inclusion_tag("includes/chart_series.html")
def series_chart(
    steps: Sequence[str],
    rows: Rows,
    caption: str,
    head: str = "Day",
    as_lines: bool = False,
) -> dict[str, Any]:
    """Several courses, stacked or as lines: {% series_chart days parts "…" %}.

    Rows: label, values and texts (one for each step), text (the sum as written).
    """
    draw = charts.lines if as_lines else charts.stacked
    marked = [
        dict(row, mark=charts.MARKS[i % 6], series=f"s{i % 6 + 1}")
        for i, row in enumerate(rows)
    ]
    table = [(step, [r["texts"][i] for r in rows]) for i, step in enumerate(steps)]
    return {
        "plot": draw([row["values"] for row in rows], caption),
        "rows": marked,
        "first": steps[0] if steps else "",
        "last": steps[-1] if steps else "",
        "table": table,
        "caption": caption,
        "head": head,
    }
