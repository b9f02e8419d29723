"""What an event cost the seller, at the rates of its own moment."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.indexes import BrinIndex
from django.db import models

from aforo.lib import ids
from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import AppendOnly, AppendOnlyQuerySet, MoneyField, TenantModel
from billing.models import Customer
from catalog.cost_lines import CostLine, cost_lines
from metering.models.events import UsageEvent


class CostBasis(AppendOnly, TenantModel):
    """Units, prices and rates that the cost lines of many events have in common.

    The id follows from tenant and parts, see metering.cost_bases.
    """

    # [[unit, price of one, cost rate id] …]
    parts = models.JSONField()

    objects: ClassVar[models.Manager[CostBasis]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "cost bases"

    def __str__(self) -> str:
        return ", ".join(f"{unit} at {price}" for unit, price, _ in self.parts)


class CostFact(AppendOnly):
    """The cost of one event: one line per leaf, or unknown (amount NULL), never 0.

    What is found out later appends a fact with the difference: when the event is
    rated again (delta), or when a rate was corrected (recost). The sum is the cost; up
    to the last delta it is what the event was priced with.
    """

    public_prefix: ClassVar[str] = "cst"

    class Kind(models.TextChoices):
        """Whether it is the first figure or a change of it."""

        ORIGINAL = "original", "At event time"
        DELTA = "delta", "Found when rated again"
        RECOST = "recost", "Corrected rate"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    tenant = models.ForeignKey(
        "core.Tenant",
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    event = models.ForeignKey(
        UsageEvent,
        on_delete=models.PROTECT,
        related_name="costs",
        db_constraint=False,
        db_index=False,
    )
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.ORIGINAL)
    provider = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=120, blank=True)
    currency = models.CharField(max_length=3)
    amount = MoneyField(null=True)
    # Its lines: what they have in common with others', and quantity and amount of each
    # in the order of the basis' parts, apart by blanks. Null and empty without lines.
    basis = TenantForeignKey(CostBasis, null=True, related_name="+", db_index=False)
    figures = models.TextField(blank=True, default="")
    # Why the cost is not known.
    unknown = models.CharField(max_length=200, blank=True)
    # What the provider itself reported, beside ours.
    reported = MoneyField(null=True)
    occurred_at = models.DateTimeField()

    objects: ClassVar[models.Manager[CostFact]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            # One original for each event; the look-up of all its facts as well.
            models.UniqueConstraint(
                models.F("event"),
                models.Case(
                    models.When(kind="original", then=None), default=models.F("id")
                ),
                nulls_distinct=False,
                name="metering_cost_once",
            )
        ]
        indexes = [
            # Few: history asks for them at every event.
            models.Index(
                fields=["event"],
                condition=models.Q(kind="delta"),
                name="metering_cost_deltas",
            ),
            # Serves spans of time; a few pages for millions of rows.
            BrinIndex(fields=["occurred_at"], name="metering_cost_span"),
            # Serves the comparison of what providers say with what we say.
            models.Index(
                fields=["tenant", "occurred_at"],
                condition=models.Q(reported__isnull=False),
                name="metering_cost_reported",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.amount}"

    @property
    def lines(self) -> list[CostLine]:
        """What the cost is made of, leaf by leaf; reads its basis."""
        if self.basis is None:
            return []
        return cost_lines(self.basis.parts, self.figures)
