"""Search: the palette's results, and a page of its own without scripts."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aforo.core.roles import membership, staff_required
from portal import search
from portal.context import acting_tenant


@staff_required
@require_GET
def results(request: HttpRequest) -> HttpResponse:
    """Show what `?q=` finds, as a fragment for the palette or as a page."""
    text = request.GET.get("q", "")
    role = membership(request).role
    groups = search.find(acting_tenant(request), text, role=role)
    fragment = bool(getattr(request, "htmx", False))
    template = "portal/_search_results.html" if fragment else "portal/search.html"
    return render(request, template, {"groups": groups, "text": text})
