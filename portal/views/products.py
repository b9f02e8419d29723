"""Products: what is sold, at what prices, and what traffic shows of it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aforo.core.roles import PRICING, staff_required
from aforo.lib import clock
from catalog.models import Product, ProductType
from portal import keyset
from portal.context import acting_tenant
from portal.pages import admin_url, days_of, find, may
from portal.selectors import figures, products, tools
from portal.views.price_lists import public_url

# What each type is, for those who have none yet.
TYPES = (
    (
        ProductType.STANDARD_API,
        "server",
        "Calls of a plain API, billed at the app.",
        "A search API: $2.00 per 1,000 calls.",
    ),
    (
        ProductType.AGENTIC_API,
        "activity",
        "Model calls in an API, billed at the app by tokens and more.",
        "Code completion: $3.00 per 1M input tokens, $15.00 per 1M output tokens.",
    ),
    (
        ProductType.AI_AGENT,
        "bot",
        "An agent that works in sessions, billed at the agent.",
        "A support agent: $0.99 per answer, tool calls included.",
    ),
    (
        ProductType.MCP_SERVER,
        "list-tree",
        "Tools that agents call, billed by tool and session.",
        "A travel server: $0.02 per search, $0.25 per booking.",
    ),
)


@staff_required
@require_GET
def table(request: HttpRequest) -> HttpResponse:
    """Show the products with their month to date."""
    tenant = acting_tenant(request)
    span = figures.month_to_date(clock.now())
    page = keyset.page(Product.objects.all(), request.GET)
    context = {
        "page": page,
        "rows": [
            (row, row.main(tenant.currency)) for row in products.rows(page.rows, span)
        ],
        "span": span,
        "currency": tenant.currency,
        "types": TYPES,
        "may_add": may(request, PRICING),
    }
    return render(request, "portal/products.html", context)


def _tools(
    request: HttpRequest, found: Product, span: figures.Span
) -> dict[str, object]:
    """Return the tabs, and the tools if theirs is open."""
    tab = "tools" if request.GET.get("tab") == "tools" else ""
    names = (("", "Overview", None), ("tools", "Tools", tools.count(found)))
    context: dict[str, object] = {
        "tab": tab,
        "tabs": [
            {"label": label, "url": f"?tab={key}", "current": key == tab, "count": n}
            for key, label, n in names
        ],
        "may_change": may(request, PRICING),
    }
    if tab:
        context["listed"] = tools.listed(found, span)
        context["unlisted"] = tools.unlisted(found, span)
    return context


@staff_required
@require_GET
def product(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show one product: plans in words, metrics, tools and its course."""
    found = find(Product.objects.all(), "prd", public_id)
    tenant = acting_tenant(request)
    now = clock.now()
    span = figures.month_to_date(now)
    recent = figures.last_days(now, products.TREND_DAYS)
    row = products.rows([found], span)[0]
    currency = figures.main_currency(row.figures, tenant.currency)
    days = products.trend(found, recent, currency)
    now_figures = row.figures.get(currency, figures.Figures(currency))
    chart, finding = days_of({d: f.revenue for d, f in days.items()}, currency)
    context = {
        "product": found,
        "row": row,
        "now": now_figures,
        "currency": currency,
        "span": span,
        "recent": recent,
        "plans": products.plans(found),
        "metrics": products.metrics(found),
        **_tools(request, found, recent),
        "days": chart,
        "finding": finding,
        "unknown_note": f"{now_figures.unknown_count:,} events have no known cost"
        if now_figures.unknown_count
        else "",
        "admin_url": admin_url(found) if may(request, PRICING) else "",
        "public_url": public_url(found),
    }
    return render(request, "portal/product.html", context)
