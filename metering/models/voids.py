"""Events that somebody took back, and what stands in their place."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import AppendOnly, AppendOnlyQuerySet, MoneyField, TenantModel
from billing.models import Customer
from metering.models.events import UsageEvent


class EventVoid(AppendOnly, TenantModel):
    """The void of one event: it stays stored, and nothing is charged for it.

    `amount` is what the void added to the books (mostly negative), in `currency`;
    `was` says where the event stood. An amended event has its correction beside it.
    """

    class Was(models.TextChoices):
        """Where the event stood before."""

        RATED = "rated", "Rated"
        UNRATEABLE = "unrateable", "Without price"
        PENDING = "pending", "Pending"

    event = models.OneToOneField(
        UsageEvent, on_delete=models.PROTECT, related_name="void"
    )
    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    # The event that says it right, when it was amended.
    replaced_by = models.OneToOneField(
        UsageEvent,
        null=True,
        on_delete=models.PROTECT,
        related_name="replaces",
    )
    was = models.CharField(max_length=10, choices=Was.choices)
    reason = models.CharField(max_length=300)
    actor_label = models.CharField(max_length=200)
    currency = models.CharField(max_length=3)
    amount = MoneyField(default=0)

    objects: ClassVar[models.Manager[EventVoid]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"void of {self.event_id}"
