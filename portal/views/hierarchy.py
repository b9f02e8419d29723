"""A customer's hierarchy: teams, agents and keys; and adding to it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.roles import ACCOUNTS, role_required, staff_required
from billing import accounts
from billing.models import Agent, Customer, Team
from portal.account_forms import AgentForm, TeamForm
from portal.pages import find, person, posted
from portal.selectors import hierarchy
from portal.views.actions import Deed, ask
from portal.views.customer import HIERARCHY, frame

METHODS = ["GET", "POST"]


def hierarchy_url(customer: Customer) -> str:
    """Return the address of a customer's hierarchy."""
    return reverse("hierarchy", args=[customer.public_id])


@staff_required
@require_GET
def page(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show teams with agents and keys, their caps and the month's spend."""
    found = find(Customer.objects.select_related("books"), "cus", public_id)
    context: dict[str, Any] = frame(request, found, HIERARCHY)
    span = context["span"]
    caps = hierarchy.caps(found, span.end)
    guard = context["guard_by_agent"]
    context |= {
        "caps": caps,
        "tree": hierarchy.tree(found, span, request.GET, caps, guard),
        "team_url": reverse("team-new", args=[found.public_id]),
    }
    return render(request, "portal/customer_hierarchy.html", context)


def _crumbs(customer: Customer) -> list[tuple[str, str]]:
    """Return the way to a form of the hierarchy."""
    path = reverse("customer", args=[customer.public_id])
    return [
        ("Customers", "/customers"),
        (customer.name, path),
        ("Hierarchy", hierarchy_url(customer)),
    ]


@role_required(*ACCOUNTS)
@require_http_methods(METHODS)
def add_team(request: HttpRequest, public_id: str) -> HttpResponse:
    """Add a team to a customer."""
    customer = find(Customer.objects.all(), "cus", public_id)
    form = TeamForm(posted(request))

    def act() -> str:
        made = accounts.create_team(
            customer=customer, actor=person(request), **form.cleaned_data
        )
        return f"Team {made} is added. Now give it an app or agent."

    deed = Deed(
        title=f"Add a team to {customer}",
        text=[
            "A team owns apps and agents. What they use is attributed to it, and"
            " invoiced to the customer."
        ],
        button="Add team",
        back=hierarchy_url(customer),
        crumbs=_crumbs(customer),
    )
    return ask(request, deed, form, act)


@role_required(*ACCOUNTS)
@require_http_methods(METHODS)
def add_agent(request: HttpRequest, public_id: str) -> HttpResponse:
    """Add an app or an agent to a team."""
    team = find(Team.objects.select_related("customer"), "tem", public_id)
    form = AgentForm(posted(request))

    def act() -> str:
        given = form.cleaned_data
        made = accounts.create_agent(
            team=team,
            actor=person(request),
            **given
            | {
                "kind": Agent.Kind(given["kind"]),
                "agent_type": Agent.AgentType(given["agent_type"]),
            },
        )
        return f"{made} is added. It can call once it has a credential."

    deed = Deed(
        title=f"Add an app or agent to {team}",
        text=[
            f"{team} is a team of {team.customer}. An app calls with a bearer token, an"
            " agent with a client id and secret; you make either on the next page."
        ],
        button="Add",
        back=hierarchy_url(team.customer),
        crumbs=_crumbs(team.customer),
    )
    return ask(request, deed, form, act)
