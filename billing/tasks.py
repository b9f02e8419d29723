"""Billing by the clock."""

from __future__ import annotations

from celery import shared_task

from aforo.core.jobs import run_slot
from aforo.lib import clock
from billing import invoicing, spend_levels


@shared_task(name="billing.close_periods")
def close_periods() -> None:
    """Close periods that ended, open the next ones, issue what is ready."""
    run_slot("close-periods", 60, lambda: invoicing.close_periods(clock.now()))


@shared_task(name="billing.settle_levels")
def settle_levels() -> None:
    """Let spend levels follow periods that began and changes that took effect."""
    run_slot("settle-levels", 60, lambda: spend_levels.settle_due(clock.now()))
