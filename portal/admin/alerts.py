"""What happened, alert rules, webhook endpoints and their deliveries."""

from __future__ import annotations

from django.contrib import admin

from aforo.core.models import Happening
from guard.models import AlertFiring, AlertRule, Delivery, WebhookEndpoint
from metering.models import ToolPace
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


@admin.register(AlertRule, site=site)
class AlertRuleAdmin(ReadOnlyAdmin):
    """Alert rules; they are changed on their page."""

    list_display = ("name", "kind", "threshold", "enabled", "snoozed_until")
    list_filter = ("kind", "enabled")
    search_fields = ("name",)
    view_on_site = staticmethod(lambda row: f"/alerts/{row.public_id}")


@admin.register(AlertFiring, site=site)
class AlertFiringAdmin(ReadOnlyAdmin):
    """When rules fired."""

    list_display = ("created_at", "rule", "severity", "text")
    list_filter = ("severity",)
    search_fields = ("text", "scope")
    date_hierarchy = "created_at"
    view_on_site = staticmethod(lambda row: f"/alerts/{row.rule.public_id}")


@admin.register(WebhookEndpoint, site=site)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    """Webhook endpoints, without their secrets."""

    list_display = ("url", "enabled", "failing_since", "last_success_at", "removed_at")
    list_filter = ("enabled",)
    search_fields = ("url", "description")
    exclude = ("secret", "old_secret")
    view_on_site = staticmethod(lambda row: "/webhooks")


@admin.register(Delivery, site=site)
class DeliveryAdmin(ReadOnlyAdmin):
    """Messages to endpoints and addresses."""

    list_display = ("created_at", "type", "endpoint", "email", "state", "next_at")
    list_filter = ("state", "type")
    date_hierarchy = "created_at"
    view_on_site = staticmethod(lambda row: "/webhooks")


@admin.register(ToolPace, site=site)
class ToolPaceAdmin(ReadOnlyAdmin):
    """How often agents call tools, by hour."""

    list_display = ("hour", "agent", "tool_name", "active_minutes", "invocations")
    search_fields = ("tool_name",)
    date_hierarchy = "hour"
