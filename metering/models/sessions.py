"""Sessions of agents and MCP servers, with counters in real time."""

from __future__ import annotations

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import MoneyField, TenantModel
from billing.models import Agent, Credential, Customer, Team
from catalog.models import Product


class Session(TenantModel):
    """A run of work: events of one session key of one customer."""

    public_prefix = "ses"

    class State(models.TextChoices):
        """Where the run stands."""

        ACTIVE = "active", "Active"
        IDLE = "idle", "Idle"
        PAUSED = "paused", "Paused"
        EXPIRED = "expired", "Expired"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"

    OPEN_STATES = (State.ACTIVE, State.IDLE, State.PAUSED)

    customer = TenantForeignKey(Customer, related_name="sessions", db_index=False)
    key = models.CharField(max_length=255)
    agent = TenantForeignKey(Agent, null=True, related_name="sessions", db_index=False)
    team = TenantForeignKey(Team, null=True, related_name="+", db_index=False)
    product = TenantForeignKey(Product, null=True, related_name="+", db_index=False)
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACTIVE)
    started_at = models.DateTimeField()
    last_event_at = models.DateTimeField()
    # When the server last heard of it: what idleness is measured by.
    last_received_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    event_count = models.PositiveIntegerField(default=0)
    tool_invocation_count = models.PositiveIntegerField(default=0)
    error_count = models.PositiveIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    total_duration_ms = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)
    price = MoneyField(default=0)
    cost = MoneyField(default=0)
    cost_unknown_count = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "key"], name="metering_session_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["tenant", "-started_at"], name="metering_session_feed"
            ),
            # Serves expiry.
            models.Index(
                fields=["last_received_at"],
                condition=models.Q(state__in=["active", "idle"]),
                name="metering_session_open",
            ),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def is_open(self) -> bool:
        """Whether more is expected of it."""
        return self.state in self.OPEN_STATES

    @property
    def total_tokens(self) -> int:
        """Tokens in and out."""
        return self.input_tokens + self.output_tokens


class ImplicitSession(TenantModel):
    """From when to when the calls of an implicit session have come so far.

    A credential's calls of a product that name no session; see metering.implicit. The
    session itself, with its figures, is the Session of the same key.
    """

    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    credential = TenantForeignKey(Credential, related_name="+", db_index=False)
    product = TenantForeignKey(Product, related_name="+", db_index=False)
    key = models.CharField(max_length=255)
    started_at = models.DateTimeField()  # Of its first event in time …
    last_at = models.DateTimeField()  # … and of its last.

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "key"], name="metering_implicit_once"
            ),
            models.CheckConstraint(
                condition=models.Q(last_at__gte=models.F("started_at")),
                name="metering_implicit_order",
            ),
        ]
        indexes = [
            # Serves the look for the session that is running.
            models.Index(
                fields=["credential", "product", "last_at"],
                name="metering_implicit_running",
            )
        ]

    def __str__(self) -> str:
        return self.key
