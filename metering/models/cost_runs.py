"""Work on recorded costs: corrections after a change of rates, and what-if."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.lib.fields import TenantForeignKey
from metering.models.jobs import Job, JobRow


class CostRun(Job):
    """One walk over customers: what is asked, how far it is, and what came out."""

    public_prefix: ClassVar[str] = "crn"

    class Kind(models.TextChoices):
        """Whether costs are corrected or only asked for."""

        RECOST = "recost", "Correction of costs"
        WHAT_IF = "what_if", "What if"

    # None is cancelled: costs that were corrected by half would fit no rate.
    state = models.CharField(
        max_length=10,
        choices=[
            choice for choice in Job.State.choices if choice[0] != Job.State.CANCELLED
        ],
        default=Job.State.QUEUED,
    )
    kind = models.CharField(max_length=10, choices=Kind.choices)
    title = models.CharField(max_length=200)
    # See metering.recosting and metering.cost_what_if.
    params = models.JSONField(default=dict)

    class Meta(Job.Meta):
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


class CostRunRow(JobRow):
    """One customer of a run; `figures` say how far it is, until `done` is true."""

    job_field: ClassVar[str] = "cost_run"

    cost_run = TenantForeignKey(CostRun, related_name="rows", db_index=False)

    class Meta(JobRow.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["cost_run", "customer"], name="metering_crn_row_once"
            )
        ]
