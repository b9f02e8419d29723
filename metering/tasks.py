"""Celery wakes these; the work and its idempotency are elsewhere."""

from __future__ import annotations

import datetime as dt
import uuid

from celery import shared_task

from aforo.core.jobs import run_slot
from aforo.core.models import User
from aforo.lib import clock, sql
from metering import (
    backfill_jobs,
    backtest_jobs,
    cost_jobs,
    cost_sync,
    enrichment,
    pipeline,
    relay,
    sessions,
    settling,
    unrateable,
    velocity,
    wake,
)

# Usage that waits longer lost its message.
PATIENCE = dt.timedelta(seconds=5)


@shared_task(name="metering.rate")
def rate() -> None:
    """Rate what is pending; see pipeline.rate."""
    wake.taken()
    if pipeline.rate():
        relay.run()
        enrichment.note(relay.streams())


@shared_task(name="metering.sweep")
def sweep() -> None:
    """Rate what has waited too long: its message was lost, or its worker died."""
    with sql.cursor() as cursor:
        waiting = cursor.execute(
            "SELECT EXISTS (SELECT FROM metering_pendingevents WHERE received_at < %b)",
            [clock.now() - PATIENCE],
        ).fetchone()
    if waiting and waiting[0] and pipeline.rate():
        relay.run()


@shared_task(name="metering.relay")
def publish() -> None:
    """Publish what the outbox holds."""
    relay.run()


@shared_task(name="metering.prune_outbox")
def prune_outbox() -> None:
    """Delete what the outbox has told long ago."""
    relay.prune(clock.now())


@shared_task(name="metering.expire_sessions")
def expire_sessions() -> None:
    """Mark sessions idle or expired, and settle those that have ended."""
    sessions.expire(clock.now())
    settling.settle()


# A hundred thousand events take some minutes.
@shared_task(name="metering.replay_reason", time_limit=3_600)
def replay_reason(tenant_id: str, reason: str, until: str, actor_id: str) -> None:
    """Replay what was listed with a reason; the page shows how many are left."""
    unrateable.replay_all(
        uuid.UUID(tenant_id),
        reason,
        until=uuid.UUID(until),
        actor=User.objects.filter(pk=actor_id).first() if actor_id else None,
    )
    relay.run()


# One customer with very many events may take longer than a slice.
@shared_task(name="metering.run_backtests", time_limit=3_600)
def run_backtests() -> None:
    """Price backtests for a while, then queue behind the other tasks again."""
    if backtest_jobs.run():
        run_backtests.delay()


@shared_task(name="metering.resume_backtests")
def resume_backtests() -> None:
    """Take over backtests whose message was lost, or whose worker died."""
    if backtest_jobs.waiting(clock.now()):
        run_backtests.delay()


@shared_task(name="metering.run_cost_jobs", time_limit=3_600)
def run_cost_jobs() -> None:
    """Work on cost runs for a while, then queue behind the other tasks again."""
    if cost_jobs.run():
        run_cost_jobs.delay()


@shared_task(name="metering.resume_cost_jobs")
def resume_cost_jobs() -> None:
    """Take over cost runs whose message was lost, or whose worker died."""
    if cost_jobs.waiting(clock.now()):
        run_cost_jobs.delay()


# A trial reads a whole file before it is written down.
@shared_task(name="metering.run_backfills", time_limit=3_600)
def run_backfills() -> None:
    """Work on backfills for a while, then queue behind the other tasks again."""
    if backfill_jobs.run():
        run_backfills.delay()


@shared_task(name="metering.resume_backfills")
def resume_backfills() -> None:
    """Take over backfills whose message was lost, or whose worker died."""
    if backfill_jobs.waiting(clock.now()):
        run_backfills.delay()


@shared_task(name="metering.sync_cost_rates")
def sync_cost_rates() -> None:
    """Follow the public price list; recorded costs follow what changed in the past."""
    cost_sync.run()


@shared_task(name="metering.velocity")
def count_minute() -> None:
    """Count the last complete minute's calls by agent and tool, once."""
    now = clock.now()
    if now.second >= 5:  # What was received at its very end is stored by then.
        run_slot("velocity", 60, lambda: velocity.count(velocity.last_minute(now)))
