"""Events, sessions, costs and the guard's decisions: what happened, read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from aforo.core.roles import OPERATE
from aforo.lib import ids
from aforo.lib.errors import AforoError
from guard.models import Decision, DoorCount, ObserveOnly, Override, RuleCount
from metering import unrateable
from metering.models import (
    Backfill,
    BackfillPart,
    Backtest,
    BacktestRow,
    CostBasis,
    CostFact,
    EventConflict,
    EventVoid,
    ImplicitSession,
    PendingEvents,
    SavedView,
    Session,
    Unrateable,
    UsageEvent,
    UsageRollup,
)
from metering.models.cost_runs import CostRun, CostRunRow
from portal.admin.base import ReadOnlyAdmin, confirmed
from portal.admin.site import site
from portal.pages import person


def event_page(event_id: Any) -> str:
    """Return an event's page in the console."""
    return reverse("event", args=[ids.public("evt", event_id)])


@admin.register(UsageEvent, site=site)
class EventAdmin(ReadOnlyAdmin):
    """Events as they were stored."""

    list_display = ("received_at", "customer", "event_type", "tool_name", "event_id")
    list_filter = ("event_type", "product")
    search_fields = ("=event_id", "=correlation_id", "=request_id")
    list_select_related = ("customer",)
    date_hierarchy = "received_at"
    ordering = ("-id",)
    view_on_site = staticmethod(lambda row: event_page(row.pk))


@admin.register(ImplicitSession, site=site)
class ImplicitSessionAdmin(ReadOnlyAdmin):
    """From when to when sessions of calls that name none have come so far."""

    list_display = ("key", "customer", "product", "started_at", "last_at")
    list_filter = ("product",)
    search_fields = ("=key", "customer__name")
    list_select_related = ("customer", "product")
    date_hierarchy = "started_at"
    view_on_site = False


@admin.register(PendingEvents, site=site)
class PendingAdmin(ReadOnlyAdmin):
    """The queue of record."""

    list_display = ("__str__", "shard", "received_at", "attempts")
    date_hierarchy = "received_at"
    view_on_site = False


@admin.register(Unrateable, site=site)
class UnrateableAdmin(ReadOnlyAdmin):
    """Events without a price, and why."""

    list_display = ("created_at", "customer", "reason", "detail", "resolved_at")
    list_filter = ("reason", "resolved_at")
    search_fields = ("detail", "customer__name")
    list_select_related = ("customer",)
    date_hierarchy = "created_at"
    view_on_site = staticmethod(lambda row: event_page(row.event_id))
    actions = (
        confirmed(
            "Replay",
            OPERATE,
            lambda request, row: _replay(request, row),
            warning="The events are rated again as they stand; none is charged twice.",
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Unrateable]:
        """Return the rows, the open ones first."""
        found: QuerySet[Unrateable] = super().get_queryset(request)
        return found.select_related("event")


def _replay(request: HttpRequest, row: Unrateable) -> None:
    """Rate an event again."""
    priced, _ = unrateable.replay([row.pk], actor=person(request))
    if not priced:
        raise AforoError("still_unrateable", 409, "It still has no price.")


@admin.register(EventConflict, site=site)
class ConflictAdmin(ReadOnlyAdmin):
    """Other bodies that came under a known event id."""

    list_display = ("event_id", "attempts", "last_at")
    search_fields = ("event_id",)
    date_hierarchy = "last_at"
    view_on_site = staticmethod(lambda row: event_page(row.first_event_id))


@admin.register(EventVoid, site=site)
class VoidAdmin(ReadOnlyAdmin):
    """Events that were taken back, and why."""

    list_display = ("created_at", "customer", "was", "amount", "currency", "reason")
    list_filter = ("was",)
    search_fields = ("reason", "actor_label")
    list_select_related = ("customer",)
    date_hierarchy = "created_at"
    view_on_site = staticmethod(lambda row: event_page(row.event_id))


@admin.register(CostBasis, site=site)
class CostBasisAdmin(ReadOnlyAdmin):
    """Units, prices and rates that the costs of many events have in common."""

    list_display = ("created_at", "__str__")
    search_fields = ("parts__icontains",)
    date_hierarchy = "created_at"


@admin.register(CostFact, site=site)
class CostFactAdmin(ReadOnlyAdmin):
    """What events cost the seller."""

    list_display = (
        "occurred_at",
        "customer",
        "provider",
        "model",
        "amount",
        "currency",
        "unknown",
    )
    list_filter = ("kind", "provider", "currency")
    search_fields = ("model",)
    list_select_related = ("customer",)
    date_hierarchy = "occurred_at"
    ordering = ("-id",)
    view_on_site = staticmethod(lambda row: event_page(row.event_id))


@admin.register(UsageRollup, site=site)
class RollupAdmin(ReadOnlyAdmin):
    """Hourly sums."""

    list_display = (
        "hour",
        "customer",
        "event_type",
        "model",
        "tool_name",
        "event_count",
        "revenue",
        "cost",
        "currency",
    )
    list_filter = ("event_type", "model", "currency")
    search_fields = ("customer__name", "tool_name", "model")
    list_select_related = ("customer",)
    date_hierarchy = "hour"
    ordering = ("-hour",)
    view_on_site = False


@admin.register(Session, site=site)
class SessionAdmin(ReadOnlyAdmin):
    """Runs of agents and MCP servers."""

    list_display = (
        "started_at",
        "customer",
        "key",
        "state",
        "event_count",
        "price",
        "cost",
    )
    list_filter = ("state", "product")
    search_fields = ("key", "customer__name")
    list_select_related = ("customer",)
    date_hierarchy = "started_at"
    view_on_site = staticmethod(lambda row: reverse("session", args=[row.public_id]))


@admin.register(Decision, site=site)
class DecisionAdmin(ReadOnlyAdmin):
    """Calls that the guard refused, throttled, or let through degraded."""

    list_display = ("decided_at", "decision", "reason_code", "degraded", "request_id")
    list_filter = ("decision", "reason_code", "degraded", "observed", "warned")
    search_fields = ("reason_code", "=request_id")
    date_hierarchy = "decided_at"
    view_on_site = staticmethod(
        lambda row: reverse("guard-decision", args=[row.public_id])
    )


@admin.register(Override, site=site)
class OverrideAdmin(ReadOnlyAdmin):
    """What people decided in the control room, each for a time."""

    list_display = ("created_at", "kind", "customer", "agent", "name", "ends_at")
    list_filter = ("kind",)
    search_fields = ("name", "reason", "actor_label")
    list_select_related = ("customer", "agent")
    date_hierarchy = "created_at"
    view_on_site = False


@admin.register(ObserveOnly, site=site)
class ObserveOnlyAdmin(ReadOnlyAdmin):
    """Times in which limits only reported."""

    list_display = ("created_at", "ends_at", "ended_at", "actor_label", "reason")
    date_hierarchy = "created_at"
    view_on_site = False


@admin.register(DoorCount, site=site)
class DoorCountAdmin(ReadOnlyAdmin):
    """How many checks the doors answered, minute by minute."""

    list_display = ("minute", "allowed", "throttled", "denied", "degraded")
    date_hierarchy = "minute"
    view_on_site = False


@admin.register(RuleCount, site=site)
class RuleCountAdmin(ReadOnlyAdmin):
    """How often each rule stopped calls of a contract, or would have, by hour."""

    list_display = ("hour", "rule", "denied", "throttled", "shadowed")
    search_fields = ("rule",)
    date_hierarchy = "hour"
    view_on_site = False


@admin.register(Backtest, site=site)
class BacktestAdmin(ReadOnlyAdmin):
    """What a month would have cost on other plans."""

    list_display = (
        "created_at",
        "month",
        "state",
        "done_count",
        "customer_count",
        "requested_label",
    )
    list_filter = ("state",)
    search_fields = ("requested_label",)
    date_hierarchy = "created_at"
    ordering = ("-id",)
    view_on_site = staticmethod(lambda row: reverse("backtest", args=[row.public_id]))


@admin.register(BacktestRow, site=site)
class BacktestRowAdmin(ReadOnlyAdmin):
    """One customer of a backtest."""

    list_display = ("created_at", "backtest", "customer")
    search_fields = ("customer__name",)
    list_select_related = ("backtest", "customer")
    ordering = ("-id",)
    view_on_site = False


@admin.register(CostRun, site=site)
class CostRunAdmin(ReadOnlyAdmin):
    """Costs worked out again, and what-if questions."""

    list_display = ("created_at", "kind", "title", "state", "requested_label")
    list_filter = ("kind", "state")
    search_fields = ("title",)
    ordering = ("-id",)
    view_on_site = False


@admin.register(CostRunRow, site=site)
class CostRunRowAdmin(ReadOnlyAdmin):
    """One customer of a run over costs."""

    list_display = ("created_at", "cost_run", "customer")
    list_select_related = ("cost_run", "customer")
    search_fields = ("customer__name",)
    ordering = ("-id",)
    view_on_site = False


@admin.register(SavedView, site=site)
class SavedViewAdmin(ReadOnlyAdmin):
    """Saved filters of pages; they are changed on the page of saved views."""

    list_display = ("created_at", "page", "name", "owner", "shared")
    list_filter = ("page", "shared")
    search_fields = ("name",)
    list_select_related = ("owner",)
    ordering = ("-id",)
    view_on_site = False


@admin.register(Backfill, site=site)
class BackfillAdmin(ReadOnlyAdmin):
    """Old usage that staff brought in; its page in the console acts."""

    list_display = ("created_at", "name", "state", "event_count", "requested_label")
    list_filter = ("state",)
    search_fields = ("name", "reason")
    ordering = ("-id",)
    view_on_site = staticmethod(lambda row: reverse("backfill", args=[row.public_id]))


@admin.register(BackfillPart, site=site)
class BackfillPartAdmin(ReadOnlyAdmin):
    """Some lines of a backfill and what became of them."""

    list_display = ("created_at", "backfill", "position")
    list_select_related = ("backfill",)
    ordering = ("-id",)
    view_on_site = False
