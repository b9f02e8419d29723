"""What long work over customers keeps, so that another worker can go on with it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.core.models import User
from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import TenantModel
from billing.models import Customer


class Job(TenantModel):
    """One piece of work over customers: how far it is, and what came out.

    `result` is written once, with the state `done`; until then there is none.
    """

    class State(models.TextChoices):
        """Where the work stands."""

        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    OPEN_STATES = (State.QUEUED, State.RUNNING)

    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    customer_count = models.PositiveIntegerField()
    done_count = models.PositiveIntegerField(default=0)
    requested_by = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    requested_label = models.CharField(max_length=200)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # Of the worker that is on it: a stale one is taken over by another.
    heartbeat_at = models.DateTimeField(null=True)
    run = models.UUIDField(null=True)
    result = models.JSONField(null=True)
    failure = models.CharField(max_length=300, blank=True)

    class Meta:
        abstract = True
        ordering = ["-id"]

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in self.OPEN_STATES


class JobRow(TenantModel):
    """One customer of a job; what was done is kept when a worker dies."""

    # The name of the link to the job.
    job_field: ClassVar[str]
    # Still to be done: nothing came out yet, or what did says that there is more.
    LEFT = models.Q(figures__isnull=True) | models.Q(figures__done=False)

    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    # What came out for the customer; null: nothing yet.
    figures = models.JSONField(null=True)

    class Meta:
        abstract = True
        ordering = ["id"]

    def __str__(self) -> str:
        return str(self.customer_id)
