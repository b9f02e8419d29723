"""Saving the simulator's quantities, and choosing them again."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from aforo.core.roles import PRICING, role_required
from aforo.lib.errors import AforoError
from catalog import scenarios
from catalog.models import UsageScenario
from portal.composer.checking import check
from portal.composer.profiles import quantities
from portal.pages import person
from portal.views.composer import Desk, desk_of, page_of, simulated


@role_required(*PRICING)
@never_cache
@require_POST
def scenario(request: HttpRequest, public_id: str) -> HttpResponse:
    """Save, replace, rename or delete a scenario; the form is shown as it was typed."""
    desk = desk_of(request, public_id)
    deed = request.POST.get("scenario", "save")
    given = request.POST.copy()
    chosen = _chosen(desk, given)
    said, problem = "", ""
    try:
        said = _do(desk, deed, given, chosen)
    except AforoError as error:
        problem = error.detail
    request.POST = given  # type: ignore[assignment]
    asks = {"scenario_problem": problem, "scenario_asks": deed == "delete" and chosen}
    asks |= {"scenario_name": given.get("scenario_name", "") if problem else ""}
    status = 422 if problem else 200
    if getattr(request, "htmx", False):
        context = simulated(desk, check(desk.typed, desk.metrics, patient=True)) | asks
        context["scenario_said"] = said
        answer = "portal/composer_usage.html"
        return render(request, answer, context, status=status)
    if said:
        messages.success(request, said)
    return page_of(desk, more=asks, status=status)


def _chosen(desk: Desk, given: QueryDict) -> UsageScenario | None:
    """Return the scenario that is chosen in the list, if it is the plan's."""
    found = UsageScenario.objects.select_related("plan").filter(plan=desk.plan)
    return next((s for s in found if s.public_id == given.get("customer", "")), None)


def _do(desk: Desk, deed: str, given: QueryDict, chosen: UsageScenario | None) -> str:
    """Do what a button says; return what happened, and choose what was saved."""
    actor = person(desk.request)
    name = given.get("scenario_name", "")
    texts = quantities(given)
    match deed:
        case "save":
            made = scenarios.save(
                plan=desk.plan, name=name, quantities=texts, actor=actor
            )
            _choose(given, made.public_id)
            return f"Scenario {made} was saved."
        case "replace" if chosen:
            scenarios.replace(scenario=chosen, quantities=texts, actor=actor)
            return f"Scenario {chosen} has these quantities now."
        case "rename" if chosen:
            scenarios.rename(scenario=chosen, name=name, actor=actor)
            return f"The scenario is called {chosen} now."
        case "delete-now" if chosen:
            scenarios.delete(scenario=chosen, actor=actor)
            _choose(given, "")
            return f"Scenario {chosen} was deleted; its quantities are still typed."
        case _:
            return ""


def _choose(given: QueryDict, value: str) -> None:
    """Let a profile be chosen as if it had been before: its boxes stay as they are."""
    given["customer"] = given["customer_was"] = value
