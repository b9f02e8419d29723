"""Deeds of the control room: release, throttle, block, snooze, undo, observe-only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from aforo.core.models import Tenant
from aforo.core.roles import OPERATE, role_required
from aforo.lib import clock
from billing import accounts
from billing.models import Agent, Customer
from guard import observing, overrides
from guard.models import Override
from guard.wording import reason_words
from portal.context import acting_tenant
from portal.guardroom.forms import PanicForm, ReasonForm, SpanForm
from portal.pages import find, person, posted
from portal.views.actions import Deed, ask

METHODS: Final = ["GET", "POST"]
KEY_MAX: Final = 200


def _deed(title: str, text: list[str], button: str, *, danger: bool = False) -> Deed:
    """Return a deed that leads back to the control room."""
    guard = reverse("guard")
    return Deed(
        title=title,
        text=text,
        button=button,
        danger=danger,
        back=guard,
        crumbs=[("Guard", guard)],
    )


def _subject(request: HttpRequest, public_id: str) -> tuple[Customer, Agent | None]:
    """Return whose calls are meant: an agent's, or all of a customer.

    `?customer=` names who pays where an agent works for others too.
    """
    if not public_id.startswith("agt_"):
        return find(Customer.objects.all(), "cus", public_id), None
    agent = find(Agent.objects.select_related("customer"), "agt", public_id)
    payer = request.GET.get("customer", "")
    if payer in ("", agent.customer.public_id):
        return agent.customer, agent
    granted = Customer.objects.filter(credentials__agent=agent).distinct()
    return find(granted, "cus", payer), agent


@role_required(*OPERATE)
@require_http_methods(METHODS)
def deed(request: HttpRequest, public_id: str, name: str) -> HttpResponse:
    """Do something to a subject, after asking."""
    act = DEEDS.get(name)
    if act is None:
        raise Http404(f"There is no deed {name}.")
    customer, agent = _subject(request, public_id)
    return act(request, customer, agent)


def _who(customer: Customer, agent: Agent | None) -> str:
    return f"{agent} of {customer}" if agent else str(customer)


def release(
    request: HttpRequest, customer: Customer, agent: Agent | None
) -> HttpResponse:
    """Lift one limit of a subject for a while."""
    limit = request.GET.get("limit", "")
    if not overrides.can_lift(limit):
        raise Http404(f"{limit[:60]!r} is no limit that can be lifted.")
    form, who = SpanForm(posted(request)), _who(customer, agent)
    words = reason_words(limit)

    def act() -> str:
        made = overrides.release(
            customer=customer,
            agent=agent,
            limit=limit,
            actor=person(request),
            **form.cleaned_data,
        )
        return f"{who} is released from “{words}” until {made.ends_at:%H:%M} UTC."

    text = [
        f"Calls are not held to “{words}” ({limit}) for the time that you choose, from"
        " the next call on. Other limits are in force. What is used meanwhile is rated"
        " and invoiced as ever, and it can be undone."
    ]
    return ask(request, _deed(f"Release {who}?", text, "Release"), form, act)


def throttle(
    request: HttpRequest, customer: Customer, agent: Agent | None
) -> HttpResponse:
    """Slow a subject for a while."""
    form, who = SpanForm(posted(request)), _who(customer, agent)

    def act() -> str:
        made = overrides.throttle(
            customer=customer, agent=agent, actor=person(request), **form.cleaned_data
        )
        return f"{who} is throttled until {made.ends_at:%H:%M} UTC."

    text = [
        "Every call is answered “throttle” from the next one on: it passes slower, or"
        " with the cheaper model of the plan. It ends by itself, and it can be undone."
    ]
    shown = _deed(f"Throttle {who}?", text, "Throttle", danger=True)
    return ask(request, shown, form, act)


def block(
    request: HttpRequest, customer: Customer, agent: Agent | None
) -> HttpResponse:
    """Stop an agent, or a whole customer, until somebody lets it run again."""
    form, who = ReasonForm(posted(request)), _who(customer, agent)

    def act() -> str:
        reason, actor = form.cleaned_data["reason"], person(request)
        if agent:
            accounts.pause_agent(agent=agent, actor=actor, reason=reason)
        else:
            accounts.suspend_customer(customer=customer, actor=actor, reason=reason)
        return f"{who} is blocked: its calls are refused."

    text = [
        "Every call is refused from the next one on, until somebody unblocks it here."
        " Usage that was served is still rated and invoiced."
    ]
    return ask(request, _deed(f"Block {who}?", text, "Block", danger=True), form, act)


def unblock(
    request: HttpRequest, customer: Customer, agent: Agent | None
) -> HttpResponse:
    """Let a stopped subject run again."""
    form, who = ReasonForm(posted(request)), _who(customer, agent)

    def act() -> str:
        reason, actor = form.cleaned_data["reason"], person(request)
        if agent:
            accounts.resume_agent(agent=agent, actor=actor, reason=reason)
        else:
            accounts.reactivate_customer(customer=customer, actor=actor, reason=reason)
        return f"{who} runs again."

    text = ["Its calls pass again, within the limits of the plans."]
    return ask(request, _deed(f"Unblock {who}?", text, "Unblock"), form, act)


Act = Callable[[HttpRequest, Customer, Agent | None], HttpResponse]
DEEDS: Final[dict[str, Act]] = {
    "release": release,
    "throttle": throttle,
    "block": block,
    "unblock": unblock,
}


@role_required(*OPERATE)
@require_http_methods(METHODS)
def snooze(request: HttpRequest) -> HttpResponse:
    """Keep an item out of the lists for a while."""
    key = request.GET.get("key", "")
    if not 0 < len(key) <= KEY_MAX or "\x00" in key:
        raise Http404("Nothing is named that could be snoozed.")
    form = SpanForm(posted(request), initial={"lasts": "240"})

    def act() -> str:
        made = overrides.snooze(
            tenant=acting_tenant(request),
            key=key,
            actor=person(request),
            **form.cleaned_data,
        )
        return f"Snoozed until {made.ends_at:%H:%M} UTC."

    text = [
        f"“{key}” is not listed for the time that you choose. Callers notice nothing:"
        " limits hold as they do."
    ]
    return ask(request, _deed("Snooze it?", text, "Snooze"), form, act)


@role_required(*OPERATE)
@require_http_methods(METHODS)
def undo(request: HttpRequest, public_id: str) -> HttpResponse:
    """End what somebody decided before its time."""
    rows = Override.objects.select_related("customer", "agent")
    row = find(rows, "ovr", public_id)
    form = ReasonForm(posted(request))
    who = _who(row.customer, row.agent) if row.customer else row.name

    def act() -> str:
        overrides.end(
            override=row, actor=person(request), reason=form.cleaned_data["reason"]
        )
        return f"Undone: {row.get_kind_display().lower()}, {who}."

    text = [
        f"{row.get_kind_display()} by {row.actor_label} until"
        f" {row.ends_at:%H:%M} UTC. It ends with the next call."
    ]
    return ask(request, _deed(f"Undo it for {who}?", text, "Undo"), form, act)


@role_required(*OPERATE)
@require_http_methods(METHODS)
def observe_only(request: HttpRequest) -> HttpResponse:
    """Switch the guard to observe-only for half an hour, or back."""
    tenant = acting_tenant(request)
    if observing.current(tenant, clock.now()) is not None:
        return _enforce(request, tenant)
    form = PanicForm(tenant.name, posted(request))

    def act() -> str:
        made = observing.start(
            tenant=tenant, actor=person(request), reason=form.cleaned_data["reason"]
        )
        return f"The guard only observes until {made.ends_at:%H:%M} UTC."

    text = [
        "For 30 minutes no quota, rate, cap, wallet or margin stops or slows a call of"
        f" any customer of {tenant.name}. What would have been refused is recorded,"
        " rated and invoiced; caps may be exceeded.",
        "Unknown and revoked credentials, suspended customers, paused agents and what a"
        " plan does not include are refused as ever. It ends by itself, or here.",
    ]
    title = "Switch the guard to observe-only?"
    return ask(request, _deed(title, text, "Observe only", danger=True), form, act)


def _enforce(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Let limits hold again before the time is over."""
    form = ReasonForm(posted(request))

    def act() -> str:
        observing.stop(
            tenant=tenant, actor=person(request), reason=form.cleaned_data["reason"]
        )
        return "The guard enforces its limits again."

    text = ["Every limit holds again from the next call on."]
    return ask(request, _deed("Enforce limits again?", text, "Enforce"), form, act)
