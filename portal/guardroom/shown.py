"""The moving parts of the control room: rendered here for page and poll alike."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from aforo.core.models import Tenant
from aforo.lib import ids
from billing.models import Agent, Customer
from guard import needs, overrides, wording
from guard.models import Decision, Override
from portal.guardroom import limited, pulse
from portal.guardroom.pulse import ENGINE_LIMIT_MS, Counts, Pulse
from portal.templatetags import aforo_ui
from portal.ui import figures as words
from portal.ui import states

TAIL = 15  # decisions that the page lists
PARTS = (
    ("allow", "allowed"),
    ("warn", "warned"),
    ("throttle", "throttled"),
    ("block", "denied"),
)


def milliseconds(us: int | None) -> str:
    """Return a duration of doors: 2.1 ms."""
    if us is None:
        return words.unknown("no check in the last five minutes")
    return f"{us / 1000:g} ms"


def _share(part: int, whole: int) -> str:
    if not whole:
        return "–"
    return words.percent_text(Decimal(part) / whole)


def _shares(counts: Counts) -> SafeString:
    """Return how the checks of two minutes were answered."""
    return format_html_join(
        " ",
        '<span class="answer">{} <strong>{}</strong></span>',
        (
            (aforo_ui.status(state), _share(getattr(counts, name), counts.total))
            for state, name in PARTS
        ),
    )


def _series(seen: Pulse) -> str:
    """Return the stacked series of an hour, which changes once a minute."""
    total = sum(counts.total for _, counts in seen.series)
    if not total:
        return format_html('<p class="muted">{}</p>', "No check in the last hour.")
    rows: list[dict[str, Any]] = []
    for state, name in PARTS:
        values = [Decimal(getattr(counts, name)) for _, counts in seen.series]
        rows.append(
            {
                "label": states.describe(state).word,
                "values": values,
                "texts": [f"{v:,}" for v in values],
                "text": f"{sum(values):,}",
            }
        )
    denied = sum(counts.denied for _, counts in seen.series)
    context = {
        "steps": [f"{at:%H:%M}" for at, _ in seen.series],
        "rows": rows,
        "caption": f"{total:,} checks in 60 minutes, {denied:,} blocked",
    }
    return render_to_string("portal/_guard_series.html", context)


def _tone(is_bad: bool, text: str) -> SafeString:
    """Return a figure, marked by icon and word when it is out of bounds."""
    if not is_bad:
        return format_html("{}", text)
    return format_html(
        '<span class="bad">{}{}</span>', aforo_ui.icon("triangle-alert"), text
    )


def head(seen: Pulse) -> dict[str, str]:
    """Return the HTML of the header's figures by their key."""
    slow = seen.p99_us is not None and seen.p99_us > ENGINE_LIMIT_MS * 1000
    redis = (
        _tone(True, "no answer")
        if seen.redis_ms is None
        else format_html("{} ms", f"{seen.redis_ms:.1f}")
    )
    p99 = milliseconds(seen.p99_us)
    return {
        "guard.state": aforo_ui.status(seen.state, pill=True),
        "guard.redis": redis,
        "guard.p50": milliseconds(seen.p50_us),
        "guard.p99": _tone(slow, p99) if slow else p99,
        "guard.open": _tone(seen.failed_open > 0, f"{seen.failed_open:,}"),
        "guard.rate": f"{seen.rate:,.1f}" if seen.rate < 10 else f"{seen.rate:,.0f}",
        "guard.shares": _shares(seen.recent),
        "guard.series": _series(seen),
        "as_of": words.time_html(seen.at, "clock"),
    }


def lists(tenant: Tenant, now: dt.datetime, *, may_act: bool) -> dict[str, str]:
    """Return the HTML of who is limited and of what people decided, by their key."""
    rows = limited.without(limited.now_limited(tenant, now), needs.snoozed(now))
    people = overrides.in_force(now)
    common = {"may_act": may_act, "now": now}
    return {
        "guard.limited": render_to_string(
            "portal/_guard_limited.html", {**common, "rows": rows}
        ),
        "guard.people": render_to_string(
            "portal/_guard_people.html", {**common, "rows": people}
        ),
    }


def needed(tenant: Tenant, now: dt.datetime, *, may_act: bool) -> dict[str, str]:
    """Return the HTML of what needs somebody."""
    context = {"rows": needs.found(tenant, now), "may_act": may_act}
    return {"guard.needs": render_to_string("portal/_guard_needs.html", context)}


def values(tenant: Tenant, now: dt.datetime, *, may_act: bool) -> dict[str, str]:
    """Return the HTML of everything that moves, by its key."""
    return {
        **head(pulse.read(tenant, now)),
        **lists(tenant, now, may_act=may_act),
        **needed(tenant, now, may_act=may_act),
    }


def item_html(row: Decision, customers: Any, agents: Any) -> str:
    """Return one decision as a row of the tail."""
    return render_to_string(
        "portal/_guard_row.html",
        {
            "row": row,
            "state": state_of(row),
            "words": wording.reason_words(row.reason_code),
            "customer": customers.get(row.customer_id),
            "agent": agents.get(row.agent_id),
            "latency": milliseconds(row.latency_us) if row.latency_us else "",
        },
    )


def state_of(row: Decision) -> str:
    """Return the one word that a decision is shown as."""
    if row.observed:
        return "observed"
    if row.degraded and row.decision == "allow":
        return "degraded"
    return "warn" if row.warned else row.decision


def tail(rows: Sequence[Decision]) -> list[dict[str, str]]:
    """Return decisions as items of the tail, in their order; two statements."""
    customers = Customer.objects.in_bulk({r.customer_id for r in rows if r.customer_id})
    agents = Agent.objects.in_bulk({r.agent_id for r in rows if r.agent_id})
    return [
        {
            "feed": "decisions",
            "id": ids.public("dec", row.pk),
            "html": item_html(row, customers, agents),
        }
        for row in rows
    ]


def kind_words(row: Override) -> str:
    """Return what an override does, in words."""
    if row.kind == Override.Kind.THROTTLE:
        return "is slowed"
    return f"{row.get_kind_display().lower()}: {wording.reason_words(row.name)}"
