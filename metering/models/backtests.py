"""Backtests: what a month of customers would have cost on other plans."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.core.models import User
from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import TenantModel
from billing.models import Customer
from catalog.models import Product


class Backtest(TenantModel):
    """One run: which plans, whose month, how far it is, and what came out.

    `result` is written once, with the state `done`; until then there is none.
    """

    public_prefix: ClassVar[str] = "bkt"

    class State(models.TextChoices):
        """Where the run stands."""

        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    OPEN_STATES = (State.QUEUED, State.RUNNING)

    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    month = models.DateField()  # Its first day; in each customer's own time zone.
    # Whose usage is priced; null: that of all products.
    product = TenantForeignKey(Product, null=True, related_name="+", db_index=False)
    # As they were when it was asked for, because drafts change:
    # [{"label", "version", "state", "prorate", "product", "body"} …].
    plans = models.JSONField()
    all_customers = models.BooleanField()
    customer_count = models.PositiveIntegerField()
    done_count = models.PositiveIntegerField(default=0)
    requested_by = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    requested_label = models.CharField(max_length=200)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # Of the worker that prices it: a stale one is taken over by another.
    heartbeat_at = models.DateTimeField(null=True)
    run = models.UUIDField(null=True)
    result = models.JSONField(null=True)
    failure = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="metering_backtest_newest"),
            # Serves the workers.
            models.Index(
                fields=["id"],
                condition=models.Q(state__in=["queued", "running"]),
                name="metering_backtest_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.month:%B %Y}, {' · '.join(plan['label'] for plan in self.plans)}"

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in self.OPEN_STATES


class BacktestRow(TenantModel):
    """One customer of a backtest; what was priced is kept when a worker dies."""

    backtest = TenantForeignKey(Backtest, related_name="rows", db_index=False)
    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    # See metering.backtest_figures; null: still to be priced.
    figures = models.JSONField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["backtest", "customer"], name="metering_backtest_row_once"
            )
        ]

    def __str__(self) -> str:
        return str(self.customer_id)
