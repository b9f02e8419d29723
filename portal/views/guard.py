"""The control room: is the guard well, who is limited, what did it decide."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from aforo.core.roles import OPERATE, RULES, staff_required
from aforo.lib import clock, ids
from guard import observing
from guard.models import Decision
from portal import paging
from portal.context import acting_tenant
from portal.guardroom import asking, pulse, rules, shown
from portal.guardroom.filters import DecisionFilter
from portal.pages import may

# What needs somebody is looked for again in every fifth answer to an open page.
NEEDS_EVERY_S: Final = 10
POLL_S: Final = 2


def _filtered(request: HttpRequest) -> DecisionFilter:
    """Return the decisions that the address names."""
    rows: QuerySet[Decision] = Decision.objects.order_by("-id")
    return DecisionFilter(request.GET, queryset=rows, request=request)


@staff_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show the guard's pulse, who needs and who is limited, and the decisions."""
    tenant, now = acting_tenant(request), clock.now()
    found = _filtered(request)
    listed = paging.page(found.qs, order="-id", query=request.GET, size=shown.TAIL)
    may_act = may(request, OPERATE)
    values = shown.values(tenant, now, may_act=may_act)
    context = {
        "v": {key.replace("guard.", ""): html for key, html in values.items()},
        "limit_note": f"limit {pulse.ENGINE_LIMIT_MS} ms",
        "observing": observing.current(tenant, now),
        "filter": found,
        "tail": shown.tail(listed.rows),
        "page": listed,
        # Rows come in by themselves only on top of the first page.
        "is_live": not request.GET.get("after") and not request.GET.get("before"),
        "rules": rules.counts(now),
        "rules_url": "/guard/rules" if may(request, RULES) else "/plans",
        "may_act": may_act,
        "form": asking.AskForm(),
    }
    return render(request, "portal/guard.html", context)


@staff_required
@never_cache
@require_GET
def poll(request: HttpRequest) -> HttpResponse:
    """Return what moved, for an open page: its figures, and newer decisions.

    The page asks every two seconds, and at once when its socket says that there is
    news; so it also knows of a Redis that is gone, and of what then passes.
    """
    tenant, now = acting_tenant(request), clock.now()
    may_act = may(request, OPERATE)
    values = shown.head(pulse.read(tenant, now))
    values |= shown.lists(tenant, now, may_act=may_act)
    if now.timestamp() % NEEDS_EVERY_S < POLL_S:
        values |= shown.needed(tenant, now, may_act=may_act)
    answer: dict[str, Any] = {"values": values, "items": _newer(request)}
    return JsonResponse(answer)


def _newer(request: HttpRequest) -> list[dict[str, str]]:
    """Return the decisions after the one that the page has on top, the oldest first."""
    newest = ids.parse_public("dec", request.GET.get("newest", ""))
    rows = _filtered(request).qs
    if newest is not None:
        rows = rows.filter(pk__gt=newest)
    return shown.tail(list(rows[: shown.TAIL]))[::-1]


@staff_required
@require_GET
def ask(request: HttpRequest) -> HttpResponse:
    """Tell whether a call would pass now: a dry run, which moves nothing."""
    tenant = acting_tenant(request)
    form = asking.AskForm(request.GET if "customer" in request.GET else None)
    result = None
    status = 200
    if form.is_bound:
        if form.is_valid():
            result = asking.answer(tenant, form)
        status = 422 if form.errors else 200
    context = {"form": form, "result": result}
    return render(request, "portal/guard_ask.html", context, status=status)
