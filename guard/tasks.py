"""Work of the beat: keep the edge at the record, and store what doors decided."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Final

import redis
from celery import shared_task
from django.conf import settings

from aforo.lib import clock, ids
from billing.models import CustomerBooks, Subscription
from guard import (
    alerts,
    deliveries,
    drift,
    journal,
    margin,
    projection,
    skew,
    thresholds,
)
from guard.margin import record
from guard.models import Decision, DoorCount, RuleCount

logger = logging.getLogger(__name__)

KEPT: Final = dt.timedelta(days=30)
ACTIVE_WITHIN: Final = dt.timedelta(minutes=2)
# Of the customers that rest, one in sixty is compared each minute.
ROTATION: Final = 60
# How long after its revocation the edge is told again: it may have been away.
REVOKED_WITHIN: Final = dt.timedelta(days=1)
DELETED_PER_RUN: Final = 10_000


@shared_task(name="guard.project_changed")
def project_changed() -> None:
    """Project customers whose edge is behind; everything when the store was lost."""
    try:
        if projection.is_flushed():
            done = projection.rebuild_all()
            logger.info("the edge was rebuilt: %d customers", done.customers)
        else:
            now = clock.now()
            behind = projection.behind(now)
            projection.project_customers(behind, seen=thresholds.look)
            projection.project_revoked_service_keys(now - REVOKED_WITHIN)
    except redis.RedisError as error:
        logger.warning("the edge could not be written: %s", error)


@shared_task(name="guard.reconcile")
def reconcile() -> None:
    """Compare and repair the edge of active customers and a sixtieth of the others."""
    now = clock.now()
    _compare_clocks()
    active = set(
        CustomerBooks.objects.filter(changed_at__gte=now - ACTIVE_WITHIN).values_list(
            "customer_id", flat=True
        )
    )
    turn = int(now.timestamp() // 60) % ROTATION
    resting = projection.part_of_all(turn, of=ROTATION)
    try:
        if projection.is_flushed():
            return  # Nothing to compare: the beat projects everything.
        found = drift.reconcile(sorted(active.union(resting)))
    except redis.RedisError as error:
        logger.warning("the edge could not be compared: %s", error)
        return
    finally:
        _forget(now)
    logger.log(
        logging.WARNING if found.is_any else logging.INFO,
        "edge compared: %d customers, %d wrong, %d lost, %d ahead,"
        " holds off by %d micros, %d service keys",
        found.customers,
        found.wrong,
        found.lost,
        found.ahead,
        found.micros,
        found.service_keys,
    )


def _compare_clocks() -> None:
    """Say when the clock that limits go by is not the one that periods go by."""
    try:
        apart = skew.measure().apart
    except redis.RedisError as error:
        logger.warning("the clocks could not be compared: %s", error)
        return
    if apart > skew.SKEW_MAX:
        logger.error("clocks of Redis and Postgres are %s apart", apart)


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


@shared_task(name="guard.product_margins")
def product_margins() -> None:
    """Judge products, and customers whose period ended while they were not at OK."""
    now = clock.now()
    changed = margin.relevel_products(now)
    try:
        projection.project_customers(record.ended(now), config=False)
        if changed:
            selling = Subscription.objects.filter(product_id__in=changed)
            customers = selling.exclude(state=Subscription.State.CANCELLED)
            projection.project_customers(
                set(customers.values_list("customer_id", flat=True)), config=False
            )
    except redis.RedisError as error:
        logger.warning("the edge could not be told of margins: %s", error)


@shared_task(name="guard.handle_happenings")
def handle_happenings() -> None:
    """Make alerts and webhook messages of what happened, and send them."""
    while alerts.handle() == alerts.MOST:
        continue
    if deliveries.due(clock.now()):
        deliver.delay()


@shared_task(name="guard.deliver", time_limit=120)
def deliver() -> None:
    """Send what is due for a while, then queue behind the other tasks again."""
    if deliveries.run() and deliveries.due(clock.now()):
        deliver.delay()


@shared_task(name="guard.look_again")
def look_again() -> None:
    """Look whether lines that are open were left again, in whatever process."""
    thresholds.forget()
    try:
        customers = thresholds.open_customers()
        projection.project_customers(customers, config=False, seen=thresholds.look)
    except redis.RedisError as error:
        logger.warning("the edge could not be written: %s", error)
