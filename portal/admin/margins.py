"""Margins and spend levels: what agents used, where levels stand, how they moved."""

from __future__ import annotations

from django.contrib import admin

from billing.models import AgentTotal, LevelChange
from guard.models import MarginChange, MarginLevel
from portal.admin.accounts import customer_page
from portal.admin.base import ReadOnlyAdmin
from portal.admin.site import site


@admin.register(AgentTotal, site=site)
class AgentTotalAdmin(ReadOnlyAdmin):
    """What an agent used of a contract in a period, and what it cost."""

    list_display = ("customer", "agent", "subscription", "period", "cost", "currency")
    list_select_related = ("customer", "agent", "subscription", "period")
    view_on_site = staticmethod(lambda row: customer_page(row.customer))


@admin.register(LevelChange, site=site)
class LevelChangeAdmin(ReadOnlyAdmin):
    """A contract came to another spend level."""

    list_display = ("created_at", "customer", "before_name", "after_name", "cause")
    list_filter = ("cause",)
    list_select_related = ("customer",)
    date_hierarchy = "created_at"
    view_on_site = staticmethod(lambda row: "/tiers")


@admin.register(MarginLevel, site=site)
class MarginLevelAdmin(ReadOnlyAdmin):
    """Where the margin of a subject stands."""

    list_display = ("scope", "subject_id", "level", "margin", "revenue", "cogs")
    list_filter = ("scope", "level")
    view_on_site = False


@admin.register(MarginChange, site=site)
class MarginChangeAdmin(ReadOnlyAdmin):
    """A subject came to another margin level, or its block was released."""

    list_display = ("created_at", "scope", "subject_id", "before", "level", "margin")
    list_filter = ("scope", "level", "cause")
    date_hierarchy = "created_at"
    view_on_site = False
