"""What the seller pays: rates of models, tools and infrastructure over time."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.lib import clock
from aforo.lib.models import BaseModel, MoneyField


class CostRate(BaseModel):
    """The cost of one unit of a model or tool, true from `valid_from` to `valid_to`.

    Bitemporal: `recorded_at`/`superseded_at` say when it was known. A rate is never
    edited: a change supersedes the row and adds new ones. Rates of the library
    belong to no tenant and are read by all.
    """

    public_prefix: ClassVar[str] = "crt"

    class Source(models.TextChoices):
        """Where the rate is from; the first named wins."""

        CONTRACT = "contract", "Contract"
        MANUAL = "manual", "Entered by hand"
        INVOICE = "invoice", "Provider's invoice"
        LIBRARY = "library", "Public price list"

    tenant = models.ForeignKey(
        "core.Tenant",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        editable=False,
    )
    provider = models.CharField(max_length=60)  # "tool" for tools
    model = models.CharField(max_length=120)  # or the tool's name
    # A disjoint leaf, such as input_uncached_tokens.
    unit = models.CharField(max_length=60)
    amount = MoneyField(help_text="Cost of one unit.")
    # The amount is that of so many units, where one unit's has no exact decimals.
    per = models.PositiveIntegerField(default=1)
    currency = models.CharField(max_length=3, default="USD")
    # How the request was handled: batch, flex, priority, fast …; empty: as usual.
    context = models.CharField(max_length=40, blank=True)
    # Wins over the rate without region; empty: everywhere.
    region = models.CharField(max_length=40, blank=True)
    # For prompts of more tokens than these, and then for all of them (a cliff).
    above_tokens = models.PositiveIntegerField(default=0)
    # When it holds (UTC): "01:00-04:00", "mon-fri 01:00-04:00"; empty: always.
    hours = models.CharField(max_length=40, blank=True)
    source = models.CharField(max_length=10, choices=Source.choices)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    recorded_at = models.DateTimeField(default=clock.now)
    superseded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["provider", "model", "unit", "-valid_from"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(per__gt=0), name="catalog_cost_per_positive"
            ),
            models.CheckConstraint(
                condition=models.Q(amount__gte=0), name="catalog_cost_not_negative"
            ),
        ]
        indexes = [
            models.Index(fields=["model", "unit"], name="catalog_cost_lookup"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.model} {self.unit}"


class CostChange(BaseModel):
    """A difference between our library rates and the public price list.

    A rise, a new price and a small fall apply at once. A fall of more than a fifth
    waits: approved, it becomes a rate of the tenant. A fault is only shown.
    """

    public_prefix: ClassVar[str] = "cch"

    class State(models.TextChoices):
        """What became of it."""

        APPLIED = "applied", "Applied"
        PENDING = "pending", "Waits for approval"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"
        FLAGGED = "flagged", "Fault of the price list"

    # Null: for all to read. What waits for approval is one row for each tenant.
    tenant = models.ForeignKey(
        "core.Tenant",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        editable=False,
    )
    state = models.CharField(max_length=10, choices=State.choices)
    provider = models.CharField(max_length=60)
    model = models.CharField(max_length=120)
    # The identity of the rate besides: unit, context, region, above_tokens, hours.
    key = models.JSONField(default=dict)
    # {"amount", "per", "valid_from", "valid_to"}: as it was, and as it is listed.
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    # The largest change of an amount, over what it was: 0.25 is a quarter more.
    ratio = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    note = models.CharField(max_length=300, blank=True)
    library_version = models.CharField(max_length=40)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state", "-id"], name="catalog_cch_state")]

    def __str__(self) -> str:
        return f"{self.provider} {self.model} {self.key.get('unit', '')}"

    @property
    def is_pending(self) -> bool:
        """Whether somebody has to decide."""
        return self.state == self.State.PENDING
