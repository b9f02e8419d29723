"""Publishing a draft: what changes, who gets it, what it does to last month's bills."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.roles import PRICING, role_required, staff_required
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import contracts, renewals
from billing.models import Subscription
from catalog import effective, publication
from catalog.models import Plan, PlanVersion
from catalog.pricing import Plan as Priced
from metering import repricing
from portal import csvs
from portal.composer.doubts import doubts
from portal.context import exists
from portal.pages import find, person, posted, refuse
from portal.plan_forms import ALL, CHOSEN, NEW, PublishForm
from portal.selectors import plans
from portal.selectors.plans import ContractRow, VersionRow
from portal.versions import difference, pair, summary_of, terms_of
from portal.views.plans import plan_url

# Contracts that a page lists, moves and prices again.
CONTRACTS_MAX = 500
SHOWN_MAX = 10  # Effects in the review; all of them are on a page of their own.
CSV_HEAD = [
    "customer_id",
    "customer",
    "version",
    "period_start_utc",
    "period_end_utc",
    "events",
    "currency",
    "old",
    "new",
    "change",
    "events_without_price",
]


def _draft_row(versions: list[VersionRow]) -> VersionRow | None:
    """Return the draft among a plan's versions."""
    return next((v for v in versions if v.state == "draft"), None)


def _contracts(plan: Plan) -> list[ContractRow]:
    """Return the plan's contracts with their versions, as many as a page takes."""
    now = clock.now()
    found = plans.contracts(plan, now).order_by("customer__name", "pk")
    return plans.contract_rows(list(found[: CONTRACTS_MAX + 1]), now)


@role_required(*PRICING)
@require_http_methods(["GET", "POST"])
def publish(request: HttpRequest, public_id: str) -> HttpResponse:
    """Review a draft and publish it."""
    found = find(Plan.objects.select_related("product"), "pln", public_id)
    versions = plans.versions(found, clock.now())
    draft = _draft_row(versions)
    number = request.POST.get("number", "")
    if draft is None or (number and number != str(draft.version.number)):
        return _too_late(request, found, versions, number)
    contracts = _contracts(found)
    is_cut = len(contracts) > CONTRACTS_MAX
    contracts = contracts[:CONTRACTS_MAX]
    form = PublishForm(found, [r.subscription for r in contracts], posted(request))
    status = 200
    if request.method == "POST":
        try:
            if form.is_valid():
                return _act(request, found, draft.version, form)
        except AforoError as error:
            if error.code == "not_a_draft":
                return _too_late(request, found, versions, number)
            _refuse(form, error)
        status = 422
    context = {
        "plan": found,
        "draft": draft,
        "form": form,
        "contracts": contracts,
        "is_cut": is_cut,
        "contracts_max": CONTRACTS_MAX,
        "reviewed": publication.fingerprint(draft.version),
        "who": form["who"].value() or NEW,
        "ticked": form["subscriptions"].value() or [],
        "choices": {"new": NEW, "all": ALL, "chosen": CHOSEN},
        "impact_url": reverse("plan-impact", args=[found.public_id]),
        "back": plan_url(found),
        **_review(versions, draft),
    }
    return render(request, "portal/plan_publish.html", context, status=status)


def _refuse(form: PublishForm, error: AforoError) -> None:
    """Put a refusal into the form; one of plan JSON with the path that it names."""
    if error.field and error.field not in form.fields:
        error = AforoError(error.code, error.status, f"{error.field}: {error.detail}")
    refuse(form, error)


def _review(versions: list[VersionRow], draft: VersionRow) -> dict[str, Any]:
    """Return what a draft says, what it changes, and what looks like a mistake."""
    said, problem = terms_of(draft.version)
    return {
        **summary_of(draft),
        "problem": problem,
        "findings": doubts(said.plan, draft.version.plan.product) if said else (),
        **difference(*pair(versions, draft)),
    }


def _too_late(
    request: HttpRequest, found: Plan, versions: list[VersionRow], number: str
) -> HttpResponse:
    """Say that there is nothing to publish, and who was quicker."""
    was = PlanVersion.objects.select_related("plan", "published_by").filter(
        plan=found, number=int(number) if number.isdecimal() else 0
    )
    version = was.exclude(state=PlanVersion.State.DRAFT).first()
    if version is not None:
        words = publication.published_words(version)
        link = plan_url(found, version)
        said = '{} Your click changed nothing. <a href="{}">See v{}</a>'
        messages.info(request, format_html(said, words, link, version.number))
        return redirect(link)
    text = f"{found} has no draft to publish."
    newest = found.versions.exclude(state=PlanVersion.State.DRAFT).first()
    if newest is not None:
        text += f" {publication.published_words(newest)}"
    messages.info(request, text)
    return redirect(plan_url(found))


def _act(
    request: HttpRequest, found: Plan, draft: PlanVersion, form: PublishForm
) -> HttpResponse:
    """Publish the draft, announce it to those who get it, and say what became of it."""
    version = publication.publish_reviewed(
        version=draft, actor=person(request), reviewed=request.POST.get("reviewed", "")
    )
    moved = renewals.move_at_renewal(
        chosen=form.chosen(), plan_version=version, actor=person(request)
    )
    said = f"{version} is live."
    if moved.made:
        count = len(moved.made)
        noun = "subscription gets" if count == 1 else "subscriptions get"
        said += f" {count} {noun} it at renewal."
    messages.success(request, said)
    if moved.refused:
        names = "; ".join(
            f"{r.subscription.customer}: {r.reason}" for r in moved.refused
        )
        messages.warning(request, f"Not moved: {names}")
    return redirect(plan_url(found))


def _impact(found: Plan) -> dict[str, Any]:
    """Return last month's bills under the versions in force and under the draft."""
    draft = _draft_row(plans.versions(found, clock.now()))
    context: dict[str, Any] = {"plan": found, "draft": draft, "impact": None}
    if draft is None:
        return context
    said, context["problem"] = terms_of(draft.version)
    if said is None:
        return context
    rows = _contracts(found)
    context["is_cut"] = len(rows) > CONTRACTS_MAX
    old = _old_plans(rows[:CONTRACTS_MAX])
    same = {s: p for s, p in old.items() if p.currency == said.plan.currency}
    own = {
        r.subscription: effective.another(
            said.plan, effective.own_of(r.snapshot.overrides, r.snapshot.commitment)
        )
        for r in rows
        if r.subscription in same and r.snapshot
    }
    impact = repricing.last_month(same, said.plan, own=own)
    numbers = {
        r.subscription.pk: r.snapshot.plan_version.number
        for r in rows
        if r.snapshot and r.snapshot.plan_version
    }
    return context | {
        "impact": impact,
        "effects": [(e, numbers[e.subscription.pk]) for e in impact.effects],
        "other_currency": len(old) - len(same),
        "simulator_url": "/simulator" if exists("/simulator") else "",
        "contracts_max": CONTRACTS_MAX,
    }


def _old_plans(rows: list[ContractRow]) -> dict[Subscription, Priced]:
    """Return what each contract pays by now."""
    plans = contracts.plans_of(r.snapshot for r in rows if r.snapshot)
    return {
        r.subscription: plans[r.snapshot.pk].plan
        for r in rows
        if r.snapshot and r.snapshot.pk in plans
    }


@staff_required
@require_GET
def impact(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show what a draft would have made of last month's bills, one by one."""
    found = find(Plan.objects.select_related("product"), "pln", public_id)
    fragment = bool(getattr(request, "htmx", False))
    context = _impact(found)
    if fragment and "effects" in context:
        context["more_count"] = max(0, len(context["effects"]) - SHOWN_MAX)
        context["effects"] = context["effects"][:SHOWN_MAX]
    name = "portal/_plan_impact.html" if fragment else "portal/plan_impact.html"
    return render(request, name, context)


@staff_required
@require_GET
def impact_csv(request: HttpRequest, public_id: str) -> HttpResponse:
    """Give the same bills as CSV."""
    found = find(Plan.objects.all(), "pln", public_id)
    context = _impact(found)
    return csvs.response(
        f"impact-{found.code}.csv",
        CSV_HEAD,
        (
            (
                e.subscription.customer.public_id,
                e.subscription.customer.name,
                f"v{number}",
                e.period.start_at if e.period else None,
                e.period.end_at if e.period else None,
                e.event_count,
                context["impact"].currency,
                e.old,
                e.new,
                e.change,
                e.unpriced,
            )
            for e, number in context.get("effects", ())
        ),
    )
