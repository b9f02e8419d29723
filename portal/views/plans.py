"""Plans: the list, one plan with its versions, and what is done to a version."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
)

from aforo.core.roles import (
    DRAFTING,
    PRICING,
    SIMULATE,
    role_required,
    staff_required,
)
from aforo.lib import clock, ids
from aforo.lib.errors import AforoError
from aforo.lib.money import display
from catalog import publication
from catalog.facts import limit_facts
from catalog.models import Plan, PlanVersion, Product
from catalog.plans import retire as retire_version
from catalog.price_list import levels, prices
from catalog.pricing import in_currency
from catalog.term_words import plan_terms
from portal import keyset, paging
from portal.composer.shares import has_recipe
from portal.context import acting_tenant
from portal.filters import empty_model, text_box
from portal.pages import admin_url, find, may, person
from portal.selectors import outcomes, plans
from portal.selectors.plans import VersionRow
from portal.versions import difference, pair, summary_of, terms_of
from portal.views.actions import Deed, ask
from portal.views.contract_pages import CONTRACTS
from portal.views.price_lists import public_url

TABS = (("prices", "Prices"), ("subscriptions", "Subscriptions"), ("audit", "Audit"))
# What a plan can charge, for those who have none yet.
MODELS = (
    ("Per unit", "$3.00 per 1M input tokens."),
    ("Graduated", "First 10M at $3.00 per 1M, the next 50M at $2.50."),
    ("Volume", "Above 50M all tokens at $2.00 per 1M."),
    ("Included quantity", "1M free, then $5.00 per 1M."),
    ("Flat amount", "$200.00 a month, in advance."),
    ("Percentage", "2.5 % of inference cost, at least $0.50."),
)


class PlanFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the plans, all in the address."""

    q = django_filters.CharFilter(
        label="Search", method="filter_text", widget=text_box("Name, code or id")
    )
    product = django_filters.ModelChoiceFilter(
        queryset=lambda request: Product.objects.order_by("name"),
        empty_label="Any product",
    )
    draft = django_filters.BooleanFilter(
        label="Draft",
        method="filter_draft",
        widget=forms.Select(
            choices=(("", "Any"), ("true", "With a draft"), ("false", "Without"))
        ),
    )
    Meta = empty_model(Plan)

    def filter_text(
        self, rows: QuerySet[Plan], name: str, value: str
    ) -> QuerySet[Plan]:
        """Keep plans with the text in their name, or of that code or id."""
        own = ids.parse_public("pln", value)
        match = Q(name__icontains=value) | Q(code__iexact=value)
        return rows.filter(match | Q(pk=own) if own else match)

    def filter_draft(
        self, rows: QuerySet[Plan], name: str, value: bool
    ) -> QuerySet[Plan]:
        """Keep plans that have a draft, or those without."""
        drafts = PlanVersion.objects.filter(state=PlanVersion.State.DRAFT)
        with_draft = Q(pk__in=drafts.values("plan"))
        return rows.filter(with_draft if value else ~with_draft)


@staff_required
@require_GET
def table(request: HttpRequest) -> HttpResponse:
    """Show the plans with their periods under way."""
    tenant = acting_tenant(request)
    now = clock.now()
    every = Plan.objects.select_related("product")
    found = PlanFilter(request.GET, queryset=every, request=request)
    page = paging.page(found.qs, order="name", query=request.GET)
    context = {
        "filter": found,
        "page": page,
        "rows": [
            (row, row.main(tenant.currency)) for row in plans.rows(page.rows, now)
        ],
        "now": now,
        "is_filtered": any(request.GET.get(name) for name in found.filters),
        "models": MODELS,
        "may_price": may(request, PRICING),
    }
    return render(request, "portal/plans.html", context)


@staff_required
@require_GET
def plan(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show one plan: a version's prices, all versions, and the tab of the address."""
    found = find(Plan.objects.select_related("product"), "pln", public_id)
    now = clock.now()
    versions = plans.versions(found, now)
    shown = _chosen(versions, request.GET.get("version", ""))
    tab = request.GET.get("tab", "prices")
    if tab not in dict(TABS):
        tab = "prices"
    row = plans.rows([found], now)[0]
    month = row.main(acting_tenant(request).currency)
    asked = f"&version={request.GET['version']}" if request.GET.get("version") else ""
    context = {
        "plan": found,
        "row": row,
        "month": month,
        "others_note": _others_note(row, month.currency),
        "unknown_note": f"{month.unknown_count:,} events have no known cost"
        if month.unknown_count
        else "",
        "now": now,
        "versions": versions,
        "shown": shown,
        "shown_title": f"v{shown.version.number}, {shown.word.lower()}"
        if shown
        else "",
        "live_word": f"v{row.live.number} live" if row.live else "",
        "draft_word": f"v{row.draft.number} draft" if row.draft else "",
        "tab": tab,
        "tabs": [
            {"label": label, "url": f"?tab={key}{asked}", "current": key == tab}
            for key, label in TABS
        ],
        "may_price": may(request, PRICING),
        "may_agree": may(request, CONTRACTS),
        "may_mark": not may(request, PRICING)
        and may(request, DRAFTING)
        and any(has_recipe(v.body) for v in (row.draft or row.live,) if v),
        "admin_url": admin_url(found),
        "simulator_url": "/simulator" if may(request, SIMULATE) else "",
        "public_url": public_url(found.product),
        "edit_url": f"/plans/{found.public_id}/edit",
        "publish_url": reverse("plan-publish", args=[found.public_id]),
        **summary_of(shown),
        **TAB_CONTEXT[tab](request, found, shown, versions),
    }
    return render(request, f"portal/plan_{tab}.html", context)


def _others_note(row: plans.Row, currency: str) -> str:
    """Return the revenue in currencies beside the one that is shown."""
    others = [f for c, f in sorted(row.figures.items()) if c != currency]
    return ", ".join(f"and {display(f.revenue, f.currency)}" for f in others)


def _chosen(versions: list[VersionRow], number: str) -> VersionRow | None:
    """Return the version of a number; without one the live one, else the newest.

    A number that no version has is 404.
    """
    if number:
        for row in versions:
            if str(row.version.number) == number:
                return row
        raise Http404(f"The plan has no version {number}.")
    live = next((row for row in versions if row.is_live), None)
    return live or (versions[0] if versions else None)


def _prices(
    request: HttpRequest,
    found: Plan,
    shown: VersionRow | None,
    versions: list[VersionRow],
) -> dict[str, Any]:
    """Return every charge in words, the guard's defaults, and what changed."""
    if shown is None:
        return {}
    said, _ = terms_of(shown.version)
    offered = said.plan.currencies if said else ()
    asked = request.GET.get("currency", "")
    currency = asked if asked in offered else offered[0] if offered else ""
    return {
        "prices": prices(in_currency(said.plan, currency)) if said else [],
        "levels": levels(said.plan) if said else [],
        "terms": plan_terms(said.plan) if said else [],
        "prices_title": f"Prices of v{shown.version.number}",
        "prices_note": currency,
        "currency": currency,
        "currencies": offered if len(offered) > 1 else (),
        "version_query": f"&version={shown.version.number}",
        "limits": limit_facts(said.limits, said.plan.currency) if said else [],
        "impact_url": reverse("plan-impact", args=[found.public_id]),
        "has_outcomes": bool(outcomes.charges(shown.version)),
        **difference(*pair(versions, shown)),
    }


def _subscriptions(
    request: HttpRequest,
    found: Plan,
    shown: VersionRow | None,
    versions: list[VersionRow],
) -> dict[str, Any]:
    """Return the contracts on the plan; with ?version= those on it alone."""
    now = clock.now()
    rows = plans.contracts(found, now)
    note = "figures of the period under way"
    if shown is not None and request.GET.get("version"):
        note = f"on v{shown.version.number} alone"
        current = plans.in_force(now).filter(plan_version=shown.version)
        rows = rows.filter(pk__in=current.values("subscription"))
    page = keyset.page(rows, request.GET)
    return {
        "page": page,
        "rows": plans.contract_rows(page.rows, now),
        "subscriptions_note": note,
    }


def _audit(
    request: HttpRequest,
    found: Plan,
    shown: VersionRow | None,
    versions: list[VersionRow],
) -> dict[str, Any]:
    """Return who changed the plan, the latest first."""
    return {"page": keyset.page(plans.audit(found), request.GET)}


TAB_CONTEXT = {"prices": _prices, "subscriptions": _subscriptions, "audit": _audit}


def plan_url(found: Plan, version: PlanVersion | None = None) -> str:
    """Return the address of a plan's page, open at a version."""
    path = reverse("plan", args=[found.public_id])
    return f"{path}?version={version.number}" if version else path


def version_of(found: Plan, number: int) -> PlanVersion:
    """Return a version of a plan by its number, or 404."""
    version = PlanVersion.objects.filter(plan=found, number=number)
    row = version.select_related("plan", "published_by").first()
    if row is None:
        raise Http404(f"{found} has no version {number}.")
    return row


@role_required(*PRICING)
@require_POST
def new_version(request: HttpRequest, public_id: str, number: int) -> HttpResponse:
    """Copy a version into a new draft and go on editing it."""
    found = find(Plan.objects.all(), "pln", public_id)
    version = version_of(found, number)
    try:
        draft = publication.start_draft(version=version, actor=person(request))
    except AforoError as error:
        messages.error(request, error.detail)
        return redirect(plan_url(found))
    messages.success(request, f"Draft v{draft.number} begins with what v{number} says.")
    return redirect(f"/plans/{found.public_id}/edit")


@role_required(*PRICING)
@require_http_methods(["GET", "POST"])
def retire(request: HttpRequest, public_id: str, number: int) -> HttpResponse:
    """Let nobody subscribe to a version any more."""
    found = find(Plan.objects.all(), "pln", public_id)
    version = version_of(found, number)

    def act() -> str:
        retire_version(version=version, actor=person(request))
        return f"{version} is retired; its subscribers keep it."

    count = plans.subscribers([version.pk], clock.now()).get(version.pk, 0)
    noun = "subscription keeps" if count == 1 else "subscriptions keep"
    deed = Deed(
        title=f"Retire v{number} of {found}?",
        text=[
            "Nobody can subscribe to it from now on. This cannot be taken back; a new"
            " version with the same prices can be published.",
            f"{count} {noun} it and its prices.",
        ],
        button="Retire version",
        back=plan_url(found, version),
        crumbs=[("Plans", "/plans"), (found.name, plan_url(found))],
        danger=True,
    )
    return ask(request, deed, None, act)
