"""Corrections of costs and what-if questions: asked for, watched, read."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Abs, Cast, Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.roles import SIMULATE, role_required
from aforo.lib import ids
from aforo.lib.models import MoneyField
from aforo.lib.money import ZERO, plain
from billing.models import Customer
from catalog import costs
from catalog.cost_context import provider_name
from metering import cost_jobs
from metering.cost_what_if import margin, price_needed
from metering.models import CostRun, CostRunRow
from portal import csvs, keyset, paging
from portal.context import acting_tenant
from portal.pages import find, person, posted
from portal.ranges import DAY, instant
from portal.selectors import what_if
from portal.what_if_form import WhatIfForm, read_month

CSV_HEAD = (
    "customer customer_id currency events moved cost_before cost_after cost_change"
    " revenue margin_before margin_after margin_to_hold revenue_needed price_change"
    " unknown_before unknown"
).split()
PAGE_SIZE = 50
ASKED = ("customer", "product", "model", "target", "change", "margin")


@role_required(*SIMULATE)
@require_http_methods(["GET", "POST"])
def migration(request: HttpRequest) -> HttpResponse:
    """Ask what a month would have cost on another model or at another price."""
    tenant = acting_tenant(request)
    months = what_if.months()
    text = (posted(request) or request.GET).get("month", "")
    day = read_month(text) or what_if.default_month(months)
    initial = {n: request.GET[n] for n in ASKED if n in request.GET}
    seen = what_if.month(day)
    if seen.models and "model" not in initial:
        # The most used one: what it costs matters most.
        initial["model"] = seen.models[0].value
    form = WhatIfForm(
        posted(request),
        initial={**initial, "month": f"{day:%Y-%m}"},
        month=seen,
        targets=what_if.targets(tenant.pk),
        book=costs.load([tenant.pk])[tenant.pk],
    )
    if form.is_bound and form.is_valid():
        return redirect("cost-run", _request(request, form).public_id)
    runs = CostRun.objects.filter(kind=CostRun.Kind.WHAT_IF)
    context = {
        "form": form,
        "day": day,
        "seen": seen,
        "months": months if day in dict(months) else [(day, 0), *months],
        "problem": text if text and read_month(text) is None else "",
        "page": keyset.page(runs, request.GET, size=20),
    }
    status = 422 if form.errors else 200
    return render(request, "portal/migration.html", context, status=status)


def _request(request: HttpRequest, form: WhatIfForm) -> CostRun:
    """Start the question that the form asks."""
    given, tenant = form.cleaned_data, acting_tenant(request)
    customer, product, model = given["customer"], given["product"], given["model"]
    target, change, margin = given["target"], given["change"], given["margin"]
    since = what_if.month_start(given["month"])
    moved = model.model if model else "every model"
    what = f"{moved} → {target.model}" if target else f"{moved} {change:+}%"
    who = "".join(f", {row}" for row in (product and product.label, customer) if row)
    return cost_jobs.request(
        tenant=tenant,
        kind=CostRun.Kind.WHAT_IF,
        title=f"{since:%B %Y}: {what}{who}",
        actor=person(request),
        customer_id=customer.pk if customer else None,
        params={
            "since": since.isoformat(),
            "until": what_if.month_end(given["month"]).isoformat(),
            "model": model.model if model else "",
            "provider": model.provider if model else "",
            "target": target.model if target else "",
            "target_provider": provider_name(target.provider) if target else "",
            "factor": plain(1 + (change or ZERO) / 100),
            "product": str(product.key) if product else "",
            "currency": tenant.currency,
            "margin": "" if margin is None else plain(margin / 100),
            # What the form says, to ask again with one thing changed.
            "asked": {n: form.data.get(n, "") for n in ("month", *ASKED)},
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
        rows = _rows(found)
        page = paging.page(rows, order="-effect", query=request.GET, size=PAGE_SIZE)
        context["page"] = page
        if found.kind == CostRun.Kind.WHAT_IF:
            context["total"] = _total(found)
            context["rows"] = [
                (r.customer, figures(found, r.figures or {}), behind(found, r.customer))
                for r in page.rows
            ]
            context["behind"] = behind(found)
            context["again"] = urlencode(found.params.get("asked", {}))
        else:
            context["changes"] = _amounts(found.result)
            context["rows"] = [
                (r.customer, r.figures, _amounts(r.figures or {})) for r in page.rows
            ]
    return render(request, "portal/cost_run.html", context)


def _rows(found: CostRun) -> QuerySet[CostRunRow]:
    """Return the customers of an answer with `effect`, which is never null.

    It is by how much money their cost changes, either way, so that who is affected
    most comes first; of a correction it is how many events changed.
    """
    rows = CostRunRow.objects.filter(cost_run=found).select_related("customer")
    if found.kind != CostRun.Kind.WHAT_IF:
        return rows.annotate(effect=_figure("changed"))
    return rows.annotate(effect=Abs(_figure("after_cost") - _figure("before")))


def _figure(name: str) -> Any:
    """Return a figure of a row as a number for the database; zero where it lacks."""
    text = Cast(KeyTextTransform(name, "figures"), MoneyField())
    return Coalesce(text, ZERO, output_field=MoneyField())


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
    """Return the figures of a what-if answer: costs, margins, and the price needed.

    `needed` is the revenue at which the margin is the one to hold: the one that was
    asked for, else the row's own as it was; None: there is no such price.
    """
    before, after = Decimal(row.get("before", "0")), Decimal(row.get("after_cost", "0"))
    revenue = Decimal(row.get("revenue", "0"))
    asked = found.params["margin"]
    target = Decimal(asked) if asked else margin(revenue, before)
    needed = price_needed(after, target)
    # Runs of before events with a price were counted tell only the sum.
    rated = row.get("rated", 1)
    return {
        **row,
        "shown_revenue": revenue if revenue or rated else None,
        "not_known": max(row.get("unknown", 0), row.get("unknown_before", 0)),
        "before": before,
        "after": after,
        "change": after - before,
        "ratio": (after - before) / before if before else None,
        "revenue": revenue,
        "margin_before": margin(revenue, before),
        "margin_after": margin(revenue, after),
        "target": target,
        "needed": needed,
        "price_change": _change(needed, revenue),
    }


def _change(needed: Decimal | None, revenue: Decimal) -> Decimal | None:
    """Return by which share prices change; None: it cannot be said."""
    return (needed - revenue) / revenue if revenue and needed is not None else None


def _total(found: CostRun) -> dict[str, Any]:
    """Return the figures of all customers; the revenue needed is the rows' sum."""
    total = figures(found, found.result or {})
    rows = CostRunRow.objects.filter(cost_run=found).values_list("figures", flat=True)
    needs = [figures(found, row or {})["needed"] for row in rows]
    total["needed"] = sum((need for need in needs if need is not None), ZERO)
    total["no_price"] = sum(need is None for need in needs)
    total["price_change"] = _change(total["needed"], total["revenue"])
    total["holds"] = not found.params["margin"]
    return total


def behind(found: CostRun, customer: Customer | None = None) -> dict[str, str]:
    """Return where the figures of an answer lead: its events, its costs."""
    since = dt.datetime.fromisoformat(found.params["since"])
    until = dt.datetime.fromisoformat(found.params["until"])
    chosen = {n: found.params.get(n, "") for n in ("model", "provider")}
    if customer:
        chosen["customer"] = customer.public_id
    if product := found.params.get("product"):
        chosen["product"] = ids.public("prd", uuid.UUID(product))
    said = {name: text for name, text in chosen.items() if text}
    days = {"from": f"{since:%Y-%m-%d}", "to": f"{until - DAY:%Y-%m-%d}"}
    events = {**said, "since": instant(since), "until": instant(until)}
    if product:
        events["product"] = product  # The list chooses it by its own key.
    cogs = {**said, "period": "custom", **days, "by": "model"}
    return {
        "events": f"{reverse('events')}?{urlencode(events)}",
        "costs": f"{reverse('cogs')}?{urlencode(cogs)}",
    }


@role_required(*SIMULATE)
@require_GET
def run_csv(request: HttpRequest, public_id: str) -> HttpResponse:
    """Give a what-if answer by customer, as CSV."""
    found = find(CostRun.objects.filter(kind=CostRun.Kind.WHAT_IF), "crn", public_id)
    rows = paging.sort(_rows(found), "-effect")

    def cells(row: CostRunRow) -> list[Any]:
        shown = figures(found, row.figures or {})
        return [
            row.customer.name,
            row.customer.public_id,
            found.params["currency"],
            shown.get("events"),
            shown.get("moved"),
            shown["before"],
            shown["after"],
            shown["change"],
            shown["shown_revenue"],
            shown["margin_before"],
            shown["margin_after"],
            shown["target"],
            shown["needed"],
            shown["price_change"],
            shown.get("unknown_before"),
            shown.get("unknown"),
        ]

    return csvs.response("migration.csv", CSV_HEAD, map(cells, rows.iterator(500)))
