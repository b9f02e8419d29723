"""One event that was sent twice is void, and one with a wrong count is amended."""

from __future__ import annotations

import hashlib

import msgspec

from aforo.core.models import Tenant
from aforo.lib import clock, ids
from metering import amending, voiding
from metering.identity import Event
from metering.models import EventVoid, UsageEvent

CUSTOMER, TOOL = "vantage", "search_clauses"
VOID_REASON = "The gateway sent this call twice, under two ids."
AMEND_REASON = "The agent reported two calls as one."


def correct(tenant: Tenant) -> int:
    """Void one rated event and amend another, once; return how many were corrected."""
    if EventVoid.objects.filter(tenant=tenant).exists():
        return 0
    rows = UsageEvent.objects.filter(
        tenant=tenant, customer__external_id=CUSTOMER, tool_name=TOOL
    )
    found = list(rows.select_related("customer").order_by("-id")[:2])
    if len(found) < 2:
        return 0
    voiding.void(found[0], reason=VOID_REASON, actor_label="Demo")
    amending.amend(
        found[1], _with_two_calls(found[1]), reason=AMEND_REASON, actor_label="Demo"
    )
    return 2


def _with_two_calls(old: UsageEvent) -> Event:
    """Return the event as it should have been: with two calls."""
    measured = {**old.body.get("measurements", {}), "tool_calls": "2"}
    body = msgspec.json.encode({**old.body, "measurements": measured})
    shown = f"{amending.shown_id(old)}~2"
    return Event(
        id=ids.new_id(),
        shown_id=shown,
        event_id=f"{old.event_id}~2",
        body_hash=hashlib.sha256(shown.encode() + body).digest(),
        customer_id=old.customer_id,
        credential_id=old.credential_id,
        agent_id=old.agent_id,
        team_id=old.team_id,
        product_id=old.product_id,
        event_type=old.event_type,
        tool_name=old.tool_name,
        status=old.status,
        request_id=old.request_id,
        correlation_id=old.correlation_id,
        session_key=old.session_key,
        occurred_at=old.occurred_at,
        received_at=clock.now(),
        flags=list(old.flags),
        body=body.decode(),
    )
