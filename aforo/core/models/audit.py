"""Who changed what, and what people are told."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.lib.models import AppendOnly, AppendOnlyQuerySet, TenantModel


class AuditEntry(AppendOnly, TenantModel):
    """One deed of one actor, with what it changed."""

    public_prefix = "aud"

    # Null when the product itself acted (actor_label says which part).
    actor = models.ForeignKey(
        "core.User", null=True, on_delete=models.PROTECT, related_name="+"
    )
    actor_label = models.CharField(max_length=160)
    action = models.CharField(max_length=60)  # such as "member.role_changed"
    object_type = models.CharField(max_length=40)
    object_id = models.CharField(max_length=64)
    object_label = models.CharField(max_length=200)
    # {"field": [before, after]}
    changes = models.JSONField(default=dict)
    reason = models.CharField(max_length=300, blank=True)
    ip = models.GenericIPAddressField(null=True)

    objects: ClassVar[models.Manager[AuditEntry]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["tenant", "-id"], name="core_audit_feed"),
            models.Index(
                fields=["tenant", "object_type", "object_id"], name="core_audit_object"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor_label}: {self.action} {self.object_label}"


class Notification(TenantModel):
    """Something that a tenant's people should see."""

    class Severity(models.TextChoices):
        """How urgent it is."""

        OK = "ok", "OK"
        WARN = "warn", "Warning"
        BLOCK = "block", "Blocked"

    severity = models.CharField(max_length=8, choices=Severity.choices)
    kind = models.CharField(max_length=60)
    text = models.CharField(max_length=300)
    url = models.CharField(max_length=300, blank=True)
    # At most one for the same cause while it lasts.
    dedupe_key = models.CharField(max_length=200)
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "dedupe_key"],
                condition=models.Q(resolved_at__isnull=True),
                name="core_notification_open_once",
            )
        ]

    def __str__(self) -> str:
        return self.text
