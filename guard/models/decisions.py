"""Decisions that somebody may ask about, and counts of the others."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from aforo.lib.models import TenantModel


class Decision(TenantModel):
    """What a door reported of one call; kept for 30 days.

    A deny, a throttle, or an allow that somebody may ask about: degraded, past a warn
    line, let through although a limit would have refused (observed), exempted, or met
    by a rule in shadow.
    """

    public_prefix = "dec"

    customer_id = models.UUIDField(null=True)
    agent_id = models.UUIDField(null=True)
    credential_id = models.UUIDField(null=True)
    subscription_id = models.UUIDField(null=True)
    decision = models.CharField(max_length=10)
    reason_code = models.CharField(max_length=60, blank=True)
    degraded = models.BooleanField(default=False)
    # The guard only observed; reason_code is why it would not have allowed.
    observed = models.BooleanField(default=False)
    # Allowed, past the warn line of the limit in reason_code.
    warned = models.BooleanField(default=False)
    # Rules in shadow that would have stopped or slowed it, as `checks` are written.
    shadow = models.JSONField(default=list, db_default=[])
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


class RuleCount(TenantModel):
    """How many calls of one contract a rule stopped in an hour, or would have.

    Every one is counted, also where decisions are too many to be kept one by one.
    `rule` is a code of `guard.rules`; kept for 30 days.
    """

    hour = models.DateTimeField()
    customer_id = models.UUIDField()
    subscription_id = models.UUIDField()
    rule = models.CharField(max_length=160)
    denied = models.PositiveBigIntegerField(default=0)
    throttled = models.PositiveBigIntegerField(default=0)
    shadowed = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "hour", "subscription_id", "customer_id", "rule"],
                name="guard_rule_count_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.rule} {self.hour:%Y-%m-%d %H:%M}"
