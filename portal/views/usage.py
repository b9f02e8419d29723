"""Usage over time: by product, customer, agent, model, tool, and by measurement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aforo.core.roles import staff_required
from aforo.lib import clock
from aforo.lib.money import ZERO, display
from catalog.models import Metric
from portal import csvs, ranges
from portal.pages import curl
from portal.ranges import Asked
from portal.selectors import analytics, courses, measured
from portal.selectors.analytics import DIMENSIONS, Row
from portal.ui import figures as words
from portal.usage_words import MEASURES, METRIC, METRIC_LABEL, STEPS
from portal.views import saved_views

# A chart of more bars than pixels says nothing.
HOURS_MAX_DAYS = 14
ROWS_MAX = 200
# Where a row leads: what it is made of.
NEXT = {
    "product": "customer",
    "customer": "agent",
    "team": "agent",
    "agent": "model",
    "model": "customer",
    "provider": "model",
    "tool": "agent",
    "type": "product",
}


def _chosen(request: HttpRequest, name: str, known: Any, default: str) -> str:
    """Return what an address chooses, or the default."""
    asked = request.GET.get(name, "")
    return asked if asked in known else default


def _step(request: HttpRequest, asked: Asked) -> str:
    """Return the width of a bar that the span bears."""
    days = (asked.choice.span.end - asked.choice.span.start).days
    default = "hour" if days <= 2 else "day" if days <= 100 else "week"
    step = _chosen(request, "step", STEPS, default)
    return "day" if step == "hour" and days > HOURS_MAX_DAYS else step


def _quantity(request: HttpRequest) -> str:
    """Return the measurement that the chart shows; empty: one of the usual figures."""
    asked = request.GET.get("measure", "")
    return asked[2:102] if asked.startswith("m:") and "\0" not in asked else ""


def _text(value: Decimal, measure: str, currency: str) -> str:
    """Return a figure as charts write it."""
    if measure == "revenue":
        return display(value, currency)
    return words.quantity_text(value)


def _chart(request: HttpRequest, asked: Asked, by: str, rows: list[Row]) -> Any:
    """Return the course of what the table lists."""
    quantity = asked.choice.quantity
    measure = (
        "quantity" if quantity else _chosen(request, "measure", MEASURES, "revenue")
    )
    step = _step(request, asked)
    buckets, found = courses.series(
        by, asked.choice, step=step, measure=measure, rows=rows
    )
    form = "%-d %b, %H:%M" if step == "hour" else "%-d %b"
    currency = asked.choice.currency
    sums = [s.total for s in found]
    name = quantity or MEASURES[measure]
    whole = sum(sums, ZERO)
    caption = (
        f"{name} by {DIMENSIONS[by].label.lower()}: {_text(whole, measure, currency)}"
    )
    if whole and found:
        share = words.percent_text(sums[0] / whole, 0)
        caption += f", of which {found[0].label} {share}"
    return {
        "caption": caption,
        "head": STEPS[step],
        "steps": [f"{at:{form}}" for at in buckets],
        "rows": [
            {
                "label": s.label,
                "values": s.values,
                "text": _text(s.total, measure, currency),
                "texts": [_text(v, measure, currency) for v in s.values],
            }
            for s in found
        ],
    }


def _order(request: HttpRequest, asked: Asked) -> str:
    """Return the figure that orders the rows: the one that the chart shows."""
    if asked.choice.quantity:
        return "quantity"
    return _chosen(request, "measure", MEASURES, "revenue")


def _listed(request: HttpRequest, asked: Asked, by: str) -> list[dict[str, Any]]:
    """Return the rows of the table with where their figures lead."""
    rows = analytics.breakdown(by, asked.choice, order=_order(request, asked))
    found = []
    for row in rows:
        query = request.GET.copy()
        query[by], query["by"] = row.value, NEXT[by]
        found.append(
            {
                "row": row,
                "narrow": f"?{query.urlencode()}",
                "at": ranges.behind(asked, **{by: row.value}),
            }
        )
    return found


def _measured(request: HttpRequest, asked: Asked) -> list[dict[str, Any]]:
    """Return the measurements, each with the metric that counts it."""
    metrics: dict[str, Metric] = {}
    for metric in Metric.objects.order_by("-aggregation", "code"):
        metrics[metric.field] = metric
    found = []
    for row in measured.measured(asked.choice):
        query = request.GET.copy()
        query["by"], query["measure"] = "product", f"m:{row.name}"
        found.append(
            {
                "row": row,
                "metric": metrics.get(row.name),
                "chart": f"?{query.urlencode()}",
                "events": ranges.events_url(asked, measurement=row.name),
                "before": ranges.before_url(asked, measurement=row.name),
            }
        )
    return found


def _strange(request: HttpRequest, quantity: str) -> list[str]:
    """Return what the address asks for that there is not."""
    known: dict[str, tuple[Any, str]] = {
        "by": ({**DIMENSIONS, METRIC: None}, DIMENSIONS["product"].label.lower()),
        "step": (STEPS, "what fits the span"),
    }
    if not quantity:
        known["measure"] = MEASURES, MEASURES["revenue"].lower()
    return ranges.strange(request, known)


@staff_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show usage by one dimension: its course, and a table against the span before."""
    quantity = _quantity(request)
    asked = ranges.ask(request, quantity=quantity)
    by = _chosen(request, "by", {**DIMENSIONS, METRIC: None}, "product")
    context: dict[str, Any] = {
        "asked": asked,
        "by": by,
        "by_label": DIMENSIONS[by].label if by in DIMENSIONS else METRIC_LABEL,
        "quantity": quantity,
        "measure": request.GET.get("measure", "revenue"),
        "strange": _strange(request, quantity),
        "as_lines": request.GET.get("chart") == "lines",
        "step": _step(request, asked),
        "periods": ranges.PERIODS,
        "dimensions": {
            **{k: d.label for k, d in DIMENSIONS.items()},
            METRIC: METRIC_LABEL,
        },
        "measures": MEASURES,
        "steps": STEPS,
        "chips": ranges.chips(request, asked),
        "period_words": ranges.period_words(asked),
        "now": clock.now(),
        "all": ranges.behind(asked),
        "curl": curl(request.build_absolute_uri("/").rstrip("/")),
        **saved_views.opened(request),
    }
    if by == METRIC:
        context["measured"] = _measured(request, asked)
    else:
        listed = _listed(request, asked, by)
        rows = [entry["row"] for entry in listed]
        now, before = analytics.total(rows, asked.choice.currency)
        context |= {
            "listed": listed[:ROWS_MAX],
            "left_out": len(listed) - ROWS_MAX,
            "total": Row(by, "", "Total", "", now, before),
            "adds_up": now == analytics.whole(asked.choice, asked.choice.span),
            "chart": _chart(request, asked, by, rows) if rows else None,
        }
    return render(request, "portal/usage.html", context)


CSV_HEAD = [
    "from_utc",
    "until_utc",
    "dimension",
    "value",
    "name",
    "currency",
    "revenue",
    "revenue_before",
    "events",
    "events_before",
    "failed_events",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "duration_ms",
]


def _csv_rows(asked: Asked, by: str, rows: Sequence[Row]) -> Iterator[list[Any]]:
    """Return the table as CSV rows."""
    span = asked.choice.span
    for row in rows:
        now, before = row.now, row.before
        cells = [span.start, span.end, by, row.value, row.label, now.currency]
        cells += [now.figures.known_revenue, before.figures.known_revenue]
        cells += [now.events, before.events, now.errors]
        cells += [now.input_tokens, now.output_tokens, now.cached_tokens]
        cells.append(now.duration_ms)
        yield [*cells, now.quantity] if asked.choice.quantity else cells


@staff_required
@require_GET
def table_csv(request: HttpRequest) -> HttpResponse:
    """Give exactly the rows of the table as CSV."""
    asked = ranges.ask(request, quantity=_quantity(request))
    by = _chosen(request, "by", {**DIMENSIONS, METRIC: None}, "product")
    span = asked.choice.span
    if by == METRIC:
        return csvs.response(
            "usage.csv",
            ["from_utc", "until_utc", "measurement", "quantity", "quantity_before"],
            (
                [span.start, span.end, m.name, m.now, m.before]
                for m in measured.measured(asked.choice)
            ),
        )
    rows = analytics.breakdown(by, asked.choice, order=_order(request, asked))
    head = [*CSV_HEAD, asked.choice.quantity] if asked.choice.quantity else CSV_HEAD
    return csvs.response("usage.csv", head, _csv_rows(asked, by, rows))
