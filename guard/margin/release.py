"""Somebody lets a blocked customer go on for a while, knowing what it costs."""

from __future__ import annotations

import datetime as dt
import uuid

from aforo.core import audit
from aforo.core.models import User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import books
from billing.models import Customer
from guard.models import Level, MarginChange, MarginLevel, Scope
from guard.signals import margin_changed

MINUTES_MAX = 24 * 60
KEPT = (
    "tenant_id customer_id scope subject_id period_id level revenue cogs margin"
    " currency cost_unknown_count version"
).split()


def release(
    customer: Customer | uuid.UUID,
    scope: str = "",
    minutes: int = 60,
    actor: User | None = None,
    *,
    reason: str = "",
    actor_label: str = "",
) -> list[MarginChange]:
    """Let a customer's blocked subjects pass for some minutes; return what was done.

    `scope` is one of guard.models.Scope; empty: all that are blocked. The level stays;
    it is warned of and not enforced until then. Raises AforoError 422
    `invalid_minutes`, `unknown_scope`; 409 `not_blocked`.
    """
    key = customer.pk if isinstance(customer, Customer) else customer
    if not 1 <= minutes <= MINUTES_MAX:
        detail = f"From 1 to {MINUTES_MAX:,} minutes."
        raise AforoError("invalid_minutes", 422, detail, field="minutes")
    if scope and scope not in Scope.values:
        detail = f"One of {', '.join(Scope.values)}."
        raise AforoError("unknown_scope", 422, detail, field="scope")
    with books.transaction(key) as posting:
        rows = MarginLevel.objects.filter(customer_id=key, level=Level.BLOCK)
        if scope:
            rows = rows.filter(scope=scope)
        found = list(rows.order_by("scope", "subject_id"))
        if not found:
            raise AforoError(
                "not_blocked", 409, "No margin of the customer is blocked."
            )
        until = clock.now() + dt.timedelta(minutes=minutes)
        label = actor_label or str(actor or "Aforo")
        done = [_release(row, until, label) for row in found]
        audit.record(
            tenant=posting.tenant_id,
            actor=actor,
            actor_label=actor_label,
            action="margin.released",
            target=Customer.objects.get(pk=key),
            changes={
                "scopes": [None, ", ".join(row.scope for row in found)],
                "until": [None, until.isoformat()],
            },
            reason=reason,
        )
        posting.touch()  # So the edge hears of it.
    return done


def _release(row: MarginLevel, until: dt.datetime, label: str) -> MarginChange:
    """Release one subject."""
    row.released_until, row.released_by = until, label[:200]
    row.save(update_fields=["released_until", "released_by"])
    change = MarginChange.objects.create(
        **{name: getattr(row, name) for name in KEPT},
        before=row.level,
        cause=MarginChange.Cause.RELEASE,
        actor_label=label[:200],
    )
    margin_changed.send(sender=MarginChange, change=change)
    return change
