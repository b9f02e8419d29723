"""The moving parts of Home: rendered here for the page and for its socket alike."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
from celery import current_app
from django.core.cache import cache
from django.db import DatabaseError
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from kombu.exceptions import OperationalError

from aforo.core.models import Tenant
from aforo.core.tenancy import as_web
from aforo.lib import clock, ids
from portal import live
from portal.selectors import figures, home
from portal.selectors.figures import Figures, Span
from portal.templatetags import aforo_ui
from portal.ui import figures as words

log = logging.getLogger(__name__)

# Sums over a month are taken again at most so often for open pages.
FIGURES_AFTER_S = 1
ROWS_EVERY_S = 1
# Rows that one announcement carries: of a burst, the latest.
ITEMS_MAX = 20


@dataclass(frozen=True, slots=True)
class Overview:
    """What the key figures of Home are made of."""

    span: Span
    before: Span
    currency: str
    now: Figures
    then: Figures
    others: tuple[Figures, ...]  # In other currencies.

    @property
    def compared(self) -> str:
        """What the changes compare with: vs 1–18 Feb."""
        return f"vs {self.before.days}"


def overview(tenant: Tenant, now: dt.datetime) -> Overview:
    """Return the month to date of a tenant; four statements."""
    span = figures.month_to_date(now)
    before = figures.same_days_before(span)
    found, then = figures.of_tenant(span), figures.of_tenant(before)
    currency = figures.main_currency(found or then, tenant.currency)
    others = tuple(f for c, f in sorted(found.items()) if c != currency)
    return Overview(
        span,
        before,
        currency,
        found.get(currency, Figures(currency)),
        then.get(currency, Figures(currency)),
        others,
    )


def values(seen: Overview, sample: home.Sample) -> dict[str, str]:
    """Return the HTML of every moving figure by its key."""
    now, then = seen.now, seen.then
    # A month in which nothing was used says nothing to compare with.
    known = bool(then.event_count)
    ratio_then = then.margin_ratio if known else None
    was = f"was {words.percent_text(ratio_then)} {seen.compared.removeprefix('vs ')}"
    cost_note = aforo_ui.delta(
        figures.change(now.known_cost, then.known_cost) if known else None,
        "down",
        seen.compared,
    )
    if now.unknown_count and now.known_cost is not None:
        cost_note = format_html(
            '<span class="warn">{} events have no known cost</span>',
            f"{now.unknown_count:,}",
        )
    return {
        "mtd.revenue": words.revenue(now),
        "mtd.revenue.note": aforo_ui.delta(
            figures.change(now.known_revenue, then.revenue) if known else None,
            "up",
            seen.compared,
        ),
        "mtd.cost": words.amount(now.known_cost, seen.currency, now.why_unknown),
        "mtd.cost.note": cost_note,
        "mtd.margin": words.amount(now.margin, seen.currency, now.why_unknown),
        "mtd.margin.note": _margin_note(now, was if ratio_then is not None else ""),
        "mtd.events": words.quantity(now.event_count),
        "mtd.events.note": _sample_note(sample),
        "as_of": words.time_html(seen.span.end, "clock"),
    }


def _margin_note(now: Figures, was: str) -> SafeString:
    """Return the margin's ratio, and what it was."""
    return words.margin_note(now, f", {was}" if was else "")


def _sample_note(sample: home.Sample) -> SafeString:
    """Return how many dimensions one call is billed in."""
    if sample.charges is None:
        return SafeString("none rated yet")
    return format_html(
        "{} charges per call, {} in use",
        words.quantity(sample.charges_shown),
        sample.dimensions,
    )


def feed_html(row: home.Fed) -> str:
    """Return one row of the feed."""
    return render_to_string(
        "portal/_feed_row.html",
        {"row": row, "id": ids.public("evt", row.event_id)},
    )


def on_usage(*, tenant_id: uuid.UUID, event_ids: Sequence[uuid.UUID], **_: Any) -> None:
    """Tell a tenant's open pages what was rated.

    Runs in the worker after the commit. At most one announcement of rows a second;
    the figures follow a moment later, once for all usage until then. Pages are a
    courtesy: their trouble is logged and never stops the relay.
    """
    try:
        if not live.is_watched(tenant_id):
            return
        if event_ids and cache.add(f"home-rows:{tenant_id.hex}", 1, ROWS_EVERY_S):
            with as_web(tenant_id=tenant_id):
                _push_rows(tenant_id, event_ids[-ITEMS_MAX:])
        if cache.add(_due_key(tenant_id), 1, FIGURES_AFTER_S * 10):
            current_app.send_task(
                "portal.push_figures", [str(tenant_id)], countdown=FIGURES_AFTER_S
            )
    except (DatabaseError, redis.RedisError, OperationalError, OSError):
        log.warning("open pages could not be told of usage", exc_info=True)


def _due_key(tenant_id: uuid.UUID) -> str:
    """Return the cache key that says that figures are on their way."""
    return f"home-figures:{tenant_id.hex}"


def push_figures(tenant_id: uuid.UUID) -> None:
    """Swap the figures on a tenant's open pages, as its web role sees them."""
    cache.delete(_due_key(tenant_id))
    with as_web(tenant_id=tenant_id):
        tenant = Tenant.objects.get(pk=tenant_id)
        found = values(overview(tenant, clock.now()), home.sample())
    live.push(tenant_id, {"kind": "kpi", "values": found})


def _push_rows(tenant_id: uuid.UUID, event_ids: Sequence[uuid.UUID]) -> None:
    """Announce rows of the feed, the oldest first."""
    rows = home.fed(event_ids)
    items = [
        {
            "feed": "usage",
            "id": ids.public("evt", row.event_id),
            "html": feed_html(row),
        }
        for row in reversed(rows)
    ]
    live.push(tenant_id, {"kind": "feed", "items": items})
