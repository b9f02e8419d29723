"""Customers, their teams, apps and agents, and the credentials these hold."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from aforo.lib import clock, crypto
from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import MoneyField, TenantModel


class Customer(TenantModel):
    """Who pays."""

    public_prefix = "cus"

    class State(models.TextChoices):
        """Whether the customer may use anything."""

        ACTIVE = "active", "Active"
        SUSPENDED = "suspended", "Suspended"

    name = models.CharField(max_length=160)
    # The tenant's own id, accepted wherever ours is.
    external_id = models.CharField(max_length=120, blank=True)
    legal_name = models.CharField(max_length=200, blank=True)
    address = models.TextField(blank=True)
    country = models.CharField(max_length=2, blank=True)
    tax_id = models.CharField("tax number", max_length=40, blank=True)
    email = models.EmailField("billing e-mail", blank=True)
    segment = models.CharField(max_length=60, blank=True)
    account_manager = models.ForeignKey(
        "core.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    currency = models.CharField(max_length=3)
    timezone = models.CharField(max_length=64, default="UTC")
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACTIVE)
    # A percentage that replaces the tenant's; null: the tenant's.
    tax_rate = models.DecimalField(
        max_digits=7, decimal_places=4, null=True, blank=True
    )
    # The most that may be rated in a period; null: no cap.
    spend_cap = MoneyField(null=True, blank=True)
    # Hash tag: every edge key of the customer lives in its slot.
    tag = models.CharField(
        max_length=12, unique=True, default=crypto.new_tag, editable=False
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "external_id"],
                condition=~models.Q(external_id=""),
                name="billing_customer_external_id",
            ),
            models.CheckConstraint(
                condition=models.Q(spend_cap__isnull=True)
                | models.Q(spend_cap__gte=0, spend_cap__lte=9_000_000_000),
                name="billing_customer_spend_cap_range",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Team(TenantModel):
    """A team of a customer."""

    public_prefix = "tem"

    customer = TenantForeignKey(Customer, related_name="teams")
    name = models.CharField(max_length=120)
    external_id = models.CharField(max_length=120, blank=True)
    tier = models.CharField(max_length=40, blank=True)
    # The most that its agents may be charged in a period; null: no cap.
    spend_cap = MoneyField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "name"], name="billing_team_name"
            ),
            models.CheckConstraint(
                condition=models.Q(spend_cap__isnull=True)
                | models.Q(spend_cap__gte=0, spend_cap__lte=9_000_000_000),
                name="billing_team_spend_cap_range",
            ),
            models.UniqueConstraint(
                fields=["tenant", "external_id"],
                condition=~models.Q(external_id=""),
                name="billing_team_external_id",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Agent(TenantModel):
    """An app or an agent: owned by one team, perhaps used by others (AgentGrant)."""

    public_prefix = "agt"

    class Kind(models.TextChoices):
        """Apps hold bearer tokens, agents a client id and secret."""

        APP = "app", "App"
        AGENT = "agent", "Agent"

    class AgentType(models.TextChoices):
        """What the agent is built with."""

        CLAUDE = "CLAUDE", "Claude"
        GPT = "GPT", "GPT"
        LANGCHAIN = "LANGCHAIN", "LangChain"
        CREWAI = "CREWAI", "CrewAI"
        AUTOGEN = "AUTOGEN", "AutoGen"
        CUSTOM = "CUSTOM", "Custom"

    class State(models.TextChoices):
        """Whether its calls pass."""

        ACTIVE = "active", "Running"
        PAUSED = "paused", "Paused"

    customer = TenantForeignKey(Customer, related_name="agents")
    team = TenantForeignKey(Team, related_name="agents")
    kind = models.CharField(max_length=6, choices=Kind.choices)
    agent_type = models.CharField(
        max_length=10, choices=AgentType.choices, default=AgentType.CUSTOM
    )
    name = models.CharField(max_length=120)
    external_id = models.CharField(max_length=120, blank=True)
    purpose = models.CharField(max_length=300, blank=True)
    tier = models.CharField(max_length=40, blank=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    # The most that it may be charged in a period, in its customer's currency.
    spend_cap = MoneyField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(spend_cap__isnull=True)
                | models.Q(spend_cap__gte=0, spend_cap__lte=9_000_000_000),
                name="billing_agent_spend_cap_range",
            ),
            models.UniqueConstraint(fields=["team", "name"], name="billing_agent_name"),
            models.UniqueConstraint(
                fields=["tenant", "external_id"],
                condition=~models.Q(external_id=""),
                name="billing_agent_external_id",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AgentGrant(TenantModel):
    """Another team, or another customer, may use the agent for a time."""

    agent = TenantForeignKey(Agent, related_name="grants")
    team = TenantForeignKey(Team, related_name="+")
    customer = TenantForeignKey(Customer, related_name="+")
    valid_from = models.DateTimeField(default=clock.now)
    valid_to = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-valid_from"]

    def __str__(self) -> str:
        return f"{self.agent} for {self.team}"


class Credential(TenantModel):
    """A secret with which an app or agent calls; stored as its SHA-256 alone."""

    public_prefix = "crd"

    class Kind(models.TextChoices):
        """Fixed by the product's type."""

        BEARER_TOKEN = "BEARER_TOKEN", "Bearer token"
        CLIENT_CREDENTIALS = "CLIENT_CREDENTIALS", "Client id and secret"

    customer = TenantForeignKey(Customer, related_name="credentials")
    agent = TenantForeignKey(Agent, related_name="credentials")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    name = models.CharField(max_length=120, blank=True)
    # agt_… for client credentials, else null.
    client_id = models.CharField(max_length=40, null=True, blank=True)  # noqa: DJ001
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=40, editable=False)  # "sk_live_…9Qe2"
    # Products it reaches; empty: every product the customer subscribes to.
    product_ids = ArrayField(models.UUIDField(), default=list, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    replaces = TenantForeignKey(
        "self", null=True, blank=True, related_name="replaced_by"
    )

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["client_id"], name="billing_cred_client_id")]

    def __str__(self) -> str:
        return self.hint

    @property
    def is_live(self) -> bool:
        """Whether calls with it pass: neither revoked nor expired."""
        return self.revoked_at is None and (
            self.expires_at is None or self.expires_at > clock.now()
        )

    @staticmethod
    def hint_of(key: str) -> str:
        """Return what may be shown of a key."""
        prefix, env, *_ = key.split("_")
        return f"{prefix}_{env}_…{key[-4:]}"
