"""A contract's own prices: what the plan lists, what the customer pays instead."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from aforo.core.roles import role_required
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import contracts, own_prices
from billing.models import Subscription, SubscriptionSnapshot
from billing.own_prices import Review
from catalog import effective
from catalog.models import Metric
from catalog.plans import PricedPlan, load_plans
from catalog.pricing import Own, Plan, plan_of_contract
from catalog.pricing.words import money_words
from metering import repricing
from portal.composer.own import OwnForm
from portal.composer.posting import without_nul
from portal.pages import person
from portal.views.contract_pages import (
    CONTRACTS,
    NEXT,
    NOW,
    digest,
    open_contract,
    since_words,
)


@role_required(*CONTRACTS)
@never_cache
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show the plan's prices beside the contract's own; review and set these."""
    opened = open_contract(request, public_id)
    if isinstance(opened, HttpResponse):
        return opened
    found, last, shared = opened
    form = OwnForm.stored(*_plans(last), last.overrides.get("charges", {}))
    context: dict[str, Any] = {
        **shared,
        "version": last.plan_version,
        "act_url": reverse("own-prices", args=[found.public_id]),
        "when": NEXT,
        "reason": "",
        "problems": {},
    }
    if request.method == "GET":
        return _page(request, form, context)
    request.POST = given = without_nul(request.POST)  # type: ignore[assignment]
    form.post(given)
    context["when"] = NOW if given.get("when") == NOW else NEXT
    context["reason"] = given.get("reason", "")[:300]
    deed = given.get("do", "review")
    if deed not in ("review", "apply"):
        form.act(deed)
        return _page(request, form, context)
    return _decide(request, found, form, context)


def commitment_words(snapshot: SubscriptionSnapshot | None) -> str:
    """Return what a contract itself is committed to; empty: what its plan says."""
    if snapshot is None or not snapshot.commitment:
        return ""
    amount, price = (snapshot.commitment[name] for name in ("amount", "price"))
    currency = snapshot.overrides.get("currency", "")
    return f"{int(amount):,} calls for {money_words(Decimal(str(price)), currency)}"


def _plans(last: SubscriptionSnapshot) -> tuple[Plan, Plan]:
    """Return what the contract would pay as listed, and what it pays now."""
    assert last.plan_version_id is not None, "last_snapshot refuses an end"
    (priced,) = load_plans({last.plan_version_id}).values()
    current: PricedPlan = contracts.plans_of([last])[last.pk]
    own = effective.own_of(last.overrides, last.commitment)
    listed = plan_of_contract(priced.plan, Own(current.currency, {}, own.commitment))
    return listed, current.plan


def _decide(
    request: HttpRequest,
    found: Subscription,
    form: OwnForm,
    context: dict[str, Any],
) -> HttpResponse:
    """Show what would change; set it once that was seen and the name is typed."""
    metrics = {m.code: m for m in Metric.objects.filter(tenant=found.tenant_id)}
    checked = form.check(metrics)
    if checked.problems:
        context["problems"] = checked.problems
        return _page(request, form, {**context, "summary": checked.summary}, 422)
    charges = form.charges()
    try:
        review = own_prices.review(found, charges)
        context |= _reviewed(found, review, context)
        if request.POST.get("do") == "apply" and _is_confirmed(request, found, context):
            own_prices.set_prices(
                subscription=found,
                charges=charges,
                at=clock.now() if context["when"] == NOW else None,
                actor=person(request),
                reason=context["reason"],
            )
            words = f"{found.customer} has these prices"
            messages.success(request, f"{words} {since_words(context['when'])}.")
            return redirect(context["back"])
    except AforoError as error:
        box = form.box(error.field or "") or "review"
        context["problems"] = {box: error.detail}
        context["summary"] = [(box, error.detail, error.detail)]
        return _page(request, form, context, 422)
    status = 422 if context.get("name_problem") else 200
    return _page(request, form, context, status)


def _reviewed(
    found: Subscription, review: Review, context: dict[str, Any]
) -> dict[str, Any]:
    """Return what the review shows, and a digest of it."""
    said = [review.agreed.overrides, context["when"]]
    impact = repricing.last_month({found: review.before.plan}, review.after.plan)
    return {
        "changes": review.changes,
        "reviewed": digest(said),
        "impact": impact,
        "effect": impact.effects[0] if impact.effects else None,
    }


def _is_confirmed(
    request: HttpRequest, found: Subscription, context: dict[str, Any]
) -> bool:
    """Tell whether what was reviewed is what is set, and the name was typed."""
    if request.POST.get("reviewed") != context["reviewed"]:
        context["stale"] = True
        return False
    name = request.POST.get("name", "").strip()
    if name != found.customer.name:
        context["name_problem"] = (
            f"“{name}” is not the customer's name. Type “{found.customer.name}”."
        )
        return False
    return True


def _page(
    request: HttpRequest, form: OwnForm, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    """Render the page."""
    context |= {
        "rows": form.rows(context["problems"]),
        "currency": form.listed.currency,
        "focus": form.focus,
    }
    return render(request, "portal/own_prices.html", context, status=status)
