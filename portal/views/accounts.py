"""Deeds on a customer, its agents and their credentials."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.models import Role
from aforo.core.roles import MONEY, OPERATE, role_required
from aforo.lib.money import display
from billing import accounts, credentials, wallets
from billing.models import Agent, Credential, Customer
from portal.account_forms import (
    IssueForm,
    ReasonForm,
    RotateForm,
    SpendCapForm,
    TopUpForm,
)
from portal.pages import find, person, posted
from portal.secrets import keep_secret, take_secret, way_back
from portal.views.actions import Deed, ask

# Whoever watches money or traffic may stop a customer.
STOP = (Role.OWNER, Role.FINANCE, Role.OPERATIONS)
METHODS = ["GET", "POST"]


def _url(customer: Customer, tab: str = "") -> str:
    """Return the address of a customer's page."""
    path = reverse("customer", args=[customer.public_id])
    return f"{path}?tab={tab}" if tab else path


def _agent_url(agent: Agent) -> str:
    """Return where an agent stands in its customer's hierarchy."""
    path = reverse("hierarchy", args=[agent.customer.public_id])
    return f"{path}#{agent.public_id}"


def _crumbs(customer: Customer) -> list[tuple[str, str]]:
    return [("Customers", "/customers"), (customer.name, _url(customer))]


@role_required(*MONEY)
@require_http_methods(METHODS)
def top_up(request: HttpRequest, public_id: str) -> HttpResponse:
    """Add credit to a customer's wallet."""
    customer = find(Customer.objects.all(), "cus", public_id)
    form = TopUpForm(posted(request))

    def act() -> str:
        given = form.cleaned_data
        wallets.top_up(
            customer=customer,
            currency=customer.currency,
            amount=given["amount"],
            title=given["title"],
            expires_at=given["expires_on"],
            reason=given["reason"],
            actor=person(request),
        )
        amount = display(given["amount"], customer.currency)
        return f"{amount} added to the wallet of {customer}."

    deed = Deed(
        title=f"Top up the wallet of {customer}",
        text=[
            f"The balance in {customer.currency} grows at once; what is overdrawn is"
            " repaid first. The entry stands in the wallet's ledger for ever."
        ],
        button="Add credit",
        back=_url(customer, "wallet"),
        crumbs=_crumbs(customer),
    )
    return ask(request, deed, form, act)


@role_required(*MONEY)
@require_http_methods(METHODS)
def spend_cap(request: HttpRequest, public_id: str) -> HttpResponse:
    """Limit what may be rated for a customer in a period."""
    customer = find(Customer.objects.all(), "cus", public_id)
    form = SpendCapForm(posted(request), initial={"amount": customer.spend_cap})

    def act() -> str:
        amount = form.cleaned_data["amount"]
        accounts.set_spend_cap(
            customer=customer,
            amount=amount,
            reason=form.cleaned_data["reason"],
            actor=person(request),
        )
        if amount is None:
            return f"{customer} has no spend cap."
        return f"The spend cap of {customer} is {display(amount, customer.currency)}."

    deed = Deed(
        title=f"Spend cap of {customer}",
        text=[
            "The guard refuses calls once the usage rated in a billing period reaches"
            " the cap. It holds from the next check on."
        ],
        button="Save cap",
        back=_url(customer),
        crumbs=_crumbs(customer),
    )
    return ask(request, deed, form, act)


@role_required(*STOP)
@require_http_methods(METHODS)
def suspend(request: HttpRequest, public_id: str) -> HttpResponse:
    """Refuse every call of a customer."""
    customer = find(Customer.objects.all(), "cus", public_id)
    form = ReasonForm(posted(request))

    def act() -> str:
        reason = form.cleaned_data["reason"]
        accounts.suspend_customer(
            customer=customer, actor=person(request), reason=reason
        )
        return f"{customer} is suspended: every call is refused."

    deed = Deed(
        title=f"Suspend {customer}?",
        text=[
            "Every check of every agent is refused from the next call on, until"
            " somebody reactivates the customer. Usage that was served is still rated"
            " and invoiced."
        ],
        button="Suspend",
        danger=True,
        back=_url(customer),
        crumbs=_crumbs(customer),
    )
    return ask(request, deed, form, act)


@role_required(*STOP)
@require_http_methods(METHODS)
def reactivate(request: HttpRequest, public_id: str) -> HttpResponse:
    """Let a customer's calls pass again."""
    customer = find(Customer.objects.all(), "cus", public_id)
    form = ReasonForm(posted(request))

    def act() -> str:
        reason = form.cleaned_data["reason"]
        accounts.reactivate_customer(
            customer=customer, actor=person(request), reason=reason
        )
        return f"{customer} is active again."

    deed = Deed(
        title=f"Reactivate {customer}?",
        text=["Calls pass again, within the limits of the customer's plans."],
        button="Reactivate",
        back=_url(customer),
        crumbs=_crumbs(customer),
    )
    return ask(request, deed, form, act)


@role_required(*OPERATE)
@require_http_methods(METHODS)
def pause_agent(request: HttpRequest, public_id: str) -> HttpResponse:
    """Refuse every call of one agent."""
    agent = find(Agent.objects.select_related("customer"), "agt", public_id)
    form = ReasonForm(posted(request))

    def act() -> str:
        accounts.pause_agent(
            agent=agent, actor=person(request), reason=form.cleaned_data["reason"]
        )
        return f"{agent} is paused: its calls are refused."

    deed = Deed(
        title=f"Pause {agent}?",
        text=[
            f"Every call of this {agent.get_kind_display().lower()} of {agent.customer}"
            " is refused from the next check on, until somebody resumes it."
        ],
        button="Pause",
        danger=True,
        back=_agent_url(agent),
        crumbs=_crumbs(agent.customer),
    )
    return ask(request, deed, form, act)


@role_required(*OPERATE)
@require_http_methods(METHODS)
def resume_agent(request: HttpRequest, public_id: str) -> HttpResponse:
    """Let a paused agent's calls pass again."""
    agent = find(Agent.objects.select_related("customer"), "agt", public_id)
    form = ReasonForm(posted(request))

    def act() -> str:
        accounts.resume_agent(
            agent=agent, actor=person(request), reason=form.cleaned_data["reason"]
        )
        return f"{agent} runs again."

    deed = Deed(
        title=f"Resume {agent}?",
        text=["Its calls pass again, within the limits of the customer's plans."],
        button="Resume",
        back=_agent_url(agent),
        crumbs=_crumbs(agent.customer),
    )
    return ask(request, deed, form, act)


@role_required(*OPERATE)
@never_cache
@require_http_methods(METHODS)
def issue_credential(request: HttpRequest, public_id: str) -> HttpResponse:
    """Make a credential; its secret is shown on the next page, once."""
    agent = find(Agent.objects.select_related("customer"), "agt", public_id)
    form = IssueForm(agent.customer, posted(request))

    def act() -> str:
        made, key = credentials.issue(
            agent=agent,
            products=list(form.cleaned_data["products"]),
            name=form.cleaned_data["name"],
            actor=person(request),
        )
        _keep(request, made, key)
        return ""

    deed = Deed(
        title=f"New credential for {agent}",
        text=["The secret is shown on the next page and never again."],
        button="Make credential",
        back=_agent_url(agent),
        crumbs=_crumbs(agent.customer),
    )
    return ask(request, deed, form, act, then=reverse("credential-secret"))


@role_required(*OPERATE)
@never_cache
@require_http_methods(METHODS)
def rotate_credential(request: HttpRequest, public_id: str) -> HttpResponse:
    """Make the next secret of a credential; the old one may go on for a while."""
    old = find(Credential.objects.select_related("agent__customer"), "crd", public_id)
    form = RotateForm(posted(request))

    def act() -> str:
        made, key = credentials.rotate(
            credential=old,
            overlap=form.cleaned_data["overlap"],
            actor=person(request),
        )
        _keep(request, made, key)
        return ""

    deed = Deed(
        title=f"Rotate {old.hint}",
        text=[
            f"{old.agent} gets a new secret, shown on the next page and never again."
            " The old one goes on working for the time that you choose."
        ],
        button="Rotate",
        back=_agent_url(old.agent),
        crumbs=_crumbs(old.agent.customer),
    )
    return ask(request, deed, form, act, then=reverse("credential-secret"))


@role_required(*OPERATE)
@require_http_methods(METHODS)
def revoke_credential(request: HttpRequest, public_id: str) -> HttpResponse:
    """Refuse a secret from now on."""
    found = find(Credential.objects.select_related("agent__customer"), "crd", public_id)
    form = ReasonForm(posted(request))

    def act() -> str:
        credentials.revoke(
            credential=found,
            actor=person(request),
            reason=form.cleaned_data["reason"],
        )
        return f"{found.hint} is revoked: calls with it are refused."

    deed = Deed(
        title=f"Revoke {found.hint}?",
        text=[
            f"Calls of {found.agent} with this secret are refused within a second."
            " A revoked secret never works again."
        ],
        button="Revoke",
        danger=True,
        back=_agent_url(found.agent),
        crumbs=_crumbs(found.agent.customer),
    )
    return ask(request, deed, form, act)


def _keep(request: HttpRequest, made: Credential, secret: str) -> None:
    """Keep a new secret for the one page that shows it."""
    keep_secret(
        request,
        secret,
        title=f"New secret of {made.agent}",
        client_id=made.client_id or "",
        back=_agent_url(made.agent),
    )


@role_required(*OPERATE)
@never_cache
@require_GET
def secret(request: HttpRequest) -> HttpResponse:
    """Show the secret that was just made; a second look leads back to its owner."""
    kept = take_secret(request)
    if kept is None:
        messages.info(request, "A secret is shown once. Rotate to get a new one.")
        return redirect(way_back(request) or "customers")
    return render(request, "portal/credential_secret.html", {"kept": kept})
