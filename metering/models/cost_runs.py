"""Work on recorded costs: corrections after a change of rates, and what-if."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.core.models import User
from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import TenantModel
from billing.models import Customer


class CostRun(TenantModel):
    """One walk over customers: what is asked, how far it is, and what came out.

    `result` is written once, with the state `done`.
    """

    public_prefix: ClassVar[str] = "crn"

    class Kind(models.TextChoices):
        """Whether costs are corrected or only asked for."""

        RECOST = "recost", "Correction of costs"
        WHAT_IF = "what_if", "What if"

    class State(models.TextChoices):
        """Where the run stands."""

        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    OPEN_STATES = (State.QUEUED, State.RUNNING)

    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    title = models.CharField(max_length=200)
    # See metering.recosting and metering.cost_what_if.
    params = models.JSONField(default=dict)
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
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "kind", "-id"], name="metering_crn_newest"),
            # Serves the workers.
            models.Index(
                fields=["id"],
                condition=models.Q(state__in=["queued", "running"]),
                name="metering_crn_open",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in self.OPEN_STATES


class CostRunRow(TenantModel):
    """One customer of a run; what was done is kept when a worker dies."""

    cost_run = TenantForeignKey(CostRun, related_name="rows", db_index=False)
    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    # What came out for the customer; null: still to be done.
    figures = models.JSONField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["cost_run", "customer"], name="metering_crn_row_once"
            )
        ]

    def __str__(self) -> str:
        return str(self.customer_id)
