"""A version of a plan as a customer will read it, before anybody can."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from aforo.core.roles import PRICING, staff_required
from catalog.models import Plan, PlanVersion
from catalog.plans import newest_version
from portal.context import acting_tenant
from portal.pages import find, may
from portal.versions import terms_of
from portal.views.price_lists import offer

WORDS = {
    PlanVersion.State.DRAFT: "Draft, not published",
    PlanVersion.State.PUBLISHED: "Published",
    PlanVersion.State.RETIRED: "Retired",
}


@staff_required
@never_cache
@require_GET
def preview(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show a version's price list as a customer would see it, the draft's first."""
    plan = find(Plan.objects.select_related("product"), "pln", public_id)
    version = _chosen(plan, request.GET.get("version", ""))
    said, problem = terms_of(version)
    asked = request.GET.get("currency", "")
    offers = [offer(version, said.plan, asked)] if said is not None else []
    is_draft = version.state == PlanVersion.State.DRAFT
    page = "plan-edit" if is_draft and may(request, PRICING) else "plan"
    context = {
        "seller": acting_tenant(request).name,
        "product": plan.product,
        "plans": offers,
        "currency": offers[0].currency if offers else "",
        "currencies": sorted(
            c for o in offers for c in o.currencies if len(o.currencies) > 1
        ),
        "preview": WORDS[PlanVersion.State(version.state)],
        "problem": problem,
        "version": version,
        "back": reverse(page, args=[plan.public_id]),
    }
    return render(request, "portal/price_list.html", context)


def _chosen(plan: Plan, number: str) -> PlanVersion:
    """Return the version of a number, or the newest; 404 where there is none."""
    if number:
        whole = number.isascii() and number.isdecimal() and len(number) < 9
        versions = PlanVersion.objects.select_related("plan").filter(plan=plan)
        found = versions.filter(number=int(number)).first() if whole else None
    else:
        found = newest_version(plan)
    if found is None:
        raise Http404(f"The plan has no version {number}".strip() + ".")
    return found
