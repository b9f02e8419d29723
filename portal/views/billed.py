"""Billed beside collected: rated, invoiced and paid, for each customer and period."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aforo.core.roles import staff_required
from aforo.lib import clock
from portal import csvs
from portal.context import acting_tenant
from portal.selectors import billed
from portal.selectors.billed import Found, Row
from portal.what_if_form import read_month

ROWS_MAX = 200


def _asked(request: HttpRequest) -> tuple[dt.date, str, str]:
    """Return the month of the address, what is searched, and what is no month."""
    text = request.GET.get("month", "")
    day = read_month(text) if text else None
    problem = text if text and day is None else ""
    chosen = day or clock.now().date().replace(day=1)
    return chosen, request.GET.get("q", "").strip()[:120], problem


@staff_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show what was rated, invoiced and paid side by side, with each difference."""
    day, search, problem = _asked(request)
    found: Found = billed.month(day, search)
    months = billed.months()
    context: dict[str, Any] = {
        "day": day,
        "search": search,
        "problem": problem,
        "months": months if day in months else [day, *months],
        "rows": found.rows[:ROWS_MAX],
        "left_out": len(found.rows) - ROWS_MAX,
        "totals": billed.main_first(found.totals, acting_tenant(request).currency),
        "faults": found.faults,
        "now": clock.now(),
    }
    return render(request, "portal/billed.html", context)


CSV_HEAD = (
    "customer customer_id period_start_utc period_end_utc period_state currency"
    " rated_usage rated_fees rated_late rounding rated invoice invoice_state invoiced"
    " difference why tax paid_bought_credit paid_given_credit due credit_bought"
).split()


def _cells(row: Row) -> list[Any]:
    """Return a row as CSV; exact amounts."""
    sums, invoice = row.sums, row.invoice
    return [
        row.customer.name,
        row.customer.public_id,
        row.period.start_at,
        row.period.end_at,
        row.period.state,
        row.currency,
        sums.usage,
        sums.fees,
        sums.late,
        sums.rounding,
        sums.rated,
        invoice.number or "" if invoice else "",
        invoice.state if invoice else "",
        sums.invoiced,
        sums.difference,
        row.why,
        sums.tax,
        sums.credit_bought,
        sums.credit_given,
        sums.due,
        sums.bought,
    ]


@staff_required
@require_GET
def table_csv(request: HttpRequest) -> HttpResponse:
    """Give exactly the rows of the page as CSV."""
    day, search, _ = _asked(request)
    rows = billed.month(day, search).rows
    return csvs.response("billed.csv", CSV_HEAD, map(_cells, rows))
