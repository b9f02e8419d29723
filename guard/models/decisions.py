"""Decisions that somebody may ask about, and counts of the others."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from aforo.lib.models import TenantModel


class Decision(TenantModel):
    """What a door reported of one call; kept for 30 days.

    A deny, a throttle, or an allow that somebody may ask about: degraded, past a warn
    line, let through although a limit would have refused (observed), or exempted.
    """

    public_prefix = "dec"

    customer_id = models.UUIDField(null=True)
    agent_id = models.UUIDField(null=True)
    credential_id = models.UUIDField(null=True)
    decision = models.CharField(max_length=10)
    reason_code = models.CharField(max_length=60, blank=True)
    degraded = models.BooleanField(default=False)
    # The guard only observed; reason_code is why it would not have allowed.
    observed = models.BooleanField(default=False)
    # Allowed, past the warn line of the limit in reason_code.
    warned = models.BooleanField(default=False)
    request_id = models.CharField(max_length=255, blank=True)
    # What was asked, without secrets, and each check's value, limit and result.
    inputs = models.JSONField(default=dict)
    checks = models.JSONField(default=list)
    latency_us = models.PositiveIntegerField(null=True)
    decided_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="guard_decision_feed"),
            models.Index(
                fields=["tenant", "customer_id", "-id"], name="guard_decision_customer"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.decision} {self.reason_code}"


class DoorCount(TenantModel):
    """How many checks a tenant's doors answered in one minute, by decision.

    allowed + throttled + denied is all of them; degraded, warned and observed are
    parts of those. `latency` counts them by duration, see guard.latency.
    """

    minute = models.DateTimeField()
    allowed = models.PositiveBigIntegerField(default=0)
    throttled = models.PositiveBigIntegerField(default=0)
    denied = models.PositiveBigIntegerField(default=0)
    degraded = models.PositiveBigIntegerField(default=0)
    warned = models.PositiveBigIntegerField(default=0)
    observed = models.PositiveBigIntegerField(default=0)
    latency = ArrayField(models.BigIntegerField(), default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "minute"], name="guard_door_count_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.minute:%H:%M}"
