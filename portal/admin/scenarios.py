"""Saved quantities of the simulator in the back office; read there."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse

from catalog.models import UsageScenario
from portal.admin.base import TenantAdmin
from portal.admin.site import site


def plan_page(row: UsageScenario) -> str:
    """Return the composer of a scenario's plan."""
    return reverse("plan-edit", args=[row.plan.public_id])


@admin.register(UsageScenario, site=site)
class UsageScenarioAdmin(TenantAdmin):
    """Quantities to try a plan with; saved and deleted in the plan's simulator."""

    list_display = ("name", "plan", "created_at")
    list_filter = ("plan",)
    search_fields = ("name",)
    list_select_related = ("plan",)
    fields = ("plan", "name", "quantities")
    view_on_site = staticmethod(plan_page)
