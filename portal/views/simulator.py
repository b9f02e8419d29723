"""The simulator: what recorded usage would have cost on other plans."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from aforo.core.roles import SIMULATE, role_required
from aforo.lib import clock, ids
from aforo.lib.errors import AforoError
from catalog.models import PlanVersion
from metering import backtest_jobs, backtest_plans
from metering.models import Backtest
from portal import csvs, keyset
from portal.context import acting_tenant
from portal.pages import find, person, posted, refuse
from portal.selectors import backtests
from portal.simulator_form import SimulatorForm

# Where each refusal of a request belongs on the form.
FIELDS = {"versions": "plan_a"}


@role_required(*SIMULATE)
@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """Show the form and what was run before; start a backtest."""
    tenant = acting_tenant(request)
    form = SimulatorForm(tenant, posted(request), initial=_initial(request))
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                made = backtest_jobs.request(
                    tenant=tenant, actor=person(request), **form.values()
                )
                return redirect("backtest", made.public_id)
            except AforoError as error:
                error.field = FIELDS.get(error.field or "", error.field)
                refuse(form, error)
    rows = keyset.page(backtests.recent(), request.GET, size=20)
    context = {
        "form": form,
        "page": rows,
        "has_versions": PlanVersion.objects.exists(),
    }
    return render(request, "portal/simulator.html", context, status=status)


def _initial(request: HttpRequest) -> dict[str, Any]:
    """Return what the address fills in: `?version=plv_…` and `?customer=cus_…`."""
    versions = request.GET.getlist("version")
    return {
        **dict(zip(SimulatorForm.plan_fields(), versions, strict=False)),
        "customers": "\n".join(request.GET.getlist("customer")),
    }


@role_required(*SIMULATE)
@require_GET
def backtest(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show how far a backtest is, or what came out of it."""
    found = find(Backtest.objects.all(), "bkt", public_id)
    if getattr(request, "htmx", False):
        return _progress(request, found)
    context = _head(found)
    if found.state == Backtest.State.DONE:
        context |= _result(request, found)
    return render(request, "portal/backtest.html", context)


def _progress(request: HttpRequest, found: Backtest) -> HttpResponse:
    """Answer a poll; once it is over, the page is loaded anew."""
    answer = render(request, "portal/_backtest_progress.html", _head(found))
    if not found.is_open:
        answer["HX-Refresh"] = "true"
    return answer


def _head(found: Backtest) -> dict[str, Any]:
    """Return what is shown of every backtest."""
    took = None
    if found.started_at is not None:
        took = (found.finished_at or clock.now()) - found.started_at
    return {
        "backtest": found,
        "labels": [
            ("ABCD"[index], plan["label"], plan["state"])
            for index, plan in enumerate(found.plans)
        ],
        "currency": found.plans[0]["body"]["currency"],
        "count": Decimal(found.customer_count),
        "done": Decimal(found.done_count),
        "progress": f"{found.done_count:,} of {found.customer_count:,}",
        "calm": Decimal(2),  # No share of progress is alarming.
        "milliseconds": None if took is None else took // dt.timedelta(milliseconds=1),
    }


def _result(request: HttpRequest, found: Backtest) -> dict[str, Any]:
    """Return what a finished backtest shows: plans compared, and customers."""
    assert found.result is not None
    flag = request.GET.get("flag", "")
    rows = keyset.page(backtests.rows_of(found, flag), request.GET)
    opened = ids.parse_public("cus", request.GET.get("customer", ""))
    tabs = [
        {"label": label, "url": f"?flag={key}", "current": key == flag}
        for key, label in (("", "All customers"), *backtests.FLAGS.items())
    ]
    return {
        "result": found.result,
        "cost": Decimal(found.result["cost"]),
        "left_out": [
            (backtests.LEFT_OUT[reason], count)
            for reason, count in found.result["left_out"].items()
        ],
        "totals": backtests.totals(found),
        "adds_up": backtests.sums_hold(found),
        "tabs": tabs,
        "flag": flag if flag in backtests.FLAGS else "",
        "page": rows,
        "rows": [backtests.shown(row) for row in rows.rows],
        "opened": opened,
        "no_bill": backtests.NO_BILL,
        "columns": 5 + len(found.plans),
    }


@role_required(*SIMULATE)
@require_GET
def backtest_csv(request: HttpRequest, public_id: str) -> HttpResponse:
    """Give exactly the customers that the page lists, as CSV."""
    found = find(Backtest.objects.all(), "bkt", public_id)
    rows = backtests.rows_of(found, request.GET.get("flag", "")).order_by("-pk")
    if found.state != Backtest.State.DONE:
        rows = rows.none()
    currency = found.plans[0]["body"]["currency"]
    return csvs.response(
        f"simulation-{found.month:%Y-%m}.csv",
        backtests.csv_head(found),
        (
            backtests.csv_row(backtests.shown(row), currency)
            for row in rows.iterator(500)
        ),
    )


@role_required(*SIMULATE)
@require_POST
def cancel(request: HttpRequest, public_id: str) -> HttpResponse:
    """Stop a backtest."""
    found = find(Backtest.objects.all(), "bkt", public_id)
    try:
        backtest_jobs.cancel(backtest_id=found.pk, actor=person(request))
        messages.success(request, "The backtest was cancelled.")
    except AforoError as error:
        messages.error(request, error.detail)
    return redirect("backtest", public_id)


@role_required(*SIMULATE)
@require_POST
def again(request: HttpRequest, public_id: str) -> HttpResponse:
    """Run a backtest once more, with its drafts as they are now."""
    found = find(Backtest.objects.all(), "bkt", public_id)
    named = None
    if not found.all_customers:
        named = [ids.public("cus", key) for key in backtests.customers_of(found)]
    try:
        made = backtest_jobs.request(
            tenant=acting_tenant(request),
            month=backtest_plans.parse_month(f"{found.month:%Y-%m}"),
            plans=[_now(plan) for plan in found.plans],
            customers=named,
            product=found.product,
            actor=person(request),
        )
    except AforoError as error:
        messages.error(request, error.detail)
        return redirect("backtest", public_id)
    return redirect("backtest", made.public_id)


def _now(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a kept plan as its version is now; what was sent along stays."""
    key = ids.parse_public("plv", plan["version"] or "")
    rows = PlanVersion.objects.select_related("plan").filter(pk__in=[key])
    version = rows.first() if key else None
    return backtest_plans.frozen_version(version) if version else plan
