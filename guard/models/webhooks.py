"""Where a tenant hears of what happens, and each message that is to reach it."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import TenantModel
from guard.models.alerts import AlertFiring


class WebhookEndpoint(TenantModel):
    """An address that takes signed messages of the types that it names."""

    public_prefix: ClassVar[str] = "whk"

    url = models.URLField(max_length=500)
    description = models.CharField(max_length=160, blank=True)
    # Sealed (aforo.core.sealing); the secret itself is shown once.
    secret = models.CharField(max_length=400, editable=False)
    # The secret before, which signs too until then.
    old_secret = models.CharField(max_length=400, blank=True, editable=False)
    old_until = models.DateTimeField(null=True, editable=False)
    # Empty: every type.
    types = ArrayField(models.CharField(max_length=32), default=list, blank=True)
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=300, blank=True)
    # Since when nothing was taken; null: the last message was.
    failing_since = models.DateTimeField(null=True, editable=False)
    last_success_at = models.DateTimeField(null=True, editable=False)
    removed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.url

    def wants(self, type: str) -> bool:
        """Tell whether messages of a type go there."""
        return self.enabled and (not self.types or type in self.types)


class Delivery(TenantModel):
    """One message on its way to one endpoint or one e-mail address."""

    public_prefix: ClassVar[str] = "dlv"

    class State(models.TextChoices):
        """Where it stands."""

        WAITING = "waiting", "Waiting"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    # One of the two.
    endpoint = TenantForeignKey(
        WebhookEndpoint, null=True, related_name="deliveries", db_index=False
    )
    email = models.EmailField(blank=True)
    # The rule that fired, if one did.
    firing = TenantForeignKey(
        AlertFiring, null=True, related_name="deliveries", db_index=False
    )
    type = models.CharField(max_length=32)
    body = models.TextField()  # As it is signed and sent; of an e-mail its text.
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.WAITING
    )
    attempt_count = models.PositiveSmallIntegerField(default=0)
    # Null: none is due.
    next_at = models.DateTimeField(null=True)
    # [{"at", "status", "ms", "error"}], the oldest first.
    attempts = models.JSONField(default=list)
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(endpoint__isnull=False) ^ ~models.Q(email=""),
                name="guard_delivery_one_way",
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="guard_delivery_feed"),
            models.Index(fields=["endpoint", "-id"], name="guard_delivery_endpoint"),
            models.Index(fields=["firing"], name="guard_delivery_firing"),
            models.Index(
                fields=["next_at"],
                condition=models.Q(next_at__isnull=False),
                name="guard_delivery_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.endpoint or self.email}"

    @property
    def last(self) -> dict[str, object]:
        """The last attempt; empty: none was made."""
        return self.attempts[-1] if self.attempts else {}
