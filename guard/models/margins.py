"""What margins came to: where each subject stands, and every change of it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.lib.models import AppendOnly, AppendOnlyQuerySet, MoneyField, TenantModel


class Level(models.TextChoices):
    """How the guard treats a subject's calls; unknown ones pass."""

    OK = "ok", "OK"
    UNKNOWN = "unknown", "Unknown"
    WARN = "warn", "Warn"
    THROTTLE = "throttle", "Throttle"
    BLOCK = "block", "Block"


class Scope(models.TextChoices):
    """Whose margin it is."""

    SUBSCRIPTION = "subscription", "Subscription"
    CUSTOMER = "customer", "Customer"
    AGENT = "agent", "Agent"
    PRODUCT = "product", "Product"


class MarginFigures(TenantModel):
    """Revenue and cost of a subject in a period, and the level they come to."""

    # Null on products: their margin is that of all customers together.
    customer_id = models.UUIDField(null=True)
    scope = models.CharField(max_length=12, choices=Scope.choices)
    # The subscription, customer, agent or product.
    subject_id = models.UUIDField()
    period_id = models.UUIDField(null=True)
    level = models.CharField(max_length=8, choices=Level.choices)
    revenue = MoneyField()
    cogs = MoneyField()
    # Percent; null where there is neither revenue nor cost, or it is not known.
    margin = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    currency = models.CharField(max_length=3)
    cost_unknown_count = models.BigIntegerField(default=0)
    # The version of the books that the figures are of; 0 for products.
    version = models.BigIntegerField(default=0)

    class Meta:
        abstract = True


class MarginLevel(MarginFigures):
    """Where a subject stands: its last change. Subjects that were always OK have none.

    A block that was released binds nobody until `released_until`.
    """

    changed_at = models.DateTimeField()
    released_until = models.DateTimeField(null=True)
    released_by = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "customer_id", "scope", "subject_id"],
                nulls_distinct=False,
                name="guard_margin_level_once",
            )
        ]
        indexes = [
            models.Index(fields=["customer_id"], name="guard_margin_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.level}"


class MarginChange(AppendOnly, MarginFigures):
    """A subject came to another level, or its block was released."""

    class Cause(models.TextChoices):
        """What moved it."""

        USAGE = "usage", "Usage or cost"
        RELEASE = "release", "Released by hand"

    before = models.CharField(max_length=8, choices=Level.choices)
    cause = models.CharField(max_length=8, choices=Cause.choices, default=Cause.USAGE)
    # The newest event of the batch that moved it; null where usage did not.
    event_id = models.UUIDField(null=True)
    actor_label = models.CharField(max_length=200, blank=True)

    objects: ClassVar[models.Manager[MarginChange]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="guard_margin_changes"),
            models.Index(
                fields=["customer_id", "-id"], name="guard_margin_of_customer"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scope}: {self.before} to {self.level}"
