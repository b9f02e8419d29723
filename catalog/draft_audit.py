"""Audit entries of drafts: one for each saving, one for a stretch of autosaves."""

from __future__ import annotations

import datetime as dt

from aforo.core import audit
from aforo.core.models import AuditEntry, User
from aforo.lib import clock
from catalog.models import PlanVersion

ACTION = "plan.draft_saved"
STRETCH = dt.timedelta(minutes=10)


def record(draft: PlanVersion, actor: User | None) -> None:
    """Write down that a draft was saved."""
    audit.record(
        tenant=draft.tenant_id,
        actor=actor,
        action=ACTION,
        target=draft,
        changes={"charges": [None, len(draft.body.get("charges", ()))]},
    )


def record_rest(draft: PlanVersion, actor: User | None) -> None:
    """Write down a saving asked for, when autosaves since the last entry said it all.

    Nothing is written where the last entry says already how the draft is.
    """
    last = _last(draft)
    saved_at = draft.saved_at
    if last is None or (saved_at is not None and last.created_at < saved_at):
        record(draft, actor)


def is_covered(draft: PlanVersion, actor: User | None) -> bool:
    """Tell whether the draft's last entry is this person's, of this stretch."""
    last = _last(draft)
    return (
        last is not None
        and last.action == ACTION
        and actor is not None
        and last.actor_id == actor.pk
        and last.created_at > clock.now() - STRETCH
    )


def _last(draft: PlanVersion) -> AuditEntry | None:
    """Return the draft's last entry."""
    entries = AuditEntry.objects.filter(
        tenant_id=draft.tenant_id,
        object_type="planversion",
        object_id=draft.public_id,
    )
    return entries.order_by("-id").first()
