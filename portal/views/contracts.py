"""Giving a customer a plan, and another one: chosen, reviewed, confirmed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.roles import role_required
from aforo.lib import clock, ids
from aforo.lib.errors import AforoError
from billing import contracts, moving, subscriptions, trials
from billing.models import Customer, Subscription, SubscriptionSnapshot
from billing.trials import Trial
from catalog.describe import describe
from catalog.models import Plan, PlanVersion
from catalog.plans import PricedPlan, load_plans
from metering import repricing
from portal.contract_forms import (
    NEXT,
    NextPlanForm,
    PlanForm,
    TermsForm,
    live_versions,
    running,
)
from portal.pages import find, person, posted, refuse
from portal.views.contract_pages import (
    CONTRACTS,
    NOW,
    digest,
    open_contract,
    since_words,
)

CUSTOMERS_SHOWN = 25
CONFIRM = "Tick it once you have read what changes."


@role_required(*CONTRACTS)
@never_cache
@require_GET
def choose_customer(request: HttpRequest, public_id: str) -> HttpResponse:
    """Ask which customer gets a plan."""
    plan = find(Plan.objects.select_related("product"), "pln", public_id)
    text = request.GET.get("q", "").replace("\0", "").strip()[:120]
    own = ids.parse_public("cus", text)
    match = Q(name__icontains=text) | Q(external_id=text)
    rows = Customer.objects.filter(match | Q(pk=own) if own else match)
    found = list(rows.order_by("name", "pk")[: CUSTOMERS_SHOWN + 1])
    live = Subscription.objects.filter(product=plan.product, customer__in=found)
    live = live.exclude(state=Subscription.State.CANCELLED)
    context = {
        "plan": plan,
        "live": next((v for v in live_versions() if v.plan_id == plan.pk), None),
        "q": text,
        "customers": found[:CUSTOMERS_SHOWN],
        "is_cut": len(found) > CUSTOMERS_SHOWN,
        "taken": set(live.values_list("customer_id", flat=True)),
        "back": f"{reverse('plan', args=[plan.public_id])}?tab=subscriptions",
    }
    return render(request, "portal/plan_subscribe.html", context)


@role_required(*CONTRACTS)
@never_cache
@require_http_methods(["GET", "POST"])
def subscribe(request: HttpRequest, public_id: str) -> HttpResponse:
    """Ask for the plan, then for the terms; review and make the contract."""
    customer = find(Customer.objects.all(), "cus", public_id)
    asked = request.GET.get("plan", "")
    plans = PlanForm(customer, request.GET if "plan" in request.GET else None)
    context: dict[str, Any] = {
        "customer": customer,
        "back": reverse("customer", args=[customer.public_id]),
        "plans": plans,
    }
    if not plans.is_valid():
        status = 422 if plans.is_bound or request.method == "POST" else 200
        return render(request, "portal/subscribe.html", context, status=status)
    version = plans.versions[asked]
    (priced,) = load_plans({version.pk}).values()
    form = TermsForm(customer, priced, posted(request))
    has = running(customer, version.plan.product)
    context |= {
        "version": version,
        "words": describe(priced.plan),
        "form": form,
        "has": has,
        # One agent's own allocation stands beside the customer's contract.
        "is_taken": not form.committed and any(s.agent_id is None for s in has),
        "act_url": f"{request.path}?{urlencode({'plan': asked})}",
    }
    if request.method == "GET":
        return render(request, "portal/subscribe.html", context)
    try:
        if form.is_valid() and _make(request, customer, version, form, context):
            messages.success(request, f"{customer} is subscribed to {version}.")
            return redirect(context["back"])
    except AforoError as error:
        form.refuse(error)
    status = 422 if form.errors or context.get("sure_problem") else 200
    return render(request, "portal/subscribe.html", context, status=status)


def _make(
    request: HttpRequest,
    customer: Customer,
    version: PlanVersion,
    form: TermsForm,
    context: dict[str, Any],
) -> bool:
    """Show what the contract costs at once; make it once that was confirmed."""
    start = form.start()

    def deed() -> SubscriptionSnapshot:
        made = subscriptions.subscribe(
            customer=customer,
            product=version.plan.product,
            plan_version=version,
            start_at=start,
            actor=person(request),
            **form.terms(),
        )
        return made.snapshots.get(number=1)

    trial = trials.attempt(customer, deed)
    past = start if form["starts"].value() != NOW else None
    terms = form.terms()
    said = [version.pk, past, terms["agent"], terms["currency"], terms["commitment"]]
    context |= _reviewed(trial, said)
    context["past"] = past
    if not _is_confirmed(request, context):
        return False
    deed()
    return True


@role_required(*CONTRACTS)
@never_cache
@require_http_methods(["GET", "POST"])
def change(request: HttpRequest, public_id: str) -> HttpResponse:
    """Ask which plan comes next and when; review and announce it."""
    opened = open_contract(request, public_id)
    if isinstance(opened, HttpResponse):
        return opened
    found, last, shared = opened
    assert last.plan_version is not None, "it is open"
    form = NextPlanForm(found, last.plan_version, posted(request))
    before = contracts.plans_of([last])[last.pk]
    context: dict[str, Any] = {
        **shared,
        "last": last,
        "old": before,
        "words": describe(before.plan),
        "form": form,
        "when": NOW if form["when"].value() == NOW else NEXT,
    }
    if request.method == "GET":
        return render(request, "portal/subscription_plan.html", context)
    try:
        if form.is_valid() and _move(request, found, last, form, context):
            since = since_words(context["when"])
            words = f"{found.customer} has {form.chosen} {since}."
            messages.success(request, words)
            return redirect(context["back"])
    except AforoError as error:
        field = error.field if error.field in form.fields else "version"
        refuse(form, AforoError(error.code, error.status, error.detail, field=field))
    status = 422 if form.errors or context.get("sure_problem") else 200
    return render(request, "portal/subscription_plan.html", context, status=status)


def _move(
    request: HttpRequest,
    found: Subscription,
    last: SubscriptionSnapshot,
    form: NextPlanForm,
    context: dict[str, Any],
) -> bool:
    """Show what the change gives back and charges; make it once confirmed."""
    version, at = form.chosen, clock.now() if context["when"] == NOW else None

    def deed() -> SubscriptionSnapshot:
        return moving.move(
            subscription=found, plan_version=version, at=at, actor=person(request)
        )

    trial = trials.attempt(found.customer, deed)
    before: PricedPlan = context["old"]
    left = moving.carried(last, version).left
    context |= _reviewed(trial, [last.pk, version.pk, at is None, left])
    context |= {
        "left": left,
        "new": trial.priced,
        "old_opens": trials.opening_lines(before.plan),
        "new_words": describe(trial.priced.plan),
    }
    if trial.priced.currency == before.currency:
        impact = repricing.last_month({found: before.plan}, trial.priced.plan)
        context["impact"] = impact
        context["effect"] = impact.effects[0] if impact.effects else None
    if not _is_confirmed(request, context):
        return False
    deed()
    return True


def _reviewed(trial: Trial, said: list[Any]) -> dict[str, Any]:
    """Return what a review shows, and a digest of it."""
    seen = [said, [(d.name, d.plan, d.currency, d.amount) for d in trial.dues]]
    return {"trial": trial, "reviewed": digest(seen)}


def _is_confirmed(request: HttpRequest, context: dict[str, Any]) -> bool:
    """Tell whether what was reviewed is what is done, and the box was ticked."""
    if request.POST.get("do") != "apply":
        return False
    if request.POST.get("reviewed") != context["reviewed"]:
        context["stale"] = True
        return False
    if request.POST.get("sure") != "yes":
        context["sure_problem"] = CONFIRM
        return False
    return True
