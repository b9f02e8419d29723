"""Usage events: stored once, for ever, before anybody is told `accepted`."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from aforo.lib import ids
from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import AppendOnly, AppendOnlyQuerySet, TenantModel
from billing.models import Agent, Credential, Customer, Team
from catalog.models import Product


class UsageEvent(AppendOnly):
    """One accepted event in its canonical form; (tenant, event_id) is unique."""

    public_prefix: ClassVar[str] = "evt"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    tenant = models.ForeignKey(
        "core.Tenant",
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    # The reporter's id (or a derived one): dedupe and nothing else.
    event_id = models.CharField(max_length=300)
    body_hash = models.BinaryField()  # SHA-256 of the canonical body
    customer = TenantForeignKey(Customer, related_name="events", db_index=False)
    credential = TenantForeignKey(
        Credential, null=True, related_name="+", db_index=False
    )
    agent = TenantForeignKey(Agent, null=True, related_name="events", db_index=False)
    team = TenantForeignKey(Team, null=True, related_name="+", db_index=False)
    product = TenantForeignKey(Product, null=True, related_name="+", db_index=False)
    event_type = models.CharField(max_length=80)
    tool_name = models.CharField(max_length=120, blank=True)
    status = models.CharField(max_length=16, blank=True)
    request_id = models.CharField(max_length=255, blank=True)
    correlation_id = models.CharField(max_length=255, blank=True)
    session_key = models.CharField(max_length=255, blank=True)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    # derived_id, not_deduplicated, time_defaulted, degraded, …
    flags = ArrayField(models.CharField(max_length=24), default=list)
    # {"properties": {…}, "measurements": {name: decimal text}, …} without secrets.
    body = models.JSONField()

    objects: ClassVar[models.Manager[UsageEvent]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "event_id"], name="metering_event_once"
            )
        ]
        indexes = [
            # Read backwards. Falling keys would be written at the wrong end of the
            # index, where pages split in halves and stay half empty.
            models.Index(fields=["tenant", "id"], name="metering_event_newest"),
            models.Index(fields=["customer", "id"], name="metering_event_feed"),
            # Serves the tree of one piece of work.
            models.Index(
                fields=["customer", "correlation_id"],
                condition=~models.Q(correlation_id=""),
                name="metering_event_correlation",
            ),
            models.Index(
                fields=["customer", "session_key"],
                condition=~models.Q(session_key=""),
                name="metering_event_session",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_id}"


class PendingEvents(models.Model):
    """The queue of record: what one request brought of the customers of one shard.

    Written in the transaction that stores the events, deleted in the one that rates
    the last of them (docs/decisions/0014). `attempts` is committed before each try: a
    row that failed or ended its worker is taken alone, and then event by event.
    """

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    tenant = models.ForeignKey(
        "core.Tenant",
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    shard = models.PositiveSmallIntegerField()  # See metering.queue.
    customer_ids = ArrayField(models.UUIDField())  # Who has events here, each once.
    event_ids = ArrayField(models.UUIDField())
    received_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)

    class Meta:
        verbose_name_plural = "pending events"
        indexes = [
            models.Index(fields=["received_at"], name="metering_pending_age"),
        ]

    def __str__(self) -> str:
        return f"{len(self.event_ids)} events of {len(self.customer_ids)} customers"


class Unrateable(TenantModel):
    """An event that could not be priced, with the reason; replayable after a fix."""

    class Reason(models.TextChoices):
        """Why it has no price."""

        UNKNOWN_METRIC = "unknown_metric", "No metric uses a measurement"
        NO_SUBSCRIPTION = "no_subscription", "No subscription at that time"
        AMBIGUOUS_PRODUCT = "ambiguous_product", "Several products and none named"
        UNKNOWN_PRODUCT = "unknown_product", "The product is not known"
        INCONSISTENT = "inconsistent_measurements", "The measurements contradict"
        UNKNOWN_COST = "unknown_cost", "The price needs a cost that is not known"
        NEGATIVE_QUANTITY = "negative_quantity", "A quantity is negative"
        TOO_PRECISE = "too_precise", "A quantity has too many decimals"
        OUT_OF_RANGE = "number_out_of_range", "A quantity is too large"
        INVALID_PROPERTY = "invalid_property", "A property cannot be counted"
        TOO_MANY_UNIQUE = "too_many_unique", "Too many distinct values"
        USAGE_NOT_READ = "usage_not_read", "The provider's usage block is not known"
        USAGE_AMBIGUOUS = "usage_ambiguous", "The usage block can be read in two ways"
        USAGE_MISSING = "usage_missing", "The provider sent no final usage"
        QUARANTINED = "quarantined", "Rating it failed"

    event = models.OneToOneField(
        UsageEvent, on_delete=models.PROTECT, related_name="unrateable"
    )
    customer = TenantForeignKey(Customer, related_name="+")
    reason = models.CharField(max_length=32, choices=Reason.choices)
    detail = models.CharField(max_length=300, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["tenant", "-id"],
                condition=models.Q(resolved_at__isnull=True),
                name="metering_unrateable_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.event_id}: {self.reason}"


class EventConflict(TenantModel):
    """A second body under a known event id: refused, and kept to be seen."""

    event_id = models.CharField(max_length=300)
    first_event = models.ForeignKey(
        UsageEvent, on_delete=models.PROTECT, related_name="conflicts"
    )
    body_hash = models.BinaryField()
    attempts = models.PositiveIntegerField(default=1)
    last_at = models.DateTimeField()

    class Meta:
        ordering = ["-last_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["first_event", "body_hash"], name="metering_conflict_once"
            )
        ]

    def __str__(self) -> str:
        return self.event_id
