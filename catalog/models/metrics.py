"""Billable metrics: what is counted, and how."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from aforo.lib.models import TenantModel


class Metric(TenantModel):
    """A figure that charges price: an aggregation over a field of events."""

    public_prefix = "met"

    class Aggregation(models.TextChoices):
        """How the values of a period become one quantity."""

        COUNT = "count", "Count of events"
        SUM = "sum", "Sum"
        MAX = "max", "Maximum"
        MIN = "min", "Minimum"
        AVG = "avg", "Average"
        UNIQUE = "unique", "Distinct values"
        LATEST = "latest", "Latest value"

    class Window(models.TextChoices):
        """What is aggregated and priced by itself; days and hours are those of UTC."""

        PERIOD = "period", "Billing period"
        DAY = "day", "Day"
        HOUR = "hour", "Hour"
        SESSION = "session", "Session"
        EVENT = "event", "Event"

    code = models.SlugField(max_length=60)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    aggregation = models.CharField(max_length=8, choices=Aggregation.choices)
    # The measurement or property; empty for a count of events.
    field = models.CharField(max_length=80, blank=True)
    event_types = ArrayField(
        models.CharField(max_length=80),
        default=list,
        blank=True,
        help_text="Empty: every event type.",
    )
    window = models.CharField(
        max_length=8, choices=Window.choices, default=Window.PERIOD
    )
    unit = models.CharField(max_length=40, help_text="One of it, such as token.")
    # Whether a fraction is refused.
    integer_only = models.BooleanField(default=False)

    class Meta:
        ordering = ["code"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "code"], name="catalog_metric_code"
            ),
            models.CheckConstraint(
                condition=models.Q(aggregation="count") | ~models.Q(field=""),
                name="catalog_metric_has_field",
            ),
        ]

    def __str__(self) -> str:
        return self.name
