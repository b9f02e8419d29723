"""Billing by the clock."""

from __future__ import annotations

from celery import shared_task

from aforo.core.jobs import run_slot
from aforo.lib import clock
from billing import invoicing


@shared_task(name="billing.close_periods")
def close_periods() -> None:
    """Close periods that ended, open the next ones, issue what is ready."""
    run_slot("close-periods", 60, lambda: invoicing.close_periods(clock.now()))
