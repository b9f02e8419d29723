"""Model prices: rates with their time and source, gaps, approvals, and corrections."""

from __future__ import annotations

import logging
from typing import Any

from celery import current_app
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
)

from aforo.core.roles import MONEY, role_required, staff_required
from aforo.lib import clock, ids
from aforo.lib.errors import AforoError
from catalog import cost_rates, cost_sync
from catalog.cost_library import LIBRARY_VERSION
from catalog.models import CostChange, CostRate
from metering import cost_jobs, recosting
from metering.models import CostRun
from portal import csvs, keyset
from portal.context import acting_tenant
from portal.cost_forms import UNITS, CloseForm, RateForm
from portal.pages import find, may, person, posted, refuse
from portal.selectors import model_prices
from portal.views.actions import Deed, ask

log = logging.getLogger(__name__)
TABS = {
    "": "In use",
    "all": "All prices",
    "gaps": "Cost not known",
    "approvals": "To approve",
    "changes": "Changes of the list",
    "corrections": "Corrections",
}


@staff_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show the rates, what has none, and what waits for somebody."""
    tenant, now = acting_tenant(request), clock.now()
    tab = request.GET.get("tab", "")
    tab = tab if tab in TABS else ""
    gaps = model_prices.gaps(tenant.pk, now)
    priceless = [gap for gap in gaps if not gap.unread]
    pending = model_prices.changes(tenant.pk).filter(state=CostChange.State.PENDING)
    context: dict[str, Any] = {
        "tab": tab,
        "tabs": [
            {"label": label, "url": f"?tab={key}", "current": key == tab}
            for key, label in TABS.items()
        ],
        "gaps": gaps,
        "priceless": priceless,
        "priceless_calls": sum(gap.calls for gap in priceless),
        "unread_calls": sum(gap.calls for gap in gaps if gap.unread),
        "pending_count": pending.count(),
        "may_change": may(request, MONEY),
        "has_rates": CostRate.objects.exists(),
        "library_version": LIBRARY_VERSION,
        "search": request.GET.get("q", ""),
    }
    if tab in ("", "all"):
        found = _rates(request, tab)
        shown = list(found[: model_prices.ROWS_MAX + 1])
        context["is_cut"] = len(shown) > model_prices.ROWS_MAX
        rates = shown[: model_prices.ROWS_MAX]
        context["rows"] = model_prices.shown(tenant.pk, rates, now)
    elif tab == "approvals":
        context["changes"] = list(pending[:200])
    elif tab == "changes":
        context["page"] = keyset.page(model_prices.changes(tenant.pk), request.GET)
    elif tab == "corrections":
        runs = CostRun.objects.filter(kind=CostRun.Kind.RECOST)
        context["page"] = keyset.page(runs, request.GET)
    return render(request, "portal/model_prices.html", context)


def _rates(request: HttpRequest, tab: str) -> Any:
    """Return the rates that a tab lists."""
    return model_prices.rates(
        acting_tenant(request).pk,
        clock.now(),
        search=request.GET.get("q", "").replace("\0", ""),
        everything=tab == "all",
    )


@staff_required
@require_GET
def page_csv(request: HttpRequest) -> HttpResponse:
    """Give exactly what a tab of the page lists, as CSV."""
    tenant, tab = acting_tenant(request), request.GET.get("tab", "")
    changes = model_prices.changes(tenant.pk)
    if tab == "gaps":
        rows = map(model_prices.gap_cells, model_prices.gaps(tenant.pk, clock.now()))
        return csvs.response("without-price.csv", model_prices.GAPS_HEAD, rows)
    if tab in ("approvals", "changes"):
        if tab == "approvals":
            changes = changes.filter(state=CostChange.State.PENDING)
        found = map(model_prices.change_cells, changes.iterator(1_000))
        head = model_prices.CHANGES_HEAD
        return csvs.response(f"price-{tab}.csv", head, found)
    if tab == "corrections":
        runs = CostRun.objects.filter(kind=CostRun.Kind.RECOST)
        cells = map(_correction, runs.iterator(1_000))
        return csvs.response("corrections.csv", CORRECTIONS_HEAD, cells)
    rates = _rates(request, tab)
    listed = model_prices.csv_rows(rates)
    return csvs.response("model-prices.csv", model_prices.CSV_HEAD, listed)


CORRECTIONS_HEAD = "created_utc title state requested_by events changed".split()


def _correction(run: CostRun) -> list[Any]:
    """Return a correction of recorded costs as cells."""
    result = run.result or {}
    who = [run.created_at, run.title, run.state, run.requested_label]
    return [*who, result.get("events"), result.get("changed")]


@role_required(*MONEY)
@require_http_methods(["GET", "POST"])
def add(request: HttpRequest) -> HttpResponse:
    """Add a price; one that begins in the past is booked after a preview."""
    names = ("provider", "model", "unit", "context", "region", "hours", "currency")
    initial = {n: request.GET[n] for n in names if request.GET.get(n)}
    form = RateForm(posted(request), initial=initial)
    preview, status = None, 200
    if form.is_bound and form.is_valid():
        values = form.values()
        try:
            if values["valid_from"] < clock.now() and "confirm" not in request.POST:
                preview = _preview(request, values)
            else:
                return _book(request, values)
        except AforoError as error:
            refuse(form, error)
    if form.errors:
        status = 422
    context = {"form": form, "preview": preview, "units": UNITS}
    return render(request, "portal/model_price_form.html", context, status=status)


def _preview(request: HttpRequest, values: dict[str, Any]) -> dict[str, Any]:
    """Return what booking a price in the past would change."""
    tenant = acting_tenant(request)

    def write() -> None:
        cost_rates.add_rate(tenant=tenant, actor=person(request), **values)

    return recosting.preview(tenant.pk, _time(values), write)


def _time(values: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of recosting for a price."""
    until = values["valid_to"]
    return {
        "since": values["valid_from"].isoformat(),
        "until": until and until.isoformat(),
        "names": [values["model"]],
    }


def _book(request: HttpRequest, values: dict[str, Any]) -> HttpResponse:
    """Add the price, and let recorded costs follow it."""
    tenant = acting_tenant(request)
    rate = cost_rates.add_rate(tenant=tenant, actor=person(request), **values)
    run = cost_jobs.recost_since(
        tenant=tenant,
        since=values["valid_from"],
        until=values["valid_to"],
        names=[rate.model],
        title=f"Price of {rate.model}",
        actor=person(request),
    )
    if run is not None and run.customer_count:
        messages.success(request, "The price is booked; recorded costs follow it.")
        return redirect("cost-run", run.public_id)
    messages.success(request, f"The price of {rate.model} is known.")
    return redirect("model-prices")


@role_required(*MONEY)
@require_http_methods(["GET", "POST"])
def close(request: HttpRequest, public_id: str) -> HttpResponse:
    """End a price of the tenant's own."""
    rate = CostRate.objects.filter(pk=_key(public_id)).exclude(tenant=None).first()
    if rate is None:
        raise Http404("There is no such price.")
    form = CloseForm(posted(request))

    def act() -> str:
        at = form.cleaned_data["at"] or clock.now()
        cost_rates.close_rate(rate=rate, at=at, actor=person(request))
        cost_jobs.recost_since(
            tenant=acting_tenant(request),
            since=at,
            names=[rate.model],
            title=f"End of a price of {rate.model}",
            actor=person(request),
        )
        return f"The price of {rate.model} ends."

    deed = Deed(
        title=f"End the price of {rate.model}",
        text=[
            f"{rate.unit} of {rate.model} costs what another known price says after"
            " the end; without one its cost is unknown, never 0.",
            "What was costed with it already keeps its cost unless another is known.",
        ],
        button="End price",
        back=reverse("model-prices"),
        crumbs=[("Model prices", reverse("model-prices"))],
        danger=True,
    )
    return ask(request, deed, form, act)


def _key(public_id: str) -> Any:
    """Return the id of a rate in an address; None when it is none."""
    return ids.parse_public("crt", public_id)


@role_required(*MONEY)
@require_POST
def decide(request: HttpRequest, public_id: str) -> HttpResponse:
    """Approve or reject a large fall of the price list."""
    rows = CostChange.objects.filter(tenant=acting_tenant(request))
    change = find(rows, "cch", public_id)
    approve = request.POST.get("approve") == "yes"
    try:
        done = cost_sync.decide(change=change, approve=approve, actor=person(request))
    except AforoError as error:
        messages.error(request, error.detail)
    else:
        if approve:
            cost_jobs.recost_since(
                tenant=acting_tenant(request),
                since=cost_sync.span_of(done.after).valid_from,
                names=[done.model],
                title=f"Approved price of {done.model}",
                actor=person(request),
            )
        state = done.get_state_display().lower()
        messages.success(request, f"The new price of {done.model} is {state}.")
    return redirect(f"{reverse('model-prices')}?tab=approvals")


@role_required(*MONEY)
@require_POST
def load(request: HttpRequest) -> HttpResponse:
    """Ask the workers to take the bundled price list over."""
    try:
        current_app.send_task("metering.sync_cost_rates", retry=False)
    except Exception as error:
        # Whatever the transport raises: the daily run does it.
        log.warning("workers were not woken: %s", type(error).__name__)
        messages.error(request, "No worker was reached; the list is read every night.")
    else:
        messages.success(request, "The price list is being read: reload in a moment.")
    return redirect("model-prices")
