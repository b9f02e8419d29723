"""Spend caps of an agent and of a team: asked for, saved."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from aforo.core.roles import MONEY, role_required
from aforo.lib.money import display
from billing import agent_caps
from billing.models import Agent, Team
from portal.account_forms import SpendCapForm
from portal.pages import find, person, posted
from portal.views.actions import Deed, ask

METHODS = ["GET", "POST"]


def _ask(request: HttpRequest, target: Agent | Team, whose: str) -> HttpResponse:
    """Ask for the cap of an agent or a team, and save it."""
    customer = target.customer
    form = SpendCapForm(posted(request), initial={"amount": target.spend_cap})
    hierarchy = reverse("hierarchy", args=[customer.public_id])

    def act() -> str:
        amount = form.cleaned_data["amount"]
        agent_caps.set_spend_cap(
            target=target,
            amount=amount,
            reason=form.cleaned_data["reason"],
            actor=person(request),
        )
        if amount is None:
            return f"{target} has no spend cap."
        return f"The spend cap of {target} is {display(amount, customer.currency)}."

    deed = Deed(
        title=f"Spend cap of {target}",
        text=[
            f"The guard refuses calls of {whose} once what their usage was charged in a"
            " billing period, and what is in flight, reaches the cap. A cap that is"
            " already met stops them with the next check; they go on when the period"
            " ends or the cap is raised."
        ],
        button="Save cap",
        back=f"{hierarchy}#{target.public_id}",
        crumbs=[
            ("Customers", reverse("customers")),
            (customer.name, reverse("customer", args=[customer.public_id])),
            ("Hierarchy", hierarchy),
        ],
    )
    return ask(request, deed, form, act)


@role_required(*MONEY)
@require_http_methods(METHODS)
def agent(request: HttpRequest, public_id: str) -> HttpResponse:
    """Limit what an agent may be charged in a period."""
    found = find(Agent.objects.select_related("customer"), "agt", public_id)
    return _ask(request, found, f"this {found.get_kind_display().lower()}")


@role_required(*MONEY)
@require_http_methods(METHODS)
def team(request: HttpRequest, public_id: str) -> HttpResponse:
    """Limit what a team's agents together may be charged in a period."""
    found = find(Team.objects.select_related("customer"), "tem", public_id)
    return _ask(request, found, "all of this team's apps and agents")
