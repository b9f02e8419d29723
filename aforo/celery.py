"""Celery: it only wakes workers; the queue of record is in Postgres."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from celery.schedules import crontab
from django.conf import settings
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aforo.settings")

app = Celery("aforo")
app.conf.update(
    broker_url="redis+socket"
    + settings.BROKER_URL.removeprefix("unix").replace("?db=", "?virtual_host=")
    if settings.BROKER_URL.startswith("unix://")
    else settings.BROKER_URL,
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_time_limit=300,
    worker_soft_shutdown_timeout=30,
    # Celery would close the connection, and with it every prepared statement, around
    # each task; `check_connections` below keeps it for as long as it works.
    CELERY_DB_REUSE_MAX=1_000_000_000,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": 600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_keepalive": True,
        "health_check_interval": 1,
    },
    task_default_queue="aforo",
    timezone="UTC",
    beat_schedule={
        "sweep": {"task": "metering.sweep", "schedule": 5.0},
        # Who rates publishes too; this finds what a dead worker left.
        "relay": {"task": "metering.relay", "schedule": 5.0},
        "prune-outbox": {"task": "metering.prune_outbox", "schedule": 60.0},
        "expire-sessions": {"task": "metering.expire_sessions", "schedule": 60.0},
        "resume-backtests": {"task": "metering.resume_backtests", "schedule": 10.0},
        "resume-cost-jobs": {"task": "metering.resume_cost_jobs", "schedule": 10.0},
        "resume-backfills": {"task": "metering.resume_backfills", "schedule": 10.0},
        "sync-cost-rates": {
            "task": "metering.sync_cost_rates",
            "schedule": crontab(hour="4", minute="17"),
        },
        "close-periods": {"task": "billing.close_periods", "schedule": 60.0},
        "settle-levels": {"task": "billing.settle_levels", "schedule": 60.0},
        "product-margins": {"task": "guard.product_margins", "schedule": 10.0},
        "project-changed": {"task": "guard.project_changed", "schedule": 5.0},
        "reconcile": {"task": "guard.reconcile", "schedule": 60.0},
        # Half a second, so that a page shows a decision within one.
        "journal": {"task": "guard.collect_decisions", "schedule": 0.5},
        "handle-happenings": {"task": "guard.handle_happenings", "schedule": 5.0},
        "velocity": {"task": "metering.velocity", "schedule": 10.0},
        "look-again": {"task": "guard.look_again", "schedule": 15.0},
        "beat": {"task": "aforo.beat", "schedule": 10.0},
        "prune-stamps": {"task": "aforo.prune_stamps", "schedule": 3600.0},
    },
)
# Messages are sent from threads too, where there is no current app.
app.set_default()
app.autodiscover_tasks(["aforo.core", "billing", "guard", "metering", "portal"])


@signals.task_prerun.connect
def check_connections(**_: Any) -> None:
    """Drop a connection that is old or broken; the next statement opens another."""
    close_old_connections()
