"""Products of the four types, and the tools they offer."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import TenantModel


class ProductType(models.TextChoices):
    """What is sold; it fixes the kind of credential and where billing happens."""

    STANDARD_API = "STANDARD_API", "Standard API"
    AGENTIC_API = "AGENTIC_API", "Agentic API"
    AI_AGENT = "AI_AGENT", "AI agent"
    MCP_SERVER = "MCP_SERVER", "MCP server"


class Product(TenantModel):
    """Something a tenant sells."""

    public_prefix = "prd"

    # Billed at the app with a bearer token; the other two at the session.
    BEARER_TYPES = (ProductType.STANDARD_API, ProductType.AGENTIC_API)

    name = models.CharField(max_length=120)
    code = models.SlugField(max_length=60, help_text="The id that events may carry.")
    type = models.CharField(max_length=16, choices=ProductType.choices)
    description = models.TextField(blank=True)
    features = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    # Whether a caller's own credential may report usage for itself.
    self_reporting = models.BooleanField(default=False)
    session_idle_s = models.PositiveIntegerField("idle after (s)", default=600)
    session_expire_s = models.PositiveIntegerField("expired after (s)", default=3600)
    # Whether tool calls that name no session get one of their credential.
    implicit_sessions = models.BooleanField(
        "session by credential and pause", default=False
    )
    max_call_s = models.PositiveIntegerField("longest call (s)", default=900)
    # Whether anybody may read the prices of the product's live plans.
    public_prices = models.BooleanField("price list is public", default=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "code"], name="catalog_product_code"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def uses_bearer(self) -> bool:
        """Whether callers present one bearer token, not a client id and secret."""
        return self.type in self.BEARER_TYPES


class Tool(TenantModel):
    """A tool of a product under the name that it was first known by.

    That name is kept for ever: plans, cost rates and sums of usage go by it. What the
    tool is called besides, and when, is in its ToolName rows. A deprecated tool is
    priced as before, and flagged.
    """

    public_prefix = "tol"

    product = TenantForeignKey(Product, related_name="tools")
    name = models.CharField(max_length=120)
    deprecated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["product", "name"], name="catalog_tool_name"
            )
        ]

    def __str__(self) -> str:
        return self.name


class ToolName(TenantModel):
    """Another name of a tool, or a version of it, true from `valid_from` to `valid_to`.

    A trigger refuses every change but setting `valid_to` once: events are priced by
    the names of their own time, also when they are replayed years later.
    """

    public_prefix = "tln"

    class Kind(models.TextChoices):
        """Why the tool has the name."""

        ALIAS = "alias", "Also called"
        RENAME = "rename", "Renamed to"

    tool = TenantForeignKey(Tool, related_name="names")
    product = TenantForeignKey(Product, related_name="+")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=6, choices=Kind.choices)
    version = models.CharField(
        max_length=40, blank=True, help_text="The tool's version under this name."
    )
    # Empty: since ever, and until further notice.
    valid_from = models.DateTimeField(null=True, blank=True)
    valid_to = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["tool", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["product", "name", "valid_from"],
                nulls_distinct=False,
                name="catalog_toolname_from",
            ),
            models.CheckConstraint(
                condition=models.Q(valid_to__gt=models.F("valid_from"))
                | models.Q(valid_to__isnull=True)
                | models.Q(valid_from__isnull=True),
                name="catalog_toolname_order",
            ),
        ]

    def __str__(self) -> str:
        return self.name
