"""Rate plans and their versions; a published version never changes."""

from __future__ import annotations

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import TenantModel
from catalog.models.products import Product


class Plan(TenantModel):
    """A rate plan of a product."""

    public_prefix = "pln"

    product = TenantForeignKey(Product, related_name="plans")
    name = models.CharField(max_length=120)
    code = models.SlugField(max_length=60)
    description = models.TextField(blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "code"], name="catalog_plan_code")
        ]

    def __str__(self) -> str:
        return self.name


class PlanVersion(TenantModel):
    """What a plan says from one publication on.

    `body` is the plan in the JSON of catalog.pricing (charges and currency).
    `limits` holds the guard's defaults:
    {"requests_per_minute": int|null, "tokens_per_minute": int|null,
     "quotas": [{"metric": code, "limit": int, "on_exceed": "deny"|"bill"}],
     "spend_cap": "25.00"|null,
     "estimate": {"input_tokens": "0.000003", …} money per unit,
     "default_estimate": "0.01", "on_outage": "open"|"local"|"closed",
     "wallet_required": bool,
     "loop": {"same_call": {"count": int, "seconds": int}, "retries": the same,
              "errors": {"count": int}}, each may be missing or null: off,
     "shadow": {rule: bool}, judged and not enforced where true}
    A trigger refuses every change of a published version but its retirement.
    """

    public_prefix = "plv"

    class State(models.TextChoices):
        """Where a version stands."""

        DRAFT = "draft", "Draft"
        PUBLISHED = "published", "Published"
        RETIRED = "retired", "Retired"

    plan = TenantForeignKey(Plan, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    currency = models.CharField(max_length=3)
    body = models.JSONField()
    limits = models.JSONField(default=dict, blank=True)
    # Whether fixed amounts are charged by the days of a period that is not whole.
    prorate = models.BooleanField(default=False)
    # Counts savings and publications over all versions of the plan: who saves says
    # which one they saw.
    revision = models.PositiveIntegerField(default=0)
    saved_at = models.DateTimeField(null=True, blank=True)
    saved_by = models.ForeignKey(
        "core.User", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    published_at = models.DateTimeField(null=True, blank=True)
    published_by = models.ForeignKey(
        "core.User", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["plan", "-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "number"], name="catalog_plan_version_number"
            ),
            models.UniqueConstraint(
                fields=["plan"],
                condition=models.Q(state="draft"),
                name="catalog_plan_one_draft",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} v{self.number}"
