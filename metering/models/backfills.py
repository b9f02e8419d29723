"""Backfills by staff: a file of old usage, tried first, then stored as a job."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.core.models import User
from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import TenantModel


class Backfill(TenantModel):
    """A file of old usage: what it would do, who confirmed it, and what came of it.

    `trial` is written once, with the state `checked`; `result` with `done`.
    """

    public_prefix: ClassVar[str] = "bfl"

    class State(models.TextChoices):
        """Where it stands: tried, waiting for somebody, stored."""

        QUEUED = "queued", "Queued"
        RUNNING = "running", "Being tried"
        CHECKED = "checked", "Waits for confirmation"
        CONFIRMED = "confirmed", "Confirmed"
        STORING = "storing", "Being stored"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Discarded"

    OPEN_STATES = (State.QUEUED, State.RUNNING, State.CONFIRMED, State.STORING)

    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    name = models.CharField(max_length=200)  # Of the file, or that it was pasted.
    reason = models.CharField(max_length=300)
    # SHA-256 of the text: a file that is brought in twice is recognised.
    digest = models.CharField(max_length=64)
    event_count = models.PositiveIntegerField()
    # Lines that are no events: [[line, code, detail]].
    unread = models.JSONField(default=list)
    step_count = models.PositiveIntegerField(default=0)
    done_count = models.PositiveIntegerField(default=0)
    requested_by = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    requested_label = models.CharField(max_length=200)
    confirmed_label = models.CharField(max_length=200, blank=True)
    confirmed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # Of the worker that is on it: a stale one is taken over by another.
    heartbeat_at = models.DateTimeField(null=True)
    run = models.UUIDField(null=True)
    # See metering.backfill_trial.
    trial = models.JSONField(null=True)
    # {"accepted", "duplicate", "ignored", "rejected"}: counts of what was stored.
    result = models.JSONField(null=True)
    failure = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="metering_bfl_newest"),
            # Serves the workers.
            models.Index(
                fields=["id"],
                condition=models.Q(
                    state__in=["queued", "running", "confirmed", "storing"]
                ),
                name="metering_bfl_open",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        """Whether a worker has something to do for it."""
        return self.state in self.OPEN_STATES


class BackfillPart(TenantModel):
    """Some lines of a backfill: stored in one transaction, and then forgotten."""

    backfill = TenantForeignKey(Backfill, related_name="parts", db_index=False)
    position = models.PositiveIntegerField()
    # [[line, the event as JSON text]]; emptied when it is stored or discarded.
    lines = models.JSONField(default=list)
    # [[line, status, code, detail, event id]]; null: still to be stored.
    verdicts = models.JSONField(null=True)

    class Meta:
        ordering = ["backfill", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["backfill", "position"], name="metering_bfl_part_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.backfill_id} {self.position}"
