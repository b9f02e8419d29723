"""What happened, alert rules, webhook endpoints and their deliveries."""

from __future__ import annotations

from django.contrib import admin

from aforo.core.models import Happening
from portal.admin.base import ReadOnlyAdmin
from portal.admin.site import site


@admin.register(Happening, site=site)
class HappeningAdmin(ReadOnlyAdmin):
    """What happened; alerts and webhooks are made of it."""

    list_display = ("created_at", "severity", "kind", "text", "scope", "resolved_at")
    list_filter = ("severity", "kind", "resolved_at")
    search_fields = ("text", "scope")
    date_hierarchy = "created_at"
    view_on_site = staticmethod(lambda row: row.url or "/alerts")
