"""Prepaid credit: wallets, grants and their append-only entries."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import AppendOnly, AppendOnlyQuerySet, MoneyField, TenantModel
from billing.models.accounts import Customer


class Wallet(TenantModel):
    """A customer's prepaid balance in one currency; usage burns it before invoicing.

    `balance` is the sum of its entries and never below −overdraft_limit (a check
    constraint holds it).
    """

    public_prefix = "wal"

    customer = TenantForeignKey(Customer, related_name="wallets")
    currency = models.CharField(max_length=3)
    balance = MoneyField(default=0, editable=False)
    overdraft_limit = MoneyField(default=0)
    # Whether the guard refuses calls that the balance does not cover.
    enforced = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "currency"], name="billing_wallet_once"
            ),
            models.CheckConstraint(
                condition=models.Q(balance__gte=-models.F("overdraft_limit")),
                name="billing_wallet_not_overdrawn",
            ),
            models.CheckConstraint(
                condition=models.Q(overdraft_limit__gte=0),
                name="billing_wallet_overdraft_positive",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer} {self.currency}"


class CreditGrant(TenantModel):
    """A lot of credit: burnt in the order of priority, expiry, age."""

    class Kind(models.TextChoices):
        """Where the credit is from."""

        PURCHASED = "purchased", "Purchased"
        PROMOTIONAL = "promotional", "Promotional"
        REFILL = "refill", "Refill"

    customer = TenantForeignKey(Customer, related_name="+")
    wallet = TenantForeignKey(Wallet, related_name="grants")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    title = models.CharField(max_length=160)
    priority = models.PositiveSmallIntegerField(default=100)
    amount = MoneyField()
    remaining = MoneyField()
    expires_at = models.DateTimeField(null=True, blank=True)
    expired_at = models.DateTimeField(null=True, blank=True, editable=False)
    granted_by = models.ForeignKey(
        "core.User", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["priority", "expires_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(remaining__gte=0, remaining__lte=models.F("amount")),
                name="billing_grant_remaining_range",
            )
        ]

    def __str__(self) -> str:
        return self.title


class WalletEntry(AppendOnly, TenantModel):
    """One movement of a wallet, titled by its cause."""

    class Kind(models.TextChoices):
        """What moved."""

        GRANT = "grant", "Credit added"
        BURN = "burn", "Usage"
        EXPIRY = "expiry", "Expired"
        RETURN = "return", "Returned"

    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    wallet = TenantForeignKey(Wallet, related_name="entries", db_index=False)
    grant = TenantForeignKey(CreditGrant, null=True, related_name="entries")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    title = models.CharField(max_length=160)
    amount = MoneyField()
    balance_after = MoneyField()
    # The version of the books, and for a burn the period whose invoice it reduces.
    version = models.BigIntegerField()
    billing_period_id = models.UUIDField(null=True)
    actor_label = models.CharField(max_length=160, blank=True)
    reason = models.CharField(max_length=300, blank=True)

    objects: ClassVar[models.Manager[WalletEntry]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "wallet entries"
        indexes = [
            models.Index(fields=["wallet", "-id"], name="billing_wallet_feed"),
        ]

    def __str__(self) -> str:
        return f"{self.title} {self.amount.normalize():f}"
