"""What makes work happen once: outbox, idempotency keys and job slots."""

from __future__ import annotations

from django.db import models

from aforo.lib import clock
from aforo.lib.models import TenantModel


class OutboxMessage(models.Model):
    """What one transaction on a customer's books has to tell the world.

    One row per (customer, version) for all topics; the relay publishes in the
    order of ids and consumers drop versions that they have seen.
    """

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(
        "core.Tenant", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    customer_id = models.UUIDField()
    version = models.BigIntegerField()
    # JSON: {"topic": [message, …]}. As text, because the relay passes it on as it is.
    messages = models.TextField()
    # Ids of requests whose usage is in the books now; the edge asks for them alone.
    settled = models.JSONField(null=True)
    created_at = models.DateTimeField(default=clock.now)
    published_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["customer_id", "version"], name="core_outbox_once"
            )
        ]
        indexes = [
            # Serves the relay: what is not published, oldest first.
            models.Index(
                fields=["id"],
                condition=models.Q(published_at__isnull=True),
                name="core_outbox_unpublished",
            ),
            # Serves the edge: what a customer has settled since it was projected.
            models.Index(
                fields=["customer_id", "version"],
                condition=models.Q(settled__isnull=False),
                name="core_outbox_settled",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer_id} v{self.version}"


class IdempotencyKey(TenantModel):
    """The answer that was given to a request with an Idempotency-Key."""

    key = models.CharField(max_length=255)
    endpoint = models.CharField(max_length=80)
    body_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    response = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "endpoint", "key"], name="core_idempotency_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.key}"


class JobSlot(models.Model):
    """One run of a scheduled job: UNIQUE(job, slot) lets one beat of many win."""

    id = models.BigAutoField(primary_key=True)
    job = models.CharField(max_length=80)
    slot = models.DateTimeField()
    started_at = models.DateTimeField(default=clock.now)
    finished_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-slot"]
        constraints = [
            models.UniqueConstraint(fields=["job", "slot"], name="core_job_slot_once")
        ]

    def __str__(self) -> str:
        return f"{self.job} at {self.slot:%Y-%m-%d %H:%M}"
