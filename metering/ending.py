"""The end of a session that somebody says by hand, without an event."""

from __future__ import annotations

from django.db import transaction

from aforo.core import audit
from aforo.core.models import User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import books
from metering import settling
from metering.models import Session

STATES = (Session.State.COMPLETED, Session.State.FAILED)


def end(
    session: Session,
    *,
    state: str = Session.State.COMPLETED,
    reason: str = "",
    actor: User | None = None,
    actor_label: str = "",
) -> tuple[Session, bool]:
    """End a session now; return it, and whether it went on until now.

    What its end adds to its price is posted at once. One that has completed or failed
    stays as it is; an expired one takes the new word. Raises AforoError 422
    `invalid_state`.
    """
    if state not in STATES:
        detail = f"a session ends as {' or '.join(STATES)}"
        raise AforoError("invalid_state", 422, detail, field="state")
    with transaction.atomic():
        postings = books.lock([session.customer_id])
        found = Session.objects.select_for_update().get(pk=session.pk)
        if found.state in STATES:
            return found, False
        before = found.state
        found.state = state
        if found.ended_at is None:
            found.ended_at = max(clock.now(), found.started_at)
        found.save(update_fields=["state", "ended_at"])
        audit.record(
            tenant=found.tenant_id,
            action="session.ended",
            target=found,
            actor=actor,
            actor_label=actor_label,
            changes={"state": [before, state]},
            reason=reason,
        )
        for posting in postings:
            posting.touch()
        books.write(postings)
        settling.settle_customer(found.customer_id, found.tenant_id)
        found.refresh_from_db()
    return found, True
