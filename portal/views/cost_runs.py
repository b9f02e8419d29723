"""Corrections of costs and what-if questions: asked for, watched, read."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.roles import SIMULATE, role_required
from aforo.lib import clock, ids
from aforo.lib.money import ZERO, plain
from billing.models import Customer
from catalog import costs
from catalog.cost_context import Situation, provider_name
from catalog.models import Product
from metering import cost_jobs
from metering.cost_what_if import margin, price_needed
from metering.models import CostRun, CostRunRow
from portal import csvs, keyset
from portal.context import acting_tenant
from portal.cost_forms import MigrationForm
from portal.pages import find, person, posted
from portal.selectors import model_prices

CSV_HEAD = (
    "customer events moved cost_before cost_after revenue margin_before margin_after"
    " unknown_before unknown"
).split()


@role_required(*SIMULATE)
@require_http_methods(["GET", "POST"])
def migration(request: HttpRequest) -> HttpResponse:
    """Ask what a month would have cost on another model or at another price."""
    tenant = acting_tenant(request)
    last = clock.now().date().replace(day=1) - dt.timedelta(days=1)
    names = ("month", "customer", "product", "model", "target")
    initial = {"month": f"{last:%Y-%m}"} | {
        n: request.GET[n] for n in names if request.GET.get(n)
    }
    form = MigrationForm(posted(request), initial=initial)
    if form.is_bound and form.is_valid():
        made = _request(request, form)
        if made is not None:
            return redirect("cost-run", made.public_id)
    runs = CostRun.objects.filter(kind=CostRun.Kind.WHAT_IF)
    context = {
        "form": form,
        "page": keyset.page(runs, request.GET, size=20),
        "models": sorted(model_prices.in_use(tenant.pk, clock.now())),
    }
    status = 422 if form.errors else 200
    return render(request, "portal/migration.html", context, status=status)


def _request(request: HttpRequest, form: forms.Form) -> CostRun | None:
    """Start the question; None when the form says something that is not there."""
    given, tenant = form.cleaned_data, acting_tenant(request)
    customer = product = None
    if given["customer"]:
        key = ids.parse_public("cus", given["customer"])
        customer = Customer.objects.filter(pk=key).first() if key else None
        if customer is None:
            form.add_error("customer", "There is no such customer.")
    if given["product"]:
        key = ids.parse_public("prd", given["product"])
        product = Product.objects.filter(pk=key).first() if key else None
        if product is None:
            form.add_error("product", "There is no such product.")
    target, provider = given["target"].strip(), ""
    if target:
        sheet = costs.load([tenant.pk])[tenant.pk].sheet(target, Situation())
        if not sheet.units:
            form.add_error("target", f"No price of {target} is known.")
        provider = provider_name(sheet.provider)
    if form.errors:
        return None
    since = dt.datetime.combine(given["month"], dt.time(), dt.UTC)
    until = (since + dt.timedelta(days=32)).replace(day=1)
    moved = given["model"] or "all models"
    change = given["change"]
    what = f"{moved} → {target}" if target else f"{moved} {change:+}%"
    who = f", {customer.name}" if customer else ""
    return cost_jobs.request(
        tenant=tenant,
        kind=CostRun.Kind.WHAT_IF,
        title=f"{since:%B %Y}: {what}{who}",
        actor=person(request),
        customer_id=customer.pk if customer else None,
        params={
            "since": since.isoformat(),
            "until": until.isoformat(),
            "model": given["model"],
            "target": sheet.name if target else "",
            "target_provider": provider,
            "factor": plain(1 + (change or ZERO) / 100),
            "product": str(product.pk) if product else "",
            "currency": tenant.currency,
            "margin": plain(given["margin"] / 100),
        },
    )


@role_required(*SIMULATE)
@require_GET
def run(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show how far a run is, or what came out of it."""
    found = find(CostRun.objects.all(), "crn", public_id)
    if getattr(request, "htmx", False):
        answer = render(request, "portal/_cost_run_progress.html", _head(found))
        if not found.is_open:
            answer["HX-Refresh"] = "true"
        return answer
    context = _head(found)
    if found.result is not None:
        rows = CostRunRow.objects.filter(cost_run=found).select_related("customer")
        page = keyset.page(rows, request.GET)
        context["page"] = page
        if found.kind == CostRun.Kind.WHAT_IF:
            context["total"] = figures(found, found.result)
            context["rows"] = [
                (r.customer, figures(found, r.figures or {})) for r in page.rows
            ]
        else:
            context["changes"] = _amounts(found.result)
            context["rows"] = [
                (r.customer, r.figures, _amounts(r.figures or {})) for r in page.rows
            ]
    return render(request, "portal/cost_run.html", context)


def _amounts(result: dict[str, Any]) -> list[tuple[str, Decimal]]:
    """Return changes by currency."""
    return [(money, Decimal(text)) for money, text in result.get("changes", {}).items()]


def _head(found: CostRun) -> dict[str, Any]:
    """Return what is shown of every run."""
    return {
        "run": found,
        "is_what_if": found.kind == CostRun.Kind.WHAT_IF,
        "currency": found.params.get("currency", "USD"),
        "count": Decimal(found.customer_count),
        "done": Decimal(found.done_count),
        "progress": f"{found.done_count:,} of {found.customer_count:,}",
        "calm": Decimal(2),  # No share of progress is alarming.
    }


def figures(found: CostRun, row: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a what-if answer: costs, margins, and the price needed."""
    before, after = Decimal(row.get("before", "0")), Decimal(row.get("after_cost", "0"))
    revenue, target = Decimal(row.get("revenue", "0")), Decimal(found.params["margin"])
    needed = price_needed(after, target)
    return {
        **row,
        "before": before,
        "after": after,
        "change": after - before,
        "ratio": (after - before) / before if before else None,
        "revenue": revenue,
        "margin_before": margin(revenue, before),
        "margin_after": margin(revenue, after),
        "target": target,
        "needed": needed,
        "price_change": (needed - revenue) / revenue if revenue else None,
    }


@role_required(*SIMULATE)
@require_GET
def run_csv(request: HttpRequest, public_id: str) -> HttpResponse:
    """Give a what-if answer by customer, as CSV."""
    found = find(CostRun.objects.filter(kind=CostRun.Kind.WHAT_IF), "crn", public_id)
    rows = CostRunRow.objects.filter(cost_run=found).select_related("customer")

    def cells(row: CostRunRow) -> list[Any]:
        shown = figures(found, row.figures or {})
        return [
            row.customer.name,
            shown.get("events"),
            shown.get("moved"),
            shown["before"],
            shown["after"],
            shown["revenue"],
            shown["margin_before"],
            shown["margin_after"],
            shown.get("unknown_before"),
            shown.get("unknown"),
        ]

    return csvs.response("migration.csv", CSV_HEAD, map(cells, rows.iterator(500)))
