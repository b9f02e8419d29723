"""Quantities that somebody keeps to try a plan with."""

from __future__ import annotations

from django.db import models

from aforo.lib.fields import TenantForeignKey
from aforo.lib.models import TenantModel
from catalog.models.plans import Plan


class UsageScenario(TenantModel):
    """Named quantities of everything that a plan counts, for its simulator.

    `quantities` are the texts of the simulator's boxes by their names, which stay the
    same as long as a box counts the same (portal.composer.meters).
    """

    public_prefix = "scn"

    plan = TenantForeignKey(Plan, related_name="scenarios")
    name = models.CharField(max_length=80)
    quantities = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "name"], name="catalog_scenario_name"
            )
        ]

    def __str__(self) -> str:
        return self.name
