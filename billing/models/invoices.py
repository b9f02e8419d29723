"""Invoices: drafts, gapless numbers, and lines that equal the ledger."""

from __future__ import annotations

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import MoneyField, TenantModel
from billing.models.accounts import Customer
from billing.models.subscriptions import BillingPeriod, Subscription


class Invoice(TenantModel):
    """What a customer owes for one period in one currency.

    A trigger refuses every change of a finalised invoice but its voiding and the
    note of its PDF.
    """

    public_prefix = "inv"

    class State(models.TextChoices):
        """draft: no number; finalised: numbered for ever; void keeps its number."""

        DRAFT = "draft", "Draft"
        FINALISED = "finalised", "Issued"
        VOID = "void", "Void"

    class Kind(models.TextChoices):
        """Why it was made."""

        PERIOD = "period", "Period"

    customer = TenantForeignKey(Customer, related_name="invoices")
    period = TenantForeignKey(BillingPeriod, related_name="invoices")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.PERIOD)
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    number = models.CharField(max_length=40, null=True, blank=True)  # noqa: DJ001
    # Names and addresses as they were when it was issued.
    seller = models.JSONField(default=dict)
    buyer = models.JSONField(default=dict)
    subtotal = MoneyField(default=0)
    credits_applied = MoneyField(default=0)
    tax_label = models.CharField(max_length=40, blank=True)
    tax_rate = models.DecimalField(max_digits=7, decimal_places=4, default=0)
    tax = MoneyField(default=0)
    total = MoneyField(default=0)  # subtotal + tax
    due = MoneyField(default=0)  # total − credits applied
    issued_at = models.DateTimeField(null=True, blank=True)
    due_on = models.DateField(null=True, blank=True)
    # SHA-256 of the PDF, which can be made again identically.
    pdf_digest = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "currency", "period", "kind"],
                name="billing_invoice_once",
            ),
            models.UniqueConstraint(
                fields=["tenant", "number"],
                condition=models.Q(number__isnull=False),
                name="billing_invoice_number",
            ),
            models.CheckConstraint(
                condition=models.Q(state="draft", number__isnull=True)
                | (~models.Q(state="draft") & models.Q(number__isnull=False)),
                name="billing_invoice_numbered_when_issued",
            ),
        ]

    def __str__(self) -> str:
        return self.number or f"Draft for {self.customer}"


class InvoiceLine(TenantModel):
    """One charge of one subscription on an invoice.

    `exact_amount` is the sum of the ledger before rounding, `amount` what is
    printed; a rounding entry in the ledger holds the difference.
    """

    public_prefix = "inl"

    invoice = TenantForeignKey(Invoice, related_name="lines")
    position = models.PositiveIntegerField()
    subscription = TenantForeignKey(Subscription, related_name="+")
    charge_key = models.CharField(max_length=80)
    # Set on adjustment lines: the finalised period that the usage belongs to.
    usage_period = TenantForeignKey(BillingPeriod, null=True, related_name="+")
    name = models.CharField(max_length=200)
    quantity = MoneyField()
    unit = models.CharField(max_length=40, blank=True)
    exact_amount = MoneyField()
    amount = MoneyField()
    # [{"label", "quantity", "unit_amount", "flat_amount", "amount"}]
    steps = models.JSONField(default=list)

    class Meta:
        ordering = ["invoice", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["invoice", "position"], name="billing_line_position"
            ),
            models.UniqueConstraint(
                fields=["invoice", "subscription", "charge_key", "usage_period"],
                nulls_distinct=False,
                name="billing_line_once",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class InvoiceCounter(TenantModel):
    """The last number given under a prefix: locked while an invoice is finalised."""

    prefix = models.CharField(max_length=30)
    last = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "prefix"], name="billing_counter_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.prefix} {self.last}"
