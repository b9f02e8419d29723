"""Customers: the list, and everything about one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET

from aforo.core.models import AuditEntry
from aforo.core.roles import MONEY, OPERATE, staff_required
from aforo.lib import clock, ids
from billing.contracts import plans_of
from billing.models import (
    Agent,
    Credential,
    CreditGrant,
    Customer,
    Invoice,
    Subscription,
    Wallet,
    WalletEntry,
)
from billing.own_prices import own_keys
from catalog.describe import describe
from catalog.models import Plan
from metering.models import Session
from portal import csvs, keyset, paging
from portal.pages import admin_url, find, may
from portal.selectors import customers, figures
from portal.selectors.figures import Span
from portal.ui import figures as words
from portal.views.contract_pages import CONTRACTS
from portal.views.own_prices import commitment_words

SORTS = {
    "name": "name",
    "revenue": "sort_revenue",
    "cost": "sort_cost",
    "margin": "sort_margin",
    "wallet": "sort_wallet",
    "last_event": "sort_last_event",
}
DEFAULT_SORT = "-revenue"
TABS = (
    ("overview", "Overview"),
    ("keys", "Teams and keys"),
    ("wallet", "Wallet"),
    ("invoices", "Invoices"),
    ("sessions", "Sessions"),
    ("activity", "Activity"),
)
TIMELINE_ROWS = 12
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
                row.figures.revenue,
                row.figures.known_cost,
                row.figures.margin,
                row.figures.unknown_count,
                row.wallet,
                row.last_event_at,
            ]


@staff_required
@require_GET
def customer(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show one customer: key figures, and the tab of the address."""
    found = find(Customer.objects.select_related("books"), "cus", public_id)
    tab = request.GET.get("tab", "overview")
    if tab not in dict(TABS):
        tab = "overview"
    now = clock.now()
    span = figures.month_to_date(now)
    context = {
        "customer": found,
        "tab": tab,
        "tabs": [
            {"label": label, "url": f"?tab={key}", "current": key == tab}
            for key, label in TABS
        ],
        "span": span,
        "span_note": f"{span.days}, UTC",
        "admin_url": admin_url(found),
        "upcoming_url": reverse("upcoming", args=[found.public_id]),
        "may_pay": may(request, MONEY),
        "may_operate": may(request, OPERATE),
        "may_agree": may(request, CONTRACTS),
        **_key_figures(found, span),
        **TAB_CONTEXT[tab](request, found, span),
    }
    return render(request, f"portal/customer_{tab}.html", context)


def _key_figures(found: Customer, span: Span) -> dict[str, Any]:
    """Return what stands on top of every tab."""
    before = figures.same_days_before(span)
    now = figures.of_customers(span, [found.pk])[found.pk]
    then = figures.of_customers(before, [found.pk])[found.pk]
    empty = figures.Figures(found.currency)
    mine, was = now.get(found.currency, empty), then.get(found.currency, empty)
    # A month in which nothing was used says nothing to compare with.
    known = bool(was.event_count)
    days = figures.by_day(
        figures.last_days(span.end, 30), found.currency, customer=found
    )
    guard = customers.guard_today(found, span.end)
    wallet = Wallet.objects.filter(customer=found, currency=found.currency).first()
    return {
        "now": mine,
        "others": [f for c, f in sorted(now.items()) if c != found.currency],
        "compared": f"vs {before.days}",
        "margin_note": _margin_note(mine),
        "wallet": wallet,
        "wallet_note": "enforced by the guard"
        if wallet and wallet.enforced
        else "not enforced by the guard",
        "guard": guard,
        "guard_note": _guard_note(guard),
        "revenue_change": figures.change(mine.revenue, was.revenue) if known else None,
        "cost_change": figures.change(mine.known_cost, was.known_cost)
        if known
        else None,
        "course": [f.revenue for f in days.values()],
        "cost_course": [f.cost for f in days.values()],
    }


def _margin_note(mine: figures.Figures) -> SafeString:
    """Return the margin's ratio, and whether it may be less."""
    ratio = words.percent(mine.margin_ratio, reason=mine.why_unknown)
    if mine.unknown_count and mine.margin is not None:
        return format_html(
            "at most {}: {} events have no known cost", ratio, mine.unknown_count
        )
    return format_html("{} of revenue", ratio)


def _guard_note(guard: customers.GuardToday) -> str:
    """Return what the guard did besides refusing, and why it refused."""
    parts = [f"{guard.throttled:,} throttled"] if guard.throttled else []
    if guard.degraded:
        parts.append(f"{guard.degraded:,} let through degraded")
    if guard.reasons:
        parts.append(f"mostly {guard.reasons[0][0]}")
    return ", ".join(parts) or "since 00:00 UTC"


def _overview(request: HttpRequest, found: Customer, span: Span) -> dict[str, Any]:
    """Return the figures by agent, the contracts and what happened last."""
    contracts = customers.subscriptions(found)
    paid = plans_of(s.history[0] for s in contracts if s.history)
    for contract in contracts:
        latest = contract.history[0] if contract.history else None
        plan = paid.get(latest.pk) if latest else None
        contract.summary = describe(plan.plan) if plan else ""
        contract.currency = plan.currency if plan else ""
        contract.own_count = len(own_keys(latest))
        contract.commitment = commitment_words(latest)
    return {
        "by_agent": customers.by_agent(found, span),
        "contracts": contracts,
        "timeline": timeline(found)[:TIMELINE_ROWS],
    }


def _keys(request: HttpRequest, found: Customer, span: Span) -> dict[str, Any]:
    """Return the teams with their agents and credentials."""
    return {"teams": customers.tree(found)}


def _wallet(request: HttpRequest, found: Customer, span: Span) -> dict[str, Any]:
    """Return the wallets' lots and movements."""
    wallets = list(Wallet.objects.filter(customer=found).order_by("currency"))
    entries = WalletEntry.objects.filter(wallet__in=wallets).select_related("wallet")
    lots = CreditGrant.objects.filter(wallet__in=wallets, remaining__gt=0)
    return {
        "wallets": wallets,
        "lots": lots.select_related("wallet"),
        "page": keyset.page(entries, request.GET),
    }


def _invoices(request: HttpRequest, found: Customer, span: Span) -> dict[str, Any]:
    """Return the customer's invoices."""
    rows = Invoice.objects.filter(customer=found).select_related("period")
    return {"page": keyset.page(rows, request.GET)}


def _sessions(request: HttpRequest, found: Customer, span: Span) -> dict[str, Any]:
    """Return the customer's sessions, the latest first."""
    rows = Session.objects.filter(customer=found).select_related("agent", "product")
    page = paging.page(rows, order="-started_at", query=request.GET)
    return {"page": page}


def _activity(request: HttpRequest, found: Customer, span: Span) -> dict[str, Any]:
    """Return what was done to the customer and what belongs to it."""
    return {"page": keyset.page(_audit_of(found), request.GET)}


TAB_CONTEXT = {
    "overview": _overview,
    "keys": _keys,
    "wallet": _wallet,
    "invoices": _invoices,
    "sessions": _sessions,
    "activity": _activity,
}


def _audit_of(found: Customer) -> QuerySet[AuditEntry]:
    """Return the audit of a customer and of its agents, keys, contracts, credit."""
    objects = {found.public_id}
    parts = (Agent, Credential, Subscription, CreditGrant, Wallet, Invoice)
    for model in parts:
        keys = model._default_manager.filter(customer=found).values_list(
            "pk", flat=True
        )
        objects |= {ids.public(model.public_prefix, key) for key in keys}
    return AuditEntry.objects.filter(object_id__in=objects)


ICONS = {
    "wallet": "wallet",
    "credential": "key-round",
    "subscription": "layers",
    "customer": "building-2",
    "agent": "bot",
    "invoice": "receipt-text",
}


def timeline(found: Customer) -> list[dict[str, Any]]:
    """Return the latest entries of the audit as a timeline."""
    return [
        {
            "at": entry.created_at,
            "text": f"{action_words(entry.action)}: {entry.object_label}",
            "icon": ICONS.get(entry.action.split(".")[0], "circle-dot"),
            "note": entry.actor_label,
        }
        for entry in _audit_of(found)[: TIMELINE_ROWS + 1]
    ]


def action_words(action: str) -> str:
    """Return an action in words: wallet.credit_granted → Wallet credit granted."""
    return action.replace(".", " ").replace("_", " ").capitalize()
