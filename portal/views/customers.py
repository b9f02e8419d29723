"""Customers: the list with its figures, and the same rows as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aforo.core.roles import staff_required
from aforo.lib import clock, ids
from billing.models import (
    Customer,
    Subscription,
)
from catalog.models import Plan
from portal import csvs, paging
from portal.selectors import customers, figures
from portal.selectors.figures import Span

SORTS = {
    "name": "name",
    "revenue": "sort_revenue",
    "cost": "sort_cost",
    "margin": "sort_margin",
    "wallet": "sort_wallet",
    "last_event": "sort_last_event",
}
DEFAULT_SORT = "-revenue"
CSV_STEP = 500


def _segments(request: HttpRequest | None) -> list[tuple[str, str]]:
    """Return the segments in use."""
    found = Customer.objects.exclude(segment="").order_by("segment")
    return [(s, s) for s in found.values_list("segment", flat=True).distinct()]


class CustomerFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the customers, all in the address."""

    q = django_filters.CharFilter(
        label="Search",
        method="filter_text",
        widget=forms.TextInput({"type": "search", "placeholder": "Name or id"}),
    )
    state = django_filters.ChoiceFilter(
        choices=Customer.State.choices, empty_label="Any state"
    )
    segment = django_filters.ChoiceFilter(
        choices=lambda: _segments(None), empty_label="Any segment"
    )
    plan = django_filters.ModelChoiceFilter(
        queryset=lambda request: Plan.objects.order_by("name"),
        label="Plan",
        method="filter_plan",
        empty_label="Any plan",
    )

    class Meta:
        model = Customer
        fields: tuple[str, ...] = ()

    def filter_text(
        self, rows: QuerySet[Customer], name: str, value: str
    ) -> QuerySet[Customer]:
        """Keep customers with the text in their name, or of that id."""
        own = ids.parse_public("cus", value)
        match = Q(name__icontains=value) | Q(legal_name__icontains=value)
        match |= Q(external_id=value)
        return rows.filter(match | Q(pk=own) if own else match)

    def filter_plan(
        self, rows: QuerySet[Customer], name: str, value: Plan
    ) -> QuerySet[Customer]:
        """Keep customers with a live subscription on any version of the plan."""
        live = Subscription.objects.filter(snapshots__plan_version__plan=value)
        live = live.exclude(state=Subscription.State.CANCELLED)
        return rows.filter(pk__in=live.values("customer"))


def _filtered(request: HttpRequest, span: Span) -> tuple[CustomerFilter, str]:
    """Return the filtered customers and the order in force."""
    order = paging.chosen_order(request.GET, SORTS, DEFAULT_SORT)
    key = next(k for k, f in SORTS.items() if f == order.removeprefix("-"))
    rows = customers.sortable(Customer.objects.all(), key, span)
    return CustomerFilter(request.GET, queryset=rows, request=request), order


@staff_required
@require_GET
def table(request: HttpRequest) -> HttpResponse:
    """Show the customers with their month to date."""
    span = figures.month_to_date(clock.now())
    found, order = _filtered(request, span)
    page = paging.page(found.qs, order=order, query=request.GET)
    context = {
        "filter": found,
        "page": page,
        "rows": customers.rows(page.rows, span),
        "span": span,
        "is_filtered": any(request.GET.get(name) for name in found.filters),
        "default_sort": DEFAULT_SORT,
    }
    return render(request, "portal/customers.html", context)


CSV_HEAD = [
    "customer_id",
    "external_id",
    "name",
    "state",
    "segment",
    "plans",
    "currency",
    "revenue_mtd",
    "cost_mtd",
    "margin_mtd",
    "events_without_cost",
    "wallet_balance",
    "last_event_utc",
]


@staff_required
@require_GET
def table_csv(request: HttpRequest) -> HttpResponse:
    """Give exactly the filtered customers as CSV."""
    span = figures.month_to_date(clock.now())
    found, order = _filtered(request, span)
    rows = list(paging.sort(found.qs, order)[: csvs.ROWS_MAX + 1])
    return csvs.response("customers.csv", CSV_HEAD, _csv_rows(rows, span))


def _csv_rows(found: list[Customer], span: Span) -> Iterator[list[Any]]:
    """Yield the customers as CSV rows, a bounded number at a time."""
    for at in range(0, len(found), CSV_STEP):
        for row in customers.rows(found[at : at + CSV_STEP], span):
            customer = row.customer
            yield [
                customer.public_id,
                customer.external_id,
                customer.name,
                customer.state,
                customer.segment,
                "; ".join(row.plans),
                customer.currency,
                row.figures.known_revenue,
                row.figures.known_cost,
                row.figures.margin,
                row.figures.unknown_count,
                row.wallet,
                row.last_event_at,
            ]
