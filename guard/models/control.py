"""What people decided in the control room, each for a time."""

from __future__ import annotations

import datetime as dt

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import TenantModel
from billing.models import Agent, Customer


class Override(TenantModel):
    """What a person decided on one subject, until an instant or until it is undone.

    Releases, exemptions for one call and throttles are projected to the edge; a
    snooze only keeps an item out of a list.
    """

    public_prefix = "ovr"

    class Kind(models.TextChoices):
        """What was decided."""

        RELEASE = "release", "Released"
        ONCE = "once", "Allowed once"
        THROTTLE = "throttle", "Throttled"
        SNOOZE = "snooze", "Snoozed"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    # None of both for a snooze; without an agent it holds for all of the customer's.
    customer = TenantForeignKey(Customer, related_name="+", null=True, db_index=False)
    agent = TenantForeignKey(Agent, related_name="+", null=True, db_index=False)
    # The limit that is lifted (a reason code), or the key of the snoozed item.
    name = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    actor_label = models.CharField(max_length=200)
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)  # Undone before its time.
    used_at = models.DateTimeField(null=True)  # When the one call took it.

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "ends_at"], name="guard_override_tenant"),
            models.Index(fields=["customer", "ends_at"], name="guard_override_edge"),
            models.Index(fields=["agent"], name="guard_override_agent"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.name}".strip()

    def is_in_force(self, now: dt.datetime) -> bool:
        """Tell whether it holds at an instant."""
        return self.ended_at is None and self.used_at is None and self.ends_at > now


class ObserveOnly(TenantModel):
    """A time in which a tenant's limits only report what they would have refused."""

    public_prefix = "obs"

    reason = models.CharField(max_length=300, blank=True)
    actor_label = models.CharField(max_length=200)
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)  # Ended by hand before its time.

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "ends_at"], name="guard_observe_tenant")
        ]

    def __str__(self) -> str:
        return f"until {self.ends_at:%Y-%m-%d %H:%M} UTC"
