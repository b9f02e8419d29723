"""Events: the tail, what has no price, and one event taken apart."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import django_filters
from django.contrib import messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from aforo.core.roles import OPERATE, role_required, staff_required
from aforo.lib import ids
from aforo.lib.money import display
from catalog.models import Product
from metering import tasks, unrateable
from metering.advice import NEED_AMENDING, advice
from metering.models import Unrateable, UsageEvent
from portal import csvs, paging
from portal.context import acting_tenant
from portal.event_filters import BehindFigures
from portal.filters import OfCustomers, empty_model, text_box
from portal.pages import admin_url, curl, may, person
from portal.selectors import event_notes, events, outcomes, usage_block
from portal.selectors.sessions import with_effects
from portal.ui import figures as words

STATUSES = (
    ("", "All"),
    ("rated", "Rated"),
    ("pending", "Pending"),
    ("unrateable", "Without price"),
    ("void", "Void"),
)
# One replay is one transaction a customer: more are replayed in rounds.
REPLAY_MAX = 1_000


class EventFilter(BehindFigures, OfCustomers):
    """Filters of the events, all in the address; the status is a tab."""

    q = django_filters.CharFilter(
        label="Event or correlation id",
        method="filter_id",
        widget=text_box("Exact id"),
    )
    type = django_filters.CharFilter(
        field_name="event_type", label="Type", widget=text_box("llm.completion")
    )
    tool = django_filters.CharFilter(
        label="Tool", method="filter_tool", widget=text_box("search_flights")
    )
    product = django_filters.ModelChoiceFilter(
        queryset=lambda request: Product.objects.order_by("name"),
        empty_label="Any product",
    )
    Meta = empty_model(UsageEvent)

    def filter_id(
        self, rows: QuerySet[UsageEvent], name: str, value: str
    ) -> QuerySet[UsageEvent]:
        """Keep the event with exactly this id, or those of this piece of work.

        Exact only: a table of millions is never searched through.
        """
        own = ids.parse_public("evt", value)
        if own:
            return rows.filter(pk=own)
        return rows.filter(
            Q(event_id=value) | Q(correlation_id=value) | Q(request_id=value)
        )


def _filtered(request: HttpRequest) -> tuple[EventFilter, str, str]:
    """Return the filtered events, the status of the tab and the reason, if any."""
    status = request.GET.get("status", "")
    if status not in dict(STATUSES):
        status = ""
    reason = request.GET.get("reason", "") if status == "unrateable" else ""
    rows = events.table(status, reason)
    return EventFilter(request.GET, queryset=rows, request=request), status, reason


@staff_required
@require_GET
def table(request: HttpRequest) -> HttpResponse:
    """Show the events, newest first, with what became of each."""
    found, status, reason = _filtered(request)
    page = paging.page(with_effects(found.qs), order="-id", query=request.GET)
    query = request.GET.copy()
    for name in ("after", "before", "reason"):
        query.pop(name, None)
    tabs = []
    reasons = events.reasons()
    for key, label in STATUSES:
        query["status"] = key
        count = sum(r[2] for r in reasons) if key == "unrateable" else None
        tabs.append(
            {
                "label": label,
                "url": f"?{query.urlencode()}",
                "current": key == status,
                "count": count,
            }
        )
    context = {
        "filter": found,
        "status": status,
        "reason": reason,
        "reasons": reasons,
        "advice": advice(reason),
        "tabs": tabs,
        "page": page,
        "rows": events.rows(page.rows),
        "may_replay": may(request, OPERATE),
        "clear_url": f"/events?status={status}" if status else "/events",
        "curl": curl(request.build_absolute_uri("/").rstrip("/")),
    }
    return render(request, "portal/events.html", context)


CSV_HEAD = [
    "id",
    "event_id",
    "occurred_utc",
    "received_utc",
    "customer",
    "agent",
    "product",
    "event_type",
    "tool",
    "status",
    "correlation_id",
    "request_id",
    "session",
    "amount",
    "currency",
    "cost",
    "cost_currency",
    "measurements",
    "without_price",
    "detail",
    "what_to_do",
    "void",
    "state",
    "taken_back",
]
STATES = dict(STATUSES)


def _csv_row(event: Any) -> list[Any]:
    """Return an event as a CSV row.

    `amount` is what is left in the books, so that a sum of it is theirs; of a void
    event `taken_back` is what it was charged.
    """
    return [
        ids.public("evt", event.pk),
        event.event_id,
        event.occurred_at,
        event.received_at,
        event.customer.name,
        event.agent.name if event.agent else "",
        event.product.name if event.product else "",
        event.event_type,
        event.tool_name,
        event.status,
        event.correlation_id,
        event.request_id,
        event.session_key,
        event.net,
        event.currency,
        event.cost,
        event.cost_currency,
        json.dumps(event.body.get("measurements", {})),
        *_why(event),
        STATES[events.state(event)],
        None if event.void_amount is None else event.amount,
    ]


def _why(event: Any) -> list[str]:
    """Return why an event has no price and what to do, and why it is void."""
    listed = getattr(event, "unrateable", None)
    if listed is not None and listed.resolved_at is not None:
        listed = None
    void = getattr(event, "void", None)
    return [
        listed.get_reason_display() if listed else "",
        listed.detail if listed else "",
        advice(listed.reason) if listed else "",
        void.reason if void else "",
    ]


@staff_required
@require_GET
def table_csv(request: HttpRequest) -> HttpResponse:
    """Give exactly the filtered events as CSV."""
    found, _, _ = _filtered(request)
    whole = with_effects(found.qs).select_related(
        "customer", "agent", "product", "unrateable", "void"
    )
    rows = whole.order_by("-id")[: csvs.ROWS_MAX + 1]
    return csvs.response(
        "events.csv", CSV_HEAD, (_csv_row(row) for row in rows.iterator(2000))
    )


@staff_required
@require_GET
def event(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show one event with all that is known of it."""
    key = ids.parse_public("evt", public_id)
    told = events.story(key) if key else None
    if told is None:
        raise Http404(f"There is no event {public_id}.")
    took = told.event.received_at - told.event.occurred_at
    listed = told.row.unrateable
    measured = usage_block.measured(told.event.body)
    free = event_notes.uncharged(told, measured)
    context = {
        "told": told,
        "event": told.event,
        "public_id": public_id,
        "tool": event_notes.tool_note(told.event, told.product),
        "admin_url": admin_url(told.event),
        "raw": json.dumps(told.event.body, indent=2, ensure_ascii=False),
        "measurements": [(n, v, n in free) for n, v in sorted(measured.items())],
        "usage": usage_block.usage(told.event.body),
        "properties": sorted(told.event.body.get("properties", {}).items()),
        "delay": words.duration_text(max(0, took // events.MILLISECOND)),
        "may_replay": may(request, OPERATE),
        "advice": advice(listed.reason) if listed else "",
        # A replay is no more than offered where it finds the same again.
        "replay_kind": "" if listed and listed.reason in NEED_AMENDING else "primary",
        "outcomes": outcomes.of_event(told.event, told.plan.plan) if told.plan else [],
        **_worth(told),
    }
    return render(request, "portal/event.html", context)


def _reported_note(
    reported: Decimal | None, cost: Decimal | None, currency: str
) -> str:
    """Say what the provider itself reported, and how far that is from our figure."""
    if reported is None:
        return ""
    text = f"provider reported {display(reported, currency)}"
    if not cost:
        return text
    gap = reported - cost
    if not gap:
        return f"{text}, the same"
    share = (abs(gap) / cost * 100).quantize(Decimal("0.1"))
    return f"{text}, {share} % {'more' if gap > 0 else 'less'} than ours"


def _worth(told: events.Story) -> dict[str, Any]:
    """Return price, cost and margin of an event, and why any is not known."""
    fact, price = told.fact, told.price
    cost = fact.amount if fact else None
    why_no_cost = (fact.unknown if fact else "") or "it was not costed yet"
    same = fact is not None and fact.currency == told.currency
    margin = price - cost if same and price is not None and cost is not None else None
    why = "the event has no price yet" if price is None else why_no_cost
    if fact is not None and not same:
        why = f"cost is in {fact.currency}, price in {told.currency}"
    elif margin is not None:
        why = "nothing is charged for it"
    currency = fact.currency if fact else told.currency
    reported = told.reported
    return {
        "price": price,
        "cost": cost,
        "cost_currency": currency,
        "why_no_cost": why_no_cost,
        "cost_note": " ".join(p for p in (fact.provider, fact.model) if p)
        if fact
        else "",
        "reported_note": _reported_note(reported, cost, currency),
        "cost_lines": [
            (line, event_notes.rate_words(line, currency)) for line in told.cost_lines
        ],
        "cost_corrections": told.facts[1:],
        "margin": margin,
        "margin_ratio": margin / price if margin is not None and price else None,
        "why_no_margin": why,
    }


@role_required(*OPERATE)
@require_POST
def replay(request: HttpRequest) -> HttpResponse:
    """Rate events without a price again: the ticked ones, or all of a reason."""
    rows = Unrateable.objects.filter(resolved_at__isnull=True)
    if reason := request.POST.get("reason", ""):
        rows = rows.filter(reason=reason)
    else:
        rows = rows.filter(event__in=_ticked(request))
    chosen = list(rows.order_by("id").values_list("pk", flat=True)[: REPLAY_MAX + 1])
    last = rows.order_by("-id").values_list("pk", flat=True).first()
    if reason and len(chosen) > REPLAY_MAX:
        _replay_later(request, reason, last)
    elif not chosen:
        messages.info(request, "No event was chosen, or all have a price by now.")
    else:
        priced, refused = unrateable.replay(chosen, actor=person(request))
        say = messages.success if not refused else messages.warning
        say(
            request,
            f"{priced:,} of {len(chosen):,} events now have a price."
            + (f" {refused:,} still have none." if refused else ""),
        )
    return redirect(_back(request))


def _replay_later(request: HttpRequest, reason: str, last: uuid.UUID | None) -> None:
    """Let a worker replay very many events; the count of the reason falls meanwhile."""
    tenant, actor = acting_tenant(request), person(request)
    args = [str(tenant.pk), reason, str(last), str(actor.pk) if actor else ""]
    transaction.on_commit(lambda: tasks.replay_reason.delay(*args))
    messages.info(
        request,
        "They are replayed in the background. The number beside the reason is what is"
        " left; load the page again to see how far it is.",
    )


def _ticked(request: HttpRequest) -> list[uuid.UUID]:
    """Return the ids of the events that were ticked."""
    found = (ids.parse_public("evt", text) for text in request.POST.getlist("event"))
    return [key for key in found if key]


def _back(request: HttpRequest) -> str:
    """Return where the person came from: a page of one event, or the list."""
    public_id = request.POST.get("back", "")
    if ids.parse_public("evt", public_id):
        return f"/events/{public_id}"
    return "/events?status=unrateable"
