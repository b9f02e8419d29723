"""Events without a price: list them, and try again after a fix."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from django.db import transaction

from aforo.core import audit
from aforo.core.models import User
from aforo.lib import clock
from billing import books
from metering import pipeline
from metering.models import Unrateable


def replay(ids: Collection[uuid.UUID], *, actor: User | None) -> tuple[int, int]:
    """Rate listed events again; return how many got a price and how many did not.

    Each customer's events are one transaction under its books' lock. A quarantined
    event was not counted before; the others were, and only get their price.
    """
    priced = refused = 0
    open_rows = Unrateable.objects.filter(pk__in=ids, resolved_at=None)
    for customer_id in sorted(set(open_rows.values_list("customer_id", flat=True))):
        for quarantined in (False, True):
            done, left = _replay_customer(
                customer_id, ids, quarantined=quarantined, actor=actor
            )
            priced, refused = priced + done, refused + left
    return priced, refused


# One round of a long replay: some customers' events, each customer one transaction.
ROUND = 500


def replay_all(
    tenant_id: uuid.UUID, reason: str, *, until: uuid.UUID, actor: User | None
) -> tuple[int, int]:
    """Replay all events that were listed with a reason up to a row, round by round.

    What stays without a price is tried once: rounds go on behind the last one. Safe to
    run twice at once, and to start again after a crash.
    """
    priced = refused = 0
    rows = Unrateable.objects.filter(
        tenant_id=tenant_id, reason=reason, resolved_at=None, pk__lte=until
    ).order_by("pk")
    after = uuid.UUID(int=0)
    while chosen := list(
        rows.filter(pk__gt=after).values_list("pk", flat=True)[:ROUND]
    ):
        done, left = replay(chosen, actor=actor)
        priced, refused, after = priced + done, refused + left, chosen[-1]
    return priced, refused


def _replay_customer(
    customer_id: uuid.UUID,
    ids: Collection[uuid.UUID],
    *,
    quarantined: bool,
    actor: User | None,
) -> tuple[int, int]:
    """Replay one customer's listed events of one kind."""
    with transaction.atomic():
        postings = {p.customer_id: p for p in books.lock([customer_id])}
        reason = Unrateable.Reason.QUARANTINED
        rows = Unrateable.objects.filter(
            pk__in=ids, customer_id=customer_id, resolved_at=None
        )
        rows = (
            rows.filter(reason=reason) if quarantined else rows.exclude(reason=reason)
        )
        listed = list(rows.select_related("event"))
        if not listed:
            return 0, 0
        items = pipeline.process(
            postings, [row.event_id for row in listed], replayed=not quarantined
        )
        good = {item.row.id for item in items if item.refusal is None}
        Unrateable.objects.filter(event_id__in=good).update(resolved_at=clock.now())
        audit.record(
            tenant=listed[0].tenant_id,
            action="usage.replayed",
            target=listed[0].customer,
            actor=actor,
            changes={"events": [len(listed), len(listed) - len(good)]},
        )
    return len(good), len(listed) - len(good)
