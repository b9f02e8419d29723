"""Scheduled jobs: one run per slot, however many beats there are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from django.db import transaction

from aforo.core.models import JobSlot
from aforo.lib import clock

# Slots are kept this long, so that somebody can see what ran.
KEEP = dt.timedelta(days=7)


def slot_of(now: dt.datetime, seconds: int) -> dt.datetime:
    """Return the start of the interval of `seconds` that holds the instant."""
    stamp = int(now.timestamp())
    return dt.datetime.fromtimestamp(stamp - stamp % seconds, dt.UTC)


def run_slot(job: str, seconds: int, work: Callable[[], object]) -> bool:
    """Run the work if nobody has in the current interval; return whether it ran.

    The slot's row is committed before the work, so a second beat or worker leaves
    it alone; the work itself must be safe to repeat in the next slot.
    """
    now = clock.now()
    with transaction.atomic():
        slot, created = JobSlot.objects.get_or_create(
            job=job, slot=slot_of(now, seconds)
        )
    if not created:
        return False
    outcome = str(work() or "")
    JobSlot.objects.filter(pk=slot.pk).update(
        finished_at=clock.now(), outcome=outcome[:300]
    )
    JobSlot.objects.filter(job=job, slot__lt=now - KEEP).delete()
    return True
