"""Backtests: what a month of customers would have cost on other plans."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.lib.fields import TenantForeignKey
from catalog.models import Product
from metering.models.jobs import Job, JobRow


class Backtest(Job):
    """One run: which plans, whose month, how far it is, and what came out."""

    public_prefix: ClassVar[str] = "bkt"

    month = models.DateField()  # Its first day; in each customer's own time zone.
    # Whose usage is priced; null: that of all products.
    product = TenantForeignKey(Product, null=True, related_name="+", db_index=False)
    # As they were when it was asked for, because drafts change:
    # [{"label", "version", "state", "prorate", "product", "body"} …].
    plans = models.JSONField()
    all_customers = models.BooleanField()

    class Meta(Job.Meta):
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


class BacktestRow(JobRow):
    """One customer of a backtest; `figures` are those of metering.backtest_figures."""

    job_field: ClassVar[str] = "backtest"

    backtest = TenantForeignKey(Backtest, related_name="rows", db_index=False)

    class Meta(JobRow.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["backtest", "customer"], name="metering_backtest_row_once"
            )
        ]
