"""Rules that turn what happened into alerts, and what was alerted."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from aforo.core.models import Happening
from aforo.core.models.happenings import Kind, Severity
from aforo.lib import clock
from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import MoneyField, TenantModel


class AlertRule(TenantModel):
    """Which happenings alert whom, and by which channels."""

    public_prefix: ClassVar[str] = "alr"

    class Every(models.TextChoices):
        """The window in which a scope alerts at most once."""

        CROSSING = "crossing", "Each crossing"
        HOUR = "hour", "Once an hour"
        DAY = "day", "Once a day (UTC)"

    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    # The line of the kinds that have lines (percent, factor, amount); null: any.
    threshold = MoneyField(null=True, blank=True)
    severity = models.CharField(
        "from", max_length=8, choices=Severity.choices, default=Severity.WARN
    )
    customer_id = models.UUIDField(null=True, blank=True)  # Null: every customer's.
    every = models.CharField(
        max_length=8, choices=Every.choices, default=Every.CROSSING
    )
    emails = ArrayField(models.EmailField(), default=list, blank=True)
    # Also the people of the customer whose traffic it is.
    to_owner = models.BooleanField(default=False)
    webhook = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    snoozed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"], name="guard_alert_rule_name"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_snoozed(self) -> bool:
        """Whether it keeps quiet for a while."""
        return self.snoozed_until is not None and self.snoozed_until > clock.now()


class AlertFiring(TenantModel):
    """A rule fired: at most once for a rule, scope and window."""

    public_prefix: ClassVar[str] = "alf"

    rule = TenantForeignKey(AlertRule, related_name="firings", db_index=False)
    # Null: a test.
    happening = TenantForeignKey(
        Happening, null=True, related_name="firings", db_index=False
    )
    scope = models.CharField(max_length=200)
    window = models.CharField(max_length=200)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    text = models.CharField(max_length=300)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "scope", "window"], name="guard_firing_once"
            )
        ]
        indexes = [
            models.Index(fields=["rule", "-id"], name="guard_firing_feed"),
            models.Index(fields=["happening"], name="guard_firing_happening"),
        ]

    def __str__(self) -> str:
        return self.text

    @property
    def is_test(self) -> bool:
        """Whether somebody pressed Test-fire."""
        return self.happening_id is None
