"""How often agents call tools: the pace that velocity is measured against."""

from __future__ import annotations

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import TenantModel
from billing.models import Agent


class ToolPace(TenantModel):
    """The invocations of one tool by one agent in one hour, by active minutes."""

    agent = TenantForeignKey(Agent, related_name="+", db_index=False)
    tool_name = models.CharField(max_length=120)
    hour = models.DateTimeField()
    active_minutes = models.PositiveSmallIntegerField()
    invocations = models.BigIntegerField()
    # The last minute that was added: one that is added again changes nothing.
    last_minute = models.DateTimeField()

    class Meta:
        ordering = ["-hour"]
        constraints = [
            models.UniqueConstraint(
                fields=["agent", "tool_name", "hour"], name="metering_tool_pace_once"
            )
        ]
        indexes = [models.Index(fields=["hour"], name="metering_tool_pace_hour")]

    def __str__(self) -> str:
        return f"{self.tool_name} at {self.hour:%Y-%m-%d %H:00}"
