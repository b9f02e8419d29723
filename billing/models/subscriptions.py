"""Contracts: the lasting subscription, its immutable snapshots, billing periods."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import AppendOnly, AppendOnlyQuerySet, TenantModel
from billing.models.accounts import Agent, Customer
from catalog.models import PlanVersion, Product


class Subscription(TenantModel):
    """The lasting contract of a customer for a product."""

    public_prefix = "sub"

    class State(models.TextChoices):
        """Whether usage is allowed now."""

        ACTIVE = "active", "Active"
        PAUSED = "paused", "Paused"
        CANCELLED = "cancelled", "Cancelled"

    customer = TenantForeignKey(Customer, related_name="subscriptions")
    product = TenantForeignKey(Product, related_name="subscriptions")
    # One agent's own subscription (allocations); null: the customer's.
    agent = TenantForeignKey(Agent, null=True, blank=True, related_name="+")
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACTIVE)
    started_at = models.DateTimeField()
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "product", "agent"],
                condition=~models.Q(state="cancelled"),
                nulls_distinct=False,
                name="billing_subscription_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.customer}: {self.product}"


class SubscriptionSnapshot(AppendOnly, TenantModel):
    """What a subscription says from `effective_from` until the next snapshot.

    The snapshot in force at an instant is the latest whose effective_from is not
    later. A snapshot without plan version ends the subscription.
    """

    customer = TenantForeignKey(Customer, related_name="+")
    subscription = TenantForeignKey(Subscription, related_name="snapshots")
    number = models.PositiveIntegerField()
    effective_from = models.DateTimeField()
    plan_version = TenantForeignKey(PlanVersion, null=True, related_name="snapshots")
    # {"limits": {…}, "charges": {…}}: what this customer has otherwise.
    overrides = models.JSONField(default=dict, blank=True)
    commitment = models.JSONField(default=dict, blank=True)
    discounts = models.JSONField(default=list, blank=True)
    timezone = models.CharField(max_length=64)
    tzdata = models.CharField(max_length=20)

    objects: ClassVar[models.Manager[SubscriptionSnapshot]] = (
        AppendOnlyQuerySet.as_manager()
    )

    class Meta:
        ordering = ["subscription", "-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["subscription", "number"], name="billing_snapshot_number"
            ),
            models.UniqueConstraint(
                fields=["subscription", "effective_from"],
                name="billing_snapshot_instant",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscription} #{self.number}"


class BillingPeriod(TenantModel):
    """[start, end) of a customer, as UTC instants computed once from its time zone."""

    public_prefix = "per"

    class State(models.TextChoices):
        """open: entries land here; closing: in its grace; finalised: sealed."""

        OPEN = "open", "Open"
        CLOSING = "closing", "Closing"
        FINALISED = "finalised", "Finalised"

    customer = TenantForeignKey(Customer, related_name="periods")
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    timezone = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    # When the amounts due at its start were posted; null: they still have to be.
    opened_at = models.DateTimeField(null=True)
    closing_at = models.DateTimeField(null=True)
    finalised_at = models.DateTimeField(null=True)
    # The last digest of the books when the period was finalised.
    seal = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["customer", "-start_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "start_at"], name="billing_period_once"
            ),
            models.CheckConstraint(
                condition=models.Q(end_at__gt=models.F("start_at")),
                name="billing_period_forward",
            ),
        ]
        indexes = [
            # Serves every look-up of a customer at the door: until when is it closed?
            models.Index(
                fields=["customer", "end_at"],
                condition=models.Q(state="finalised"),
                name="billing_period_sealed",
            )
        ]

    def __str__(self) -> str:
        return f"{self.start_at:%Y-%m-%d} to {self.end_at:%Y-%m-%d}"
