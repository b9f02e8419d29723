"""The books: one lock row a customer, the append-only ledger, totals and digests."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from aforo.lib import clock, ids
from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import (
    AppendOnly,
    AppendOnlyQuerySet,
    FiguresField,
    MoneyField,
    TenantModel,
)
from billing.models.accounts import Agent, Customer, Team
from billing.models.subscriptions import (
    BillingPeriod,
    Subscription,
    SubscriptionSnapshot,
)


class CustomerBooks(models.Model):
    """The row that every transaction on a customer's money locks first.

    `version` rises with every such transaction, `config_version` with every change
    of what the edge must know; the projected ones say what Redis has.
    """

    customer = models.OneToOneField(
        Customer, primary_key=True, on_delete=models.PROTECT, related_name="books"
    )
    tenant = models.ForeignKey(
        "core.Tenant", on_delete=models.PROTECT, related_name="+"
    )
    version = models.BigIntegerField(default=0)
    config_version = models.BigIntegerField(default=1)
    projected_version = models.BigIntegerField(default=-1)
    projected_config_version = models.BigIntegerField(default=-1)
    changed_at = models.DateTimeField(default=clock.now)
    # Digest of the last batch: the head of the chain.
    head = models.CharField(max_length=64, default="", blank=True)
    # Parked: a safety bound was hit; nothing is finalised until somebody looks.
    parked_at = models.DateTimeField(null=True, blank=True)
    parked_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name_plural = "customer books"

    def __str__(self) -> str:
        return f"{self.customer} v{self.version}"


class LedgerBasis(AppendOnly, TenantModel):
    """The charges that many ledger entries move, and what their steps have in common.

    The id follows from tenant and content, see billing.ledger_bases.
    """

    charge_keys = ArrayField(models.CharField(max_length=80))
    # Per charge, what catalog.pricing.pack_steps makes of its one step. Null where the
    # steps hold quantities and amounts: then each entry has its own.
    steps = models.JSONField(null=True)

    objects: ClassVar[models.Manager[LedgerBasis]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "ledger bases"

    def __str__(self) -> str:
        return ", ".join(self.charge_keys)


class LedgerEntries(models.Manager.from_queryset(AppendOnlyQuerySet)):  # type: ignore[misc]
    """Reads and adds entries; each comes with its basis."""

    def get_queryset(self) -> models.QuerySet[LedgerEntry]:
        """Return all entries."""
        found: models.QuerySet[LedgerEntry] = super().get_queryset()
        return found.select_related("basis")


class LedgerEntry(AppendOnly):
    """What one event, or one rule, adds to what a customer owes.

    One row an event, with parallel lists of charges: charge_keys[i] moved by
    quantities[i] for amounts[i]. `amount` is their sum. `usage_period` is by
    occurred_at, `billing_period` the one whose invoice carries the entry.
    """

    public_prefix: ClassVar[str] = "led"

    class Kind(models.TextChoices):
        """Why the entry is there."""

        USAGE = "usage", "Usage"
        RECURRING = "recurring", "Recurring"
        REVERSAL = "reversal", "Reversal"
        REPRICE = "reprice", "Reprice"
        ADJUSTMENT = "adjustment", "Adjustment"
        ROUNDING = "rounding", "Rounding"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    tenant = models.ForeignKey(
        "core.Tenant",
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    customer = TenantForeignKey(Customer, related_name="ledger", db_index=False)
    subscription = TenantForeignKey(Subscription, related_name="ledger", db_index=False)
    snapshot = TenantForeignKey(SubscriptionSnapshot, related_name="+", db_index=False)
    usage_period = TenantForeignKey(BillingPeriod, related_name="+", db_index=False)
    billing_period = TenantForeignKey(
        BillingPeriod, related_name="ledger", db_index=False
    )
    kind = models.CharField(max_length=10, choices=Kind.choices)
    # The event that caused it (metering.UsageEvent.id); null for rules.
    event_id = models.UUIDField(null=True)
    reverses = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.PROTECT,
        related_name="reversed_by",
        db_index=False,
    )
    # The version of the books that appended it: (customer, version) is one batch.
    version = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    amount = MoneyField()
    basis = TenantForeignKey(LedgerBasis, related_name="+", db_index=False)
    quantities = FiguresField()
    amounts = FiguresField()
    # Of all charges, where the basis has none: see `steps`.
    own_steps = models.JSONField(null=True)
    event_type = models.CharField(max_length=80, blank=True)
    tool_name = models.CharField(max_length=120, blank=True)
    agent = TenantForeignKey(Agent, null=True, related_name="+", db_index=False)
    team = TenantForeignKey(Team, null=True, related_name="+", db_index=False)
    session_id = models.UUIDField(null=True)
    # The spend level that the event was priced at: rating again takes it from here.
    # Null where the plan has none, so that older rows need not be rewritten.
    spend_level = models.CharField(max_length=64, null=True)  # noqa: DJ001
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()

    objects: ClassVar[models.Manager[LedgerEntry]] = LedgerEntries()  # type: ignore[assignment]

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "ledger entries"
        constraints = [
            # One set of effects an event, for ever.
            models.UniqueConstraint(
                fields=["event_id"],
                condition=models.Q(kind__in=["usage", "adjustment"]),
                name="billing_ledger_event_once",
            ),
            models.UniqueConstraint(
                fields=["reverses"],
                condition=models.Q(reverses__isnull=False),
                name="billing_ledger_reversed_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["customer", "billing_period"], name="billing_ledger_period"
            ),
            # Serves the proof of one batch.
            models.Index(fields=["customer", "version"], name="billing_ledger_batch"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount.normalize():f} {self.currency}"

    @property
    def charge_keys(self) -> list[str]:
        """The charges that it moves."""
        keys: list[str] = self.basis.charge_keys
        return keys

    @property
    def steps(self) -> list[Any]:
        """Per charge, what catalog.pricing.pack_steps makes of its tier steps."""
        shared = self.basis.steps
        return (self.own_steps or []) if shared is None else shared


class LedgerBatch(AppendOnly, TenantModel):
    """The proof of one version of the books: a digest chained to the one before."""

    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    version = models.BigIntegerField()
    entry_count = models.PositiveIntegerField()
    previous = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=64)

    objects: ClassVar[models.Manager[LedgerBatch]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["customer", "version"]
        verbose_name_plural = "ledger batches"
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "version"], name="billing_batch_once"
            )
        ]

    def __str__(self) -> str:
        return f"v{self.version} {self.digest[:12]}"


class UsageTotal(TenantModel):
    """Where a subscription stands in a period: one counter row for all charges.

    `state` is the PlanState of catalog.pricing; `spend` the sum of the entries.
    """

    customer = TenantForeignKey(Customer, related_name="usage_totals", db_index=False)
    subscription = TenantForeignKey(
        Subscription, related_name="usage_totals", db_index=False
    )
    snapshot = TenantForeignKey(SubscriptionSnapshot, related_name="+", db_index=False)
    period = TenantForeignKey(BillingPeriod, related_name="usage_totals")
    state = models.JSONField(default=dict)
    currency = models.CharField(max_length=3)
    # Rated usage; recurring fees apart.
    spend = MoneyField(default=0)
    recurring = MoneyField(default=0)
    # Known cost in the plan's currency, and how many events have none.
    cost = MoneyField(default=0)
    cost_unknown_count = models.BigIntegerField(default=0)
    event_count = models.BigIntegerField(default=0)
    # Tokens in and out: what token quotas look at.
    token_count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "subscription", "snapshot", "period"],
                name="billing_usage_total_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.subscription}: {self.spend.normalize():f} {self.currency}"


class GroupTotal(TenantModel):
    """What a group of events used in a period, where a charge looks at single groups.

    A group is a session, or the events of one correlation id; `state` is that of
    catalog.pricing. When a session has ended it is settled: what its errors add is
    posted, once.
    """

    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    total = TenantForeignKey(UsageTotal, related_name="groups", db_index=False)
    charge_key = models.CharField(max_length=80)
    # metering.Session.id, or the digest of a correlation id.
    group_id = models.UUIDField()
    state = models.JSONField()
    # Null while the end of the session may still add to its price.
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["total", "group_id", "charge_key"],
                name="billing_group_total_once",
            )
        ]
        indexes = [
            models.Index(
                fields=["group_id"],
                condition=models.Q(settled_at__isnull=True),
                name="billing_group_unsettled",
            )
        ]

    def __str__(self) -> str:
        return f"{self.charge_key} of {self.group_id}"


class AgentTotal(TenantModel):
    """What an agent used of a contract in a period, and what its usage cost.

    `charges` is {charge key: [quantity, amount]} of the rows of a contract; costs are
    on the row without one, those of usage that has no price too.
    """

    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    period = TenantForeignKey(BillingPeriod, related_name="+")
    subscription = TenantForeignKey(
        Subscription, null=True, related_name="+", db_index=False
    )
    agent = TenantForeignKey(Agent, null=True, related_name="+", db_index=False)
    currency = models.CharField(max_length=3)
    charges = models.JSONField(default=dict)
    cost = MoneyField(default=0)
    cost_unknown_count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "period", "subscription", "agent", "currency"],
                nulls_distinct=False,
                name="billing_agent_total_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.agent_id}: {self.cost.normalize():f} {self.currency}"


class LevelChange(AppendOnly, TenantModel):
    """A contract came to another spend level; the last one says where it stands.

    A contract without any is at its plan's first level. `number` counts a contract's
    changes, so that each is written once, whoever notices.
    """

    class Cause(models.TextChoices):
        """What moved it."""

        SPEND = "spend", "Spend of the period"
        CREDITS = "credits", "Credits bought"
        HAND = "hand", "By hand or by contract"
        PERIOD = "period", "A new period"

    customer = TenantForeignKey(Customer, related_name="+")
    subscription = TenantForeignKey(Subscription, related_name="level_changes")
    period = TenantForeignKey(BillingPeriod, related_name="+", db_index=False)
    number = models.PositiveIntegerField()
    before = models.CharField(max_length=64)
    after = models.CharField(max_length=64)
    before_name = models.CharField(max_length=80)
    after_name = models.CharField(max_length=80)
    limits_multiplier = models.DecimalField(max_digits=9, decimal_places=3)
    cause = models.CharField(max_length=8, choices=Cause.choices)
    # The event or grant that moved it; null where it was neither.
    event_id = models.UUIDField(null=True)
    grant_id = models.UUIDField(null=True)
    spend = MoneyField()
    credits = MoneyField()
    currency = models.CharField(max_length=3)
    # Of the books: the batch that moved it.
    version = models.BigIntegerField()

    objects: ClassVar[models.Manager[LevelChange]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["subscription", "number"], name="billing_level_change_once"
            )
        ]
        indexes = [models.Index(fields=["tenant", "-id"], name="billing_level_moves")]

    def __str__(self) -> str:
        return f"{self.before_name} to {self.after_name}"
