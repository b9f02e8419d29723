"""The sign of life of beat and worker, and what they keep tidy."""

from __future__ import annotations

from celery import shared_task

from aforo.core import stamps
from aforo.core.jobs import run_slot
from aforo.lib import clock


@shared_task(name="aforo.beat")
def beat() -> None:
    """Leave a job slot every ten seconds; doctor looks for it."""
    run_slot("beat", 10, lambda: "alive")


@shared_task(name="aforo.prune_stamps")
def prune_stamps() -> None:
    """Delete stamps of change that are older than what any transaction looks back."""
    stamps.prune(clock.now() - stamps.KEPT)
