"""Sessions: the list, and one run as a waterfall."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.roles import OPERATE, role_required, staff_required
from aforo.lib import ids
from aforo.lib.money import display
from catalog.models import Product
from metering import ending
from metering.models import Session
from portal import csvs, paging
from portal.filters import OfCustomers, empty_model, text_box
from portal.pages import admin_url, curl, find, may, person, posted
from portal.selectors import session_estimate, sessions, waterfall
from portal.ui import figures as words
from portal.views.actions import Deed, ask

SORTS = {
    "started": "started_at",
    "price": "price",
    "cost": "cost",
    "events": "event_count",
    "tools": "tool_invocation_count",
}
DEFAULT_SORT = "-started"


class SessionFilter(OfCustomers):
    """Filters of the sessions, all in the address."""

    q = django_filters.CharFilter(
        label="Session", method="filter_key", widget=text_box("Session id")
    )
    agent = django_filters.CharFilter(
        method="filter_agent", widget=text_box("Agent's name or id")
    )
    state = django_filters.ChoiceFilter(
        choices=Session.State.choices, empty_label="Any state"
    )
    product = django_filters.ModelChoiceFilter(
        queryset=lambda request: Product.objects.order_by("name"),
        empty_label="Any product",
    )
    Meta = empty_model(Session)

    def filter_key(
        self, rows: QuerySet[Session], name: str, value: str
    ) -> QuerySet[Session]:
        """Keep sessions whose id has the text, or that are ours by that id."""
        own = ids.parse_public("ses", value)
        match = Q(key__icontains=value)
        return rows.filter(match | Q(pk=own) if own else match)

    def filter_agent(
        self, rows: QuerySet[Session], name: str, value: str
    ) -> QuerySet[Session]:
        """Keep sessions of agents with the text in their name, or of that id."""
        own = ids.parse_public("agt", value)
        match = Q(agent__name__icontains=value) | Q(agent__external_id=value)
        return rows.filter(match | Q(agent=own) if own else match)


def _filtered(request: HttpRequest) -> tuple[SessionFilter, str]:
    """Return the filtered sessions and the order in force."""
    order = paging.chosen_order(request.GET, SORTS, DEFAULT_SORT)
    found = SessionFilter(request.GET, queryset=sessions.table(), request=request)
    return found, order


@staff_required
@require_GET
def table(request: HttpRequest) -> HttpResponse:
    """Show the sessions."""
    found, order = _filtered(request)
    context = {
        "filter": found,
        "page": paging.page(found.qs, order=order, query=request.GET),
        "default_sort": DEFAULT_SORT,
        "curl": curl(request.build_absolute_uri("/").rstrip("/")),
    }
    return render(request, "portal/sessions.html", context)


CSV_HEAD = [
    "session_id",
    "key",
    "customer",
    "agent",
    "product",
    "state",
    "started_utc",
    "ended_utc",
    "events",
    "tool_calls",
    "errors",
    "input_tokens",
    "output_tokens",
    "duration_ms",
    "currency",
    "price",
    "cost",
    "events_without_cost",
]


def _csv_row(row: Session) -> list[Any]:
    """Return a session as a CSV row."""
    return [
        row.public_id,
        row.key,
        row.customer.name,
        row.agent.name if row.agent else "",
        row.product.name if row.product else "",
        row.state,
        row.started_at,
        row.ended_at,
        row.event_count,
        row.tool_invocation_count,
        row.error_count,
        row.input_tokens,
        row.output_tokens,
        row.total_duration_ms,
        row.currency,
        row.price,
        row.cost,
        row.cost_unknown_count,
    ]


@staff_required
@require_GET
def table_csv(request: HttpRequest) -> HttpResponse:
    """Give exactly the filtered sessions as CSV."""
    found, order = _filtered(request)
    rows = paging.sort(found.qs, order)[: csvs.ROWS_MAX + 1].iterator(2000)
    return csvs.response("sessions.csv", CSV_HEAD, (_csv_row(r) for r in rows))


@staff_required
@require_GET
def session(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show one run: counters, stages and every event on a time line."""
    found = find(sessions.table(), "ses", public_id)
    trace = sessions.trace(found)
    all_unknown = found.cost_unknown_count >= found.event_count > 0
    margin = None if all_unknown else found.price - found.cost
    context = {
        "session": found,
        "admin_url": admin_url(found),
        "fall": waterfall.waterfall(found),
        "estimate": session_estimate.estimate(found),
        "trace": trace,
        "known_cost": None if all_unknown else found.cost,
        "margin": words.amount(margin, found.currency, "no event's cost is known"),
        "margin_ratio": margin / found.price
        if margin is not None and found.price
        else None,
        "why_no_margin": "nothing was charged yet"
        if margin is not None
        else "no event's cost is known",
        "errors_note": f"{found.tool_invocation_count:,} tool calls"
        + (f", {found.error_count:,} failed" if found.error_count else ""),
        "tokens_note": f"{found.input_tokens:,} in, {found.output_tokens:,} out",
        "unknown_note": _unknown_note(found),
        "may_end": may(request, OPERATE) and found.state not in ending.STATES,
    }
    return render(request, "portal/session.html", context)


def _unknown_note(found: Session) -> str:
    """Return how many events have no known cost."""
    if not found.cost_unknown_count:
        return ""
    return f"{found.cost_unknown_count:,} events have no known cost"


class EndForm(forms.Form):
    """How a session ended, and why somebody says so."""

    state = forms.ChoiceField(
        label="It has",
        choices=[(s.value, s.label) for s in ending.STATES],
        initial=Session.State.COMPLETED,
        help_text="What was used is billed either way.",
    )
    reason = forms.CharField(
        max_length=300, required=False, help_text="Kept in the audit."
    )


@role_required(*OPERATE)
@require_http_methods(["GET", "POST"])
def end(request: HttpRequest, public_id: str) -> HttpResponse:
    """Ask, and end a session now; one that has ended already stays as it is."""
    found = find(sessions.table(), "ses", public_id)
    back = reverse("session", args=[found.public_id])
    if found.state in ending.STATES:
        messages.info(request, "The session had ended already; nothing changed.")
        return redirect(back)
    form = EndForm(posted(request))
    so_far = display(found.price, found.currency)

    def act() -> str:
        ended, is_new = ending.end(found, actor=person(request), **form.cleaned_data)
        if not is_new:
            return "The session had ended already; nothing changed."
        word = ended.get_state_display().lower()
        total = display(ended.price, ended.currency)
        return f"The session has {word}; it comes to {total} for {found.customer}."

    deed = Deed(
        title="End this session?",
        text=[
            f"{found.customer} was charged {so_far} for it so far. Its end adds at once"
            " what the plan charges for it then, such as the penalty of its errors.",
            "The end stays. Calls are not refused: an event that still names the"
            " session is attached to it, counted and billed.",
        ],
        button="End the session",
        back=back,
        crumbs=(("Sessions", "/sessions"), (found.key[:60], back)),
        danger=True,
    )
    return ask(request, deed, form, act)
