"""Everything about one customer: key figures on top, and the tab of the address."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET

from aforo.core.models import AuditEntry
from aforo.core.roles import ACCOUNTS, MONEY, OPERATE, SIMULATE, staff_required
from aforo.lib import clock, ids
from aforo.lib.money import display
from billing import periods
from billing.contracts import plans_of
from billing.models import (
    Agent,
    Credential,
    CreditGrant,
    Customer,
    Invoice,
    Subscription,
    Team,
    Wallet,
    WalletEntry,
)
from billing.own_prices import own_keys
from catalog.describe import describe
from metering.models import Session
from portal import keyset, paging
from portal.pages import admin_url, find, may
from portal.selectors import (
    customer_agents,
    customer_guard,
    customer_wallet,
    customers,
    figures,
    margins,
    tiers,
)
from portal.selectors.cogs import FLOOR
from portal.selectors.customer_guard import Counted
from portal.selectors.customer_wallet import Standing
from portal.selectors.figures import Figures, Span
from portal.templatetags.aforo_ui import status
from portal.ui import figures as words
from portal.views.contract_pages import CONTRACTS
from portal.views.own_prices import commitment_words

HIERARCHY, USAGE, EVENTS = "hierarchy", "usage", "events"
# In the order of the page; the three above are pages of their own.
TABS = (
    ("overview", "Overview"),
    (USAGE, "Usage"),
    ("invoices", "Invoices"),
    ("wallet", "Wallet ledger"),
    (HIERARCHY, "Hierarchy and keys"),
    ("sessions", "Sessions"),
    (EVENTS, "Events"),
    ("activity", "Activity"),
)
TIMELINE_ROWS = 12
# Reasons of the guard that the key figure names; the list behind it has all.
REASONS_SHOWN = 3


@staff_required
@require_GET
def customer(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show one customer: key figures, and the tab of the address."""
    found = find(Customer.objects.select_related("books"), "cus", public_id)
    tab = request.GET.get("tab", "overview")
    if tab == "keys":  # As the page of teams and keys was called before.
        return redirect("hierarchy", public_id=found.public_id)
    if tab not in TAB_CONTEXT:
        tab = "overview"
    context = frame(request, found, tab)
    context |= TAB_CONTEXT[tab](request, found, context)
    return render(request, f"portal/customer_{tab}.html", context)


def _tabs(found: Customer, tab: str) -> list[dict[str, Any]]:
    """Return the tabs; usage, events and the hierarchy are pages of their own."""
    path = reverse("customer", args=[found.public_id])
    only = urlencode({"customer": found.public_id})
    elsewhere = {
        HIERARCHY: reverse("hierarchy", args=[found.public_id]),
        USAGE: f"{reverse('usage')}?{only}&by=agent&currency={found.currency}",
        EVENTS: f"{reverse('events')}?{only}",
    }
    return [
        {
            "label": label,
            "url": elsewhere.get(key) or f"{path}?tab={key}",
            "current": key == tab,
        }
        for key, label in TABS
    ]


def frame(request: HttpRequest, found: Customer, tab: str) -> dict[str, Any]:
    """Return what every page of a customer shows around its own part.

    `span` is the month to date, `guard` and `guard_by_agent` today's decisions.
    """
    now = clock.now()
    span = figures.month_to_date(now)
    guard, by_agent = customer_guard.today(found, now)
    period = periods.find(found.pk, now)
    return {
        "customer": found,
        "tab": tab,
        "tabs": _tabs(found, tab),
        "span": span,
        "span_note": f"{span.days}, UTC",
        "plans": customers.plans_in_force(found),
        "period": period,
        # Whole days, the first one included, and how many the period has.
        "period_day": (now - period.start_at).days + 1 if period else None,
        "period_days": (
            round((period.end_at - period.start_at).total_seconds() / 86_400)
            if period
            else None
        ),
        "admin_url": admin_url(found),
        "upcoming_url": reverse("upcoming", args=[found.public_id]),
        "may_pay": may(request, MONEY),
        "may_operate": may(request, OPERATE),
        "may_agree": may(request, CONTRACTS),
        "may_add": may(request, ACCOUNTS),
        "may_see_costs": may(request, SIMULATE),
        "guard": guard,
        "guard_by_agent": by_agent,
        "guard_note": _guard_note(guard),
        **_key_figures(found, span),
        **_wallet_figures(found, span),
    }


def _key_figures(found: Customer, span: Span) -> dict[str, Any]:
    """Return revenue, cost and margin with their courses and what is behind them."""
    before = figures.same_days_before(span)
    now = figures.of_customers(span, [found.pk])[found.pk]
    then = figures.of_customers(before, [found.pk])[found.pk]
    empty = Figures(found.currency)
    mine, was = now.get(found.currency, empty), then.get(found.currency, empty)
    # A month in which nothing was used says nothing to compare with.
    known = bool(was.event_count)
    days = figures.by_day(
        figures.last_days(span.end, 30), found.currency, customer=found
    )
    only = urlencode({"customer": found.public_id, "currency": found.currency})
    return {
        "now": mine,
        "others": [f for c, f in sorted(now.items()) if c != found.currency],
        "compared": f"vs {before.days}",
        "cost_note": _cost_note(mine),
        "margin_note": _margin_note(mine, was if known else empty),
        "floor": FLOOR,
        "below_floor": (
            None if mine.margin_ratio is None else mine.margin_ratio < FLOOR
        ),
        "revenue_change": figures.change(mine.known_revenue, was.revenue)
        if known
        else None,
        "cost_change": figures.change(mine.known_cost, was.known_cost)
        if known
        else None,
        "course": [f.revenue for f in days.values()],
        "cost_course": [f.cost for f in days.values()],
        "usage_url": f"{reverse('usage')}?{only}&by=agent",
        "costs_url": f"{reverse('cogs')}?{only}&by=agent",
    }


def _cost_note(mine: Figures) -> str:
    """Return that some costs are not known; empty: all are, or none."""
    if not mine.unknown_count or mine.known_cost is None:
        return ""
    text = '<span class="warn">{} events have no known cost</span>'
    return format_html(text, f"{mine.unknown_count:,}")


def _margin_note(mine: Figures, was: Figures) -> SafeString:
    """Return the margin's ratio, and how it moved."""
    moved = ""
    if mine.margin_ratio is not None and was.margin_ratio is not None:
        points = (mine.margin_ratio - was.margin_ratio) * 100
        sign = "▲" if points > 0 else "▼" if points < 0 else "="
        moved = f", {sign} {abs(points):.1f} points"
    return words.margin_note(mine, moved)


def _guard_note(guard: Counted) -> SafeString:
    """Return why the guard refused or slowed, each reason with what is behind it."""
    named = format_html_join(
        ", ",
        '<a href="{}">{} × {}</a>',
        (
            (why.url, f"{why.count:,}", why.words)
            if why.decision == customer_guard.DENY
            else (why.url, f"{why.count:,}", f"slowed by {why.words}")
            for why in guard.reasons[:REASONS_SHOWN]
        ),
    )
    rest = len(guard.reasons) - REASONS_SHOWN
    parts = [named] if named else []
    if rest > 0:
        parts.append(format_html('<a href="{}">{} more reasons</a>', guard.url, rest))
    if guard.degraded:
        parts.append(format_html("{} let through degraded", f"{guard.degraded:,}"))
    if not parts:
        return SafeString("since 00:00 UTC")
    return format_html_join(", ", "{}", ((part,) for part in parts))


def _wallet_figures(found: Customer, span: Span) -> dict[str, Any]:
    """Return where the wallet stands and what its key figure says."""
    standing = customer_wallet.standing(found, span.end)
    url = f"{reverse('customer', args=[found.public_id])}?tab=wallet"
    return {
        "standing": standing,
        "wallet_url": url,
        "wallet_note": _wallet_note(standing) if standing else "",
    }


def _wallet_note(standing: Standing) -> SafeString:
    """Return the equation of a wallet, and how long it lasts."""
    wallet, pending = standing.wallet, standing.pending
    parts = [format_html("settled {}", words.amount(wallet.balance, wallet.currency))]
    if wallet.overdraft_limit:
        amount = words.amount(wallet.overdraft_limit, wallet.currency)
        parts.append(format_html("overdraft +{}", amount))
    if pending is None:
        parts.append(
            format_html("{}", "pending not known: the guard's store is silent")
        )
    else:
        amount = words.amount(pending.amount, wallet.currency)
        calls = f"{pending.calls:,} open call{'' if pending.calls == 1 else 's'}"
        parts.append(format_html("pending −{} in {}", amount, calls))
    note = format_html_join(", ", "{}", ((part,) for part in parts))
    return format_html("{}<br>{}", note, _days_left(standing))


def _days_left(standing: Standing) -> SafeString:
    """Return how long a wallet lasts at the recent pace, as an estimate."""
    pace = display(standing.pace, standing.wallet.currency)
    days = standing.pace_days
    over = "the last day" if days == 1 else f"the last {days} days"
    if standing.days_left is None:
        return format_html("nothing was used from it in {}", over)
    count = f"over {standing.days_left}" if standing.is_long else standing.days_left
    said = f"about {count} day{'' if standing.days_left == 1 else 's'} left"
    shown = status("warn", said) if standing.is_low else format_html("{}", said)
    return format_html("{} at {} a day, as in {} (estimate)", shown, pace, over)


def _overview(
    request: HttpRequest, found: Customer, around: dict[str, Any]
) -> dict[str, Any]:
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
        "margins": margins.of_customer(found),
        "tiers": tiers.of_customer(found, clock.now()),
        "by_agent": customer_agents.by_agent(
            found, around["span"], around["guard_by_agent"]
        ),
        "contracts": contracts,
        "timeline": timeline(found)[:TIMELINE_ROWS],
    }


def _wallet(
    request: HttpRequest, found: Customer, around: dict[str, Any]
) -> dict[str, Any]:
    """Return the wallets' lots and movements."""
    wallets = list(Wallet.objects.filter(customer=found).order_by("currency"))
    entries = WalletEntry.objects.filter(wallet__in=wallets).select_related("wallet")
    lots = CreditGrant.objects.filter(wallet__in=wallets, remaining__gt=0)
    standing: Standing | None = around["standing"]
    return {
        "lasts": _days_left(standing) if standing else "",
        "wallets": wallets,
        "lots": lots.select_related("wallet"),
        "page": keyset.page(entries, request.GET),
    }


def _invoices(
    request: HttpRequest, found: Customer, around: dict[str, Any]
) -> dict[str, Any]:
    """Return the customer's invoices."""
    rows = Invoice.objects.filter(customer=found).select_related("period")
    return {"page": keyset.page(rows, request.GET)}


def _sessions(
    request: HttpRequest, found: Customer, around: dict[str, Any]
) -> dict[str, Any]:
    """Return the customer's sessions, the latest first."""
    rows = Session.objects.filter(customer=found).select_related("agent", "product")
    page = paging.page(rows, order="-started_at", query=request.GET)
    return {"page": page}


def _activity(
    request: HttpRequest, found: Customer, around: dict[str, Any]
) -> dict[str, Any]:
    """Return what was done to the customer and what belongs to it."""
    return {"page": keyset.page(_audit_of(found), request.GET)}


TAB_CONTEXT = {
    "overview": _overview,
    "wallet": _wallet,
    "invoices": _invoices,
    "sessions": _sessions,
    "activity": _activity,
}


def _audit_of(found: Customer) -> QuerySet[AuditEntry]:
    """Return the audit of a customer and of its agents, keys, contracts, credit."""
    objects = {found.public_id}
    parts = (Team, Agent, Credential, Subscription, CreditGrant, Wallet, Invoice)
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
    "team": "users",
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
