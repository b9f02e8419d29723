"""What the seller pays: rates of models, tools and infrastructure over time."""

from __future__ import annotations

from django.db import models

from aforo.lib import clock
from aforo.lib.models import BaseModel, MoneyField


class CostRate(BaseModel):
    """The cost of one unit of a model or tool, true from `valid_from` to `valid_to`.

    Bitemporal: `recorded_at`/`superseded_at` say when it was known. A rate is never
    edited: a change supersedes the row and adds new ones. Rates of the library
    belong to no tenant and are read by all.
    """

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
    currency = models.CharField(max_length=3, default="USD")
    source = models.CharField(max_length=10, choices=Source.choices)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    recorded_at = models.DateTimeField(default=clock.now)
    superseded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["provider", "model", "unit", "-valid_from"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount__gte=0), name="catalog_cost_not_negative"
            ),
        ]
        indexes = [
            models.Index(fields=["model", "unit"], name="catalog_cost_lookup"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.model} {self.unit}"
