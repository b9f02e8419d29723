"""Metrics: what is counted, who prices it, and what nothing counts yet."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
)

from aforo.core.roles import PRICING, role_required, staff_required
from aforo.lib import clock
from aforo.lib.errors import AforoError
from catalog import metrics as rules
from catalog import products
from catalog.models import Metric
from portal.context import acting_tenant
from portal.metric_forms import MetricForm, shown, split
from portal.pages import may, person, posted, refuse
from portal.selectors import figures, metrics
from portal.selectors.metrics import Definition
from portal.ui.figures import quantity_text

TREND_DAYS = 30
METHODS = ["GET", "POST"]
_NO_CODE = re.compile(r"[^a-z0-9_-]+")


def _find(code: str) -> Metric:
    """Return the tenant's metric with a code; others are 404 alike."""
    found = Metric.objects.filter(code=code).first()
    if found is None:
        raise Http404(f"There is no metric {code}.")
    return found


@staff_required
@require_GET
def table(request: HttpRequest) -> HttpResponse:
    """Show the metrics with their use, and what no metric counts."""
    tenant = acting_tenant(request)
    found = metrics.recent(tenant.pk, clock.now())
    known = list(Metric.objects.order_by("code"))
    context = {
        "rows": metrics.rows(tenant.pk, known, found),
        "recent": found,
        "look_back": metrics.LOOK_BACK,
        "strangers": metrics.strangers(found, known),
        "may_change": may(request, PRICING),
    }
    return render(request, "portal/metrics.html", context)


@staff_required
@require_GET
def metric(request: HttpRequest, code: str) -> HttpResponse:
    """Show one metric: definition, matching events, plans and course."""
    found = _find(code)
    tenant = acting_tenant(request)
    span = figures.last_days(clock.now(), TREND_DAYS)
    versions = rules.uses(tenant.pk).get(found.code, [])
    course = metrics.trend(tenant.pk, found, span.start, span.end, tenant.currency)
    days, finding = _days(course.days)
    context = {
        "metric": found,
        "fixed": rules.is_fixed(versions),
        "users": metrics.users(versions),
        "matches": metrics.matching(tenant.pk, metrics.definition(found)),
        "look_back": metrics.LOOK_BACK,
        "span": span,
        "course": course,
        "days": days,
        "finding": finding,
        "may_change": may(request, PRICING),
    }
    return render(request, "portal/metric.html", context)


def _days(found: Mapping[dt.date, Decimal]) -> tuple[list[dict[str, Any]], str]:
    """Return days as rows of a chart, and what their course shows in a sentence."""
    rows: list[dict[str, Any]] = [
        {"label": f"{day:%-d %b}", "value": value, "text": quantity_text(value)}
        for day, value in found.items()
    ]
    if not any(found.values()):
        return rows, f"Nothing in these {len(rows)} days"
    best = max(found, key=lambda day: found[day])
    return rows, f"Most on {best:%-d %b}: {quantity_text(found[best])}"


@role_required(*PRICING)
@require_http_methods(METHODS)
def new(request: HttpRequest) -> HttpResponse:
    """Define a metric; `?field=` or `?type=` fills in what traffic showed."""
    tenant = acting_tenant(request)
    seen = {"field": request.GET.get("field", ""), "type": request.GET.get("type", "")}
    initial = _suggested(**seen) if any(seen.values()) else {}
    form = MetricForm(posted(request), initial=initial, fixed=frozenset())
    if form.is_bound and form.is_valid():
        try:
            made = products.create_metric(
                tenant=tenant, actor=person(request), **form.cleaned_data
            )
        except AforoError as error:
            refuse(form, error)
        else:
            messages.success(request, f"{made} is counted from now on.")
            return redirect("metric", made.code)
    return _form_page(request, form, None)


@role_required(*PRICING)
@require_http_methods(METHODS)
def edit(request: HttpRequest, code: str) -> HttpResponse:
    """Change what may be changed of a metric."""
    found = _find(code)
    versions = rules.uses(found.tenant_id).get(found.code, [])
    fixed = {"code"} | (rules.WHILE_UNUSED if rules.is_fixed(versions) else set())
    form = MetricForm(posted(request), initial=shown(found), fixed=frozenset(fixed))
    if form.is_bound and form.is_valid():
        try:
            rules.update_metric(
                metric=found, changes=form.cleaned_data, actor=person(request)
            )
        except AforoError as error:
            refuse(form, error)
        else:
            messages.success(request, f"{found.code} is saved.")
            return redirect("metric", found.code)
    return _form_page(request, form, found)


def _form_page(
    request: HttpRequest, form: MetricForm, found: Metric | None
) -> HttpResponse:
    """Show the form with the events that it would count."""
    tenant = acting_tenant(request)
    fields, types = metrics.names_seen(metrics.recent(tenant.pk, clock.now()))
    said = {name: str(form[name].value() or "") for name in form.fields}
    context = {
        "form": form,
        "metric": found,
        "fields": fields,
        "types": types,
        **_preview(request, said),
    }
    status = 422 if form.errors else 200
    return render(request, "portal/metric_form.html", context, status=status)


def _preview(request: HttpRequest, said: Mapping[str, str]) -> dict[str, Any]:
    """Return the last events that what is typed would count, or what is missing."""
    aggregation, field = said.get("aggregation", ""), said.get("field", "").strip()
    types = frozenset(split(said.get("event_types", "")))
    names = {aggregation, field, *types}
    if aggregation not in Metric.Aggregation.values or any("\0" in n for n in names):
        return {"matches": [], "why_none": "Choose an aggregation."}
    try:
        products.check_metric_field(aggregation, field)
    except AforoError as error:
        return {"matches": [], "why_none": error.detail}
    wanted = Definition(aggregation, field, types)
    tenant = acting_tenant(request)
    found = metrics.matching(tenant.pk, wanted)
    why = f"None of the newest {metrics.LOOK_BACK:,} events would be counted."
    return {"matches": found, "why_none": why}


@role_required(*PRICING)
@require_GET
def preview(request: HttpRequest) -> HttpResponse:
    """Show the last events that a metric would count, while it is typed."""
    context = _preview(request, request.GET.dict())
    return render(request, "portal/_metric_matches.html", context)


def _suggested(field: str = "", type: str = "") -> dict[str, Any]:
    """Return a metric for a measurement, or for an event type, that traffic showed."""
    seen = field or type
    code = _NO_CODE.sub("_", seen.lower()).strip("_-")[:60].rstrip("_-")
    if not code[:1].isalpha():
        code = f"m_{code}"[:60]
    words = seen.replace("_", " ").replace(".", " ").strip()
    name = words[:1].upper() + words[1:]
    if not field:
        return {
            "code": code,
            "name": f"{name} events"[:120],
            "aggregation": Metric.Aggregation.COUNT,
            "event_types": type,
            "window": Metric.Window.PERIOD,
            "unit": "event",
        }
    last = words.rpartition(" ")[2]
    unit = last[:-1] if len(last) > 3 and last.endswith("s") else last
    return {
        "code": code,
        "name": name[:120],
        "aggregation": Metric.Aggregation.SUM,
        "field": field,
        "window": Metric.Window.PERIOD,
        "unit": unit[:40] or "unit",
    }


def _free(code: str) -> str:
    """Return the code, with a number if another metric has it already."""
    known = set(Metric.objects.values_list("code", flat=True))
    numbered = (f"{code[:56]}_{number}" for number in range(2, len(known) + 3))
    return next(c for c in (code, *numbered) if c not in known)


@role_required(*PRICING)
@require_POST
def make_seen(request: HttpRequest) -> HttpResponse:
    """Define the metric of something that traffic showed, in one step."""
    field, kind = request.POST.get("field", ""), request.POST.get("type", "")
    if bool(field) == bool(kind):
        messages.error(request, "Name a measurement or an event type.")
        return redirect("metrics")
    values = _suggested(field=field, type=kind)
    values["event_types"] = [kind] if kind else []
    values["code"] = _free(values["code"])
    try:
        made = products.create_metric(
            tenant=acting_tenant(request), actor=person(request), **values
        )
    except AforoError as error:
        messages.error(request, f"{field or kind}: {error.detail}")
        return redirect("metrics")
    messages.success(request, f"{made} is counted from now on.")
    return redirect("metric", made.code)
