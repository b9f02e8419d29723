"""What customers, teams and agents were at earlier times."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import AppendOnly, AppendOnlyQuerySet, TenantModel
from billing.models.accounts import Agent, Customer, Team


class FormerFacets(AppendOnly, TenantModel):
    """What prices could ask of a customer, a team or an agent until `valid_to`.

    Usage of a time before `valid_to` is attributed and priced by this row; what holds
    now stands in the customer, team or agent itself. So a row is there only for what
    has changed. Written by billing.hierarchy alone.
    """

    class Kind(models.TextChoices):
        """Whose facets they were."""

        CUSTOMER = "customer", "Customer"
        TEAM = "team", "Team"
        AGENT = "agent", "Agent"

    customer = TenantForeignKey(Customer, related_name="+", db_index=False)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    subject_id = models.UUIDField()  # The customer's, the team's or the agent's.
    valid_from = models.DateTimeField(null=True)  # Null: since ever.
    valid_to = models.DateTimeField()
    # Only those of the kind are filled.
    segment = models.CharField(max_length=60, blank=True)
    tier = models.CharField(max_length=40, blank=True)
    agent_type = models.CharField(
        max_length=10, blank=True, choices=Agent.AgentType.choices
    )
    team = TenantForeignKey(Team, null=True, related_name="+", db_index=False)

    objects: ClassVar[models.Manager[FormerFacets]] = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-valid_to"]
        verbose_name_plural = "former facets"
        constraints = [
            # Serves the look-up of what held at an instant.
            models.UniqueConstraint(
                fields=["subject_id", "valid_to"], name="billing_former_once"
            ),
            models.CheckConstraint(
                condition=models.Q(valid_from__isnull=True)
                | models.Q(valid_to__gt=models.F("valid_from")),
                name="billing_former_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} until {self.valid_to:%Y-%m-%d %H:%M}"
