"""Spend levels: which rules there are, who moved between them, and who is close."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aforo.core.roles import staff_required
from aforo.lib import clock
from billing.models import LevelChange
from portal import keyset
from portal.selectors import tiers


@staff_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show rules, moves and contracts that are close to the next level."""
    found = tiers.stands(clock.now())
    moved = LevelChange.objects.select_related(
        "customer", "subscription__product", "period"
    )
    return render(
        request,
        "portal/tiers.html",
        {
            "plans": tiers.plans(found),
            "close": tiers.close(found),
            "page": keyset.page(moved, request.GET),
        },
    )
