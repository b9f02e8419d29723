"""Work of the beat: keep the edge at the record, and store what doors decided."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Final

import redis
from celery import shared_task
from django.conf import settings

from aforo.lib import clock, ids
from billing.models import CustomerBooks
from guard import journal, projection
from guard.models import Decision, DoorCount, RuleCount

logger = logging.getLogger(__name__)

KEPT: Final = dt.timedelta(days=30)
ACTIVE_WITHIN: Final = dt.timedelta(minutes=2)
# Of the customers that rest, one in sixty is compared each minute.
ROTATION: Final = 60
DELETED_PER_RUN: Final = 10_000


@shared_task(name="guard.project_changed")
def project_changed() -> None:
    """Project customers whose edge is behind; everything when the store was lost."""
    try:
        if projection.is_flushed():
            done = projection.rebuild_all()
            logger.info("the edge was rebuilt: %d customers", done.customers)
        else:
            projection.project_customers(projection.behind(clock.now()))
    except redis.RedisError as error:
        logger.warning("the edge could not be written: %s", error)


@shared_task(name="guard.reconcile")
def reconcile() -> None:
    """Compare and repair the edge of active customers and a sixtieth of the others."""
    now = clock.now()
    active = set(
        CustomerBooks.objects.filter(changed_at__gte=now - ACTIVE_WITHIN).values_list(
            "customer_id", flat=True
        )
    )
    turn = int(now.timestamp() // 60) % ROTATION
    resting = projection.part_of_all(turn, of=ROTATION)
    try:
        drift = projection.reconcile(sorted(active.union(resting)))
    except redis.RedisError as error:
        logger.warning("the edge could not be compared: %s", error)
        return
    log = logger.warning if drift.wrong or drift.micros else logger.info
    log(
        "edge compared: %d customers, %d wrong, %d ahead, holds off by %d micros",
        drift.customers,
        drift.wrong,
        drift.ahead,
        drift.micros,
    )
    _forget(now)


def _forget(now: dt.datetime) -> None:
    """Delete decisions and counts past their time; ids sort by time."""
    oldest = ids.oldest_since(now - KEPT)
    old = Decision.objects.filter(pk__lt=oldest).order_by("pk")
    last = list(old.values_list("pk", flat=True)[:DELETED_PER_RUN])
    Decision.objects.filter(pk__in=last).delete()
    DoorCount.objects.filter(minute__lt=now - KEPT).delete()
    RuleCount.objects.filter(hour__lt=now - KEPT).delete()


@shared_task(name="guard.collect_decisions")
def collect_decisions() -> None:
    """Store what doors spooled."""
    journal.collect(settings.GUARD_JOURNAL_DIR)
