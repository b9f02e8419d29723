"""What usage costs us: by model, customer, agent and tool, what moved, what is odd."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aforo.core.roles import SIMULATE, role_required
from aforo.lib import clock
from aforo.lib.money import ZERO, display
from portal import csvs, ranges
from portal.context import exists
from portal.ranges import Asked
from portal.selectors import analytics, cogs, courses
from portal.selectors.analytics import DIMENSIONS, Row
from portal.selectors.figures import change
from portal.ui import figures as words

TABS = {
    "model": "By model",
    "customer": "By customer",
    "agent": "By agent",
    "tool": "By tool",
    "product": "By product",
    "provider": "By provider",
}
# The dimensions in which a loss is looked for.
SUSPECTS = ("customer", "agent", "model")
# Where a row of a tab leads: what it is made of.
NEXT = {
    "model": "customer",
    "customer": "agent",
    "agent": "model",
    "tool": "agent",
    "product": "customer",
    "provider": "model",
}
ROWS_MAX = 200
MODEL_PRICES = "/settings/model-prices"


def _by(request: HttpRequest) -> str:
    """Return the dimension of the tab."""
    asked = request.GET.get("by", "")
    return asked if asked in TABS else "model"


def _floor(request: HttpRequest) -> Decimal:
    """Return the margin below which rows are named, as a ratio."""
    try:
        asked = Decimal(request.GET.get("floor") or "nan") / 100
    except InvalidOperation:
        return cogs.FLOOR
    return asked if asked.is_finite() and -10 <= asked <= 1 else cogs.FLOOR


def _fees(asked: Asked) -> cogs.Fees:
    """Return the fees of the span and of the one before; none but of whole months."""
    if not asked.is_month:
        return {}, {}
    choice = asked.choice
    return cogs.fees(choice, choice.span), cogs.fees(choice, choice.before)


def _rows(asked: Asked, by: str, paid: cogs.Fees) -> list[Row]:
    """Return the rows of a tab, with the fees."""
    rows = analytics.breakdown(by, asked.choice, order="cost")
    return cogs.with_fees(by, rows, asked.choice, paid)


def _narrow(request: HttpRequest, row: Row) -> str:
    """Return the page of what a row is made of."""
    query = request.GET.copy()
    query[row.name], query["by"] = row.value, NEXT.get(row.name, "model")
    return f"/analytics/cogs?{query.urlencode()}"


def _entries(request: HttpRequest, asked: Asked, rows: Sequence[Row]) -> list[Any]:
    """Return rows with where their figures lead and what moved them."""
    found = []
    for row in rows:
        own = {row.name: row.value} if row.value else {}
        found.append(
            {
                "row": row,
                "narrow": _narrow(request, row) if row.value else "",
                "at": ranges.behind(asked, **own),
                "moved": row.now.cost - row.before.cost,
                "why": cogs.what_changed(row),
            }
        )
    return found


def _chart(asked: Asked, by: str, rows: Sequence[Row]) -> Any:
    """Return the cost by day of the dearest rows."""
    spending = [row for row in rows if row.value and row.now.cost]
    if not spending:
        return None
    days = (asked.choice.span.end - asked.choice.span.start).days
    step = "day" if days <= 100 else "week"
    buckets, found = courses.series(
        by, asked.choice, step=step, measure="cost", rows=spending
    )
    currency = asked.choice.currency
    whole = sum((s.total for s in found), ZERO)
    caption = f"Cost by {step}: {display(whole, currency)}"
    if whole:
        share = words.percent_text(found[0].total / whole, 0)
        caption += f", of which {found[0].label} {share}"
    return {
        "caption": caption,
        "head": step.title(),
        "steps": [f"{at:%-d %b}" for at in buckets],
        "rows": [
            {
                "label": s.label,
                "values": s.values,
                "text": display(s.total, currency),
                "texts": [display(v, currency) for v in s.values],
            }
            for s in found
        ],
    }


def _concerns(
    request: HttpRequest, asked: Asked, known: dict[str, list[Row]], paid: cogs.Fees
) -> list[dict[str, Any]]:
    """Return what earns too little, by dimension, with what changed."""
    found = []
    floor = _floor(request)
    for name in SUSPECTS:
        own = known[name] if name in known else _rows(asked, name, paid)
        entries = _entries(request, asked, cogs.below(own, floor)[:5])
        if entries:
            found.append({"label": DIMENSIONS[name].label, "entries": entries})
    return found


def _tabs(request: HttpRequest, by: str) -> list[dict[str, Any]]:
    """Return the tabs; the filters stay."""
    found = []
    for key, label in TABS.items():
        query = request.GET.copy()
        query["by"] = key
        url = f"?{query.urlencode()}"
        found.append({"label": label, "url": url, "current": key == by})
    return found


@role_required(*SIMULATE)
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show revenue, cost and margin by one dimension, what moved and what loses."""
    asked = ranges.ask(request)
    by, floor = _by(request), _floor(request)
    paid = _fees(asked)
    rows = _rows(asked, by, paid)
    now, before = analytics.total(rows, asked.choice.currency)
    usage = analytics.whole(asked.choice, asked.choice.span)
    unknown = cogs.unknown(asked.choice)
    context = {
        "asked": asked,
        "by": by,
        "by_label": DIMENSIONS[by].label,
        "strange": ranges.strange(request, {"by": (TABS, TABS["model"].lower())}),
        "floor": floor,
        "floor_percent": f"{floor * 100:f}".rstrip("0").rstrip("."),
        "tabs": _tabs(request, by),
        "periods": ranges.PERIODS,
        "chips": ranges.chips(request, asked),
        "period_words": ranges.period_words(asked),
        "now": clock.now(),
        "entries": _entries(request, asked, rows[:ROWS_MAX]),
        "left_out": len(rows) - ROWS_MAX,
        "total": Row(by, "", "Total", "", now, before),
        "adds_up": (now.cost, now.events) == (usage.cost, usage.events),
        "fees": now.revenue - usage.revenue,
        "revenue_change": change(now.figures.known_revenue, before.revenue),
        "cost_change": change(now.cost, before.cost),
        "chart": _chart(asked, by, rows),
        "movers": _entries(request, asked, cogs.movers(r for r in rows if r.value)),
        "concerns": _concerns(request, asked, {by: rows}, paid),
        "margin_note": words.margin_note(now.figures),
        "unknown": unknown,
        "reported": [
            (row, _reported_url(asked, row)) for row in cogs.reported(asked.choice)
        ],
        "prices_url": MODEL_PRICES if exists(MODEL_PRICES) else "",
        "all": ranges.behind(asked),
        "success_note": f"{words.percent_text(now.success_ratio)} succeeded"
        if now.events
        else "",
        "query": request.GET.urlencode(),
    }
    return render(request, "portal/cogs.html", context)


def _reported_url(asked: Asked, row: cogs.Vendor) -> str:
    """Return the events of a model whose cost its provider reported."""
    own = {"model": row.model or analytics.NONE}
    return ranges.events_url(asked, **own, cost="reported")


@role_required(*SIMULATE)
@require_GET
def anomalies(request: HttpRequest) -> HttpResponse:
    """Show the calls that cost most for their kind; read apart, after the page."""
    asked = ranges.ask(request)
    context = {
        "anomalies": cogs.anomalies(asked.choice),
        "calls": cogs.ANOMALY_CALLS,
        "query": request.GET.urlencode(),
    }
    whole = "portal/cogs_anomalies.html"
    part = request.headers.get("HX-Request")
    return render(request, "portal/_anomalies.html" if part else whole, context)


CSV_HEAD = [
    "from_utc",
    "until_utc",
    "dimension",
    "value",
    "name",
    "currency",
    "calls",
    "failed_calls",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "duration_ms",
    "revenue",
    "cost",
    "cost_unknown_calls",
    "margin",
    "cost_before",
    "what_changed",
]


def _csv_row(asked: Asked, row: Row) -> list[Any]:
    """Return a row of a tab as CSV; what is not known is empty."""
    span, now = asked.choice.span, row.now
    return [
        span.start,
        span.end,
        row.name,
        row.value,
        row.label,
        now.currency,
        now.events,
        now.errors,
        now.input_tokens,
        now.output_tokens,
        now.cached_tokens,
        now.duration_ms,
        now.figures.known_revenue,
        now.figures.known_cost,
        now.unknown,
        now.figures.margin,
        row.before.cost,
        cogs.what_changed(row),
    ]


@role_required(*SIMULATE)
@require_GET
def table_csv(request: HttpRequest) -> HttpResponse:
    """Give exactly the rows of the tab as CSV."""
    asked = ranges.ask(request)
    rows = _rows(asked, _by(request), _fees(asked))
    return csvs.response("cogs.csv", CSV_HEAD, (_csv_row(asked, row) for row in rows))


@role_required(*SIMULATE)
@require_GET
def anomalies_csv(request: HttpRequest) -> HttpResponse:
    """Give exactly the calls that the list of anomalies names, as CSV."""
    found = cogs.anomalies(ranges.ask(request).choice)
    head = "event_id time_utc kind customer agent currency cost usual p99".split()
    rows = (
        [
            row.public_id,
            row.occurred_at,
            row.kind,
            row.customer,
            row.agent,
            row.currency,
            row.cost,
            row.usual,
            row.p99,
        ]
        for row in found
    )
    return csvs.response("anomalies.csv", head, rows)


@role_required(*SIMULATE)
@require_GET
def reported_csv(request: HttpRequest) -> HttpResponse:
    """Give what providers reported beside our cost, as CSV."""
    found = cogs.reported(ranges.ask(request).choice)
    head = "provider model currency calls reported ours gap".split()
    rows = (
        [
            row.provider,
            row.model,
            row.currency,
            row.calls,
            row.reported,
            row.ours,
            row.gap,
        ]
        for row in found
    )
    return csvs.response("reported.csv", head, rows)
