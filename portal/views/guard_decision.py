"""One decision taken apart: what was asked, each check, the source of its figure."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.roles import OPERATE, role_required, staff_required
from aforo.lib import ids
from billing.models import Agent, Credential, Customer
from catalog.models import Product
from guard import overrides, wording
from guard.models import Decision
from metering.models import UsageEvent
from portal.account_forms import ReasonForm
from portal.context import acting_tenant
from portal.guardroom import asking, provenance, shown
from portal.pages import admin_url, find, may, person, posted
from portal.views.actions import Deed, ask

# What is shown elsewhere on the page, or is of no use to people.
_ELSEWHERE = ("estimate_micros", "product", "subscription", "override", "would")


def _subject(row: Decision) -> tuple[Customer | None, Agent | None]:
    """Return who called; both may have no row any more."""
    customers, agents = Customer.objects.all(), Agent.objects.select_related("team")
    return (
        customers.filter(pk=row.customer_id).first() if row.customer_id else None,
        agents.filter(pk=row.agent_id).first() if row.agent_id else None,
    )


@staff_required
@require_GET
def decision(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show one decision; with `?replay=1` also what would be decided now."""
    row = find(Decision.objects.all(), "dec", public_id)
    tenant = acting_tenant(request)
    customer, agent = _subject(row)
    currency = customer.currency if customer else tenant.currency
    told = asking.of_stored(row, currency)
    replay: asking.Told | str | None = None
    if customer and request.GET.get("replay"):
        replay = asking.again(tenant, row, customer) or asking.NO_ANSWER
    product = ids.parse_public("prd", row.inputs.get("product", ""))
    used = ids.parse_public("ovr", row.inputs.get("override", ""))
    events = UsageEvent.objects.filter(request_id=row.request_id)
    given = {k: v for k, v in row.inputs.items() if k not in _ELSEWHERE and v != {}}
    context = {
        "row": row,
        "state": shown.state_of(row),
        "told": told,
        "customer": customer,
        "agent": agent,
        "credential": Credential.objects.filter(pk=row.credential_id or row.pk).first(),
        "product": Product.objects.filter(pk=product).first() if product else None,
        "override": overrides.find(used) if used else None,
        "inputs": sorted(given.items()),
        "latency": shown.milliseconds(row.latency_us) if row.latency_us else "",
        "source": provenance.of_decision(row, customer) if customer else None,
        "events": list(events.order_by("id")[:5]) if row.request_id else [],
        "replay": replay,
        "can_lift": bool(customer) and overrides.can_lift(row.reason_code),
        "may_act": may(request, OPERATE),
        "release_url": _deed_url(row, customer, agent, "release"),
        "admin_url": admin_url(row),
    }
    return render(request, "portal/guard_decision.html", context)


def _deed_url(
    row: Decision, customer: Customer | None, agent: Agent | None, deed: str
) -> str:
    """Return where a deed on the decision's subject is confirmed."""
    if customer is None:
        return ""
    path = reverse("guard-deed", args=[(agent or customer).public_id, deed])
    return f"{path}?customer={customer.public_id}&limit={row.reason_code}"


@role_required(*OPERATE)
@require_http_methods(["GET", "POST"])
def allow_once(request: HttpRequest, public_id: str) -> HttpResponse:
    """Let the next call of a decision's subject pass the limit that refused it."""
    row = find(Decision.objects.all(), "dec", public_id)
    customer = find(
        Customer.objects.all(), "cus", ids.public("cus", row.customer_id or row.pk)
    )
    agent = _subject(row)[1]
    form = ReasonForm(posted(request))
    words = wording.reason_words(row.reason_code)
    who = f"{agent} of {customer}" if agent else str(customer)

    def act() -> str:
        overrides.allow_once(
            customer=customer,
            agent=agent,
            limit=row.reason_code,
            actor=person(request),
            reason=form.cleaned_data["reason"],
        )
        return f"The next call of {who} passes the limit “{words}”."

    deed = Deed(
        title=f"Let one call of {who} pass?",
        text=[
            f"The next call within an hour is not held to “{words}”. Other limits are"
            " in force. What it costs is rated and invoiced as ever."
        ],
        button="Allow once",
        back=reverse("guard-decision", args=[row.public_id]),
        crumbs=[("Guard", reverse("guard"))],
    )
    return ask(request, deed, form, act)
