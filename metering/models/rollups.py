"""Hourly sums of usage, price and cost: what the pages and charts read."""

from __future__ import annotations

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import MoneyField, TenantModel
from billing.models import Customer


class UsageRollup(TenantModel):
    """The sums of one hour for one value of each dimension; see metering.rollups.

    Days are folded from hours by query. What is not known is NULL or empty. `cost` is
    in the row's currency. `more` holds the quantities of measurements that have no
    column of their own, by name. `rated_count` counts the events that have a price in
    the row's currency, be it 0: without any, a revenue of 0 says nothing.
    """

    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    hour = models.DateTimeField()
    product_id = models.UUIDField(null=True)
    agent_id = models.UUIDField(null=True)
    team_id = models.UUIDField(null=True)  # The team that used it.
    event_type = models.CharField(max_length=80)
    model = models.CharField(max_length=120, blank=True)
    provider = models.CharField(max_length=60, blank=True, default="")
    tool_name = models.CharField(max_length=120, blank=True)
    currency = models.CharField(max_length=3)
    event_count = models.BigIntegerField(default=0)
    error_count = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    duration_ms = models.BigIntegerField(default=0)
    more = models.JSONField(default=dict)
    rated_count = models.BigIntegerField(default=0, db_default=0)
    revenue = MoneyField(default=0)
    cost = MoneyField(default=0)
    cost_unknown_count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "customer",
                    "hour",
                    "product_id",
                    "agent_id",
                    "team_id",
                    "event_type",
                    "model",
                    "provider",
                    "tool_name",
                    "currency",
                ],
                nulls_distinct=False,
                name="metering_rollup_once",
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "hour"], name="metering_rollup_range")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H} {self.event_type}"
