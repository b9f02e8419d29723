"""Tenant, people, keys and the audit."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from aforo.core import service_keys
from aforo.core.models import (
    AuditEntry,
    FxRate,
    IdempotencyKey,
    Invitation,
    JobSlot,
    Membership,
    Notification,
    OutboxMessage,
    ServiceKey,
    Tenant,
    User,
)
from aforo.core.roles import MONEY, OPERATE, OWN, PRICING, STAFF
from aforo.lib import clock
from aforo.lib.errors import AforoError
from portal.admin.base import ReadOnlyAdmin, Refusable, TenantAdmin, confirmed
from portal.admin.site import site
from portal.context import acting_tenant
from portal.pages import may, person
from portal.secrets import keep_secret


@admin.register(Tenant, site=site)
class TenantRowAdmin(TenantAdmin):
    """The seller; there is one row."""

    list_display = ("name", "legal_name", "currency", "timezone", "tax_rate")
    search_fields = ("name",)
    change_roles = OWN
    readonly_fields = ("tag", "sandbox", "created_at")
    fields = (
        "name",
        "legal_name",
        "address",
        "tax_id",
        "email",
        ("currency", "timezone"),
        ("tax_label", "tax_rate"),
        "invoice_prefix",
        "tag",
        "sandbox",
        "created_at",
    )


@admin.register(User, site=site)
class UserAdmin(ReadOnlyAdmin):
    """People; they change themselves in their profile."""

    list_display = ("email", "name", "is_active", "last_login")
    search_fields = ("email", "name")
    list_filter = ("is_active",)
    fields = ("email", "name", "is_active", "theme", "last_login", "totp_confirmed_at")
    view_on_site = staticmethod(lambda row: "/settings/team")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Return the members of the tenant: people of others stay unseen."""
        members = Membership.objects.filter(tenant=acting_tenant(request))
        found: QuerySet[User] = super().get_queryset(request)
        return found.filter(pk__in=members.values("user"))


@admin.register(Membership, site=site)
class MembershipAdmin(ReadOnlyAdmin):
    """Roles; the team page changes them."""

    list_display = ("user", "role", "is_active", "created_at")
    list_filter = ("role", "is_active")
    search_fields = ("user__email", "user__name")
    list_select_related = ("user",)
    view_on_site = staticmethod(lambda row: "/settings/team")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        """Return the tenant's rows: a person's rows elsewhere are visible to them."""
        found: QuerySet[Membership] = super().get_queryset(request)
        return found.filter(tenant=acting_tenant(request))


@admin.register(Invitation, site=site)
class InvitationAdmin(ReadOnlyAdmin):
    """One-time links; the team page makes and withdraws them."""

    list_display = ("email", "role", "invited_by", "expires_at", "accepted_at")
    list_filter = ("role",)
    search_fields = ("email",)
    view_on_site = staticmethod(lambda row: "/settings/team")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any = None
    ) -> tuple[str, ...]:
        """Every field but the digest of the token."""
        names = super().get_readonly_fields(request, obj)
        return tuple(name for name in names if name != "token_digest")


class ServiceKeyForm(Refusable):
    """A name, what the key may do, and when it ends."""

    scopes = forms.MultipleChoiceField(
        choices=[(s, s) for s in ServiceKey.SCOPES],
        widget=forms.CheckboxSelectMultiple,
        initial=["ingest", "check"],
    )

    class Meta:
        model = ServiceKey
        fields = ("name", "scopes", "expires_at")


@admin.register(ServiceKey, site=site)
class ServiceKeyAdmin(TenantAdmin):
    """Keys of gateways and backends; the secret is shown once, after saving."""

    form = ServiceKeyForm
    add_roles = OPERATE
    list_display = (
        "name",
        "last_four",
        "scopes",
        "created_at",
        "last_used_at",
        "expires_at",
    )
    list_filter = ("revoked_at", "expires_at")
    search_fields = ("name", "last_four")
    readonly_fields = ("last_four", "created_by", "revoked_at", "last_used_at")
    actions = (
        confirmed(
            "Revoke",
            OPERATE,
            lambda request, row: _revoke_key(request, row),
            warning="Calls with these keys are refused within a second, for ever.",
        ),
    )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is asked for, and what is known of an existing key."""
        asked = ("name", "scopes", "expires_at")
        return asked if obj is None else (*asked, *self.readonly_fields)

    def make(self, request: HttpRequest, obj: ServiceKey, form: Any) -> Model:
        """Issue the key and keep its secret for the next page.

        A key that may change prices is made by somebody who may.
        """
        if "catalog:write" in form.cleaned_data["scopes"] and not may(request, PRICING):
            raise AforoError(
                "role_needed",
                403,
                "Only an owner gives a key the scope catalog:write: it changes prices.",
                field="scopes",
            )
        key, secret = service_keys.issue(
            tenant=acting_tenant(request),
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            expires_at=form.cleaned_data["expires_at"],
            actor=person(request),
        )
        keep_secret(request, secret, title=f"Service key {key.name}", back=_keys())
        return key

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: Any = None
    ) -> HttpResponse:
        """Show the secret."""
        return redirect("credential-secret")


def _keys() -> str:
    """Return where the keys are listed."""
    return reverse("admin:core_servicekey_changelist")


def _revoke_key(request: HttpRequest, row: ServiceKey) -> None:
    """Refuse a key from now on."""
    service_keys.revoke(key=row, actor=person(request))


@admin.register(AuditEntry, site=site)
class AuditAdmin(ReadOnlyAdmin):
    """Who changed what."""

    list_display = ("created_at", "actor_label", "action", "object_label")
    list_filter = ("action", "object_type")
    search_fields = ("actor_label", "object_label", "object_id", "action")
    date_hierarchy = "created_at"
    view_on_site = staticmethod(lambda row: f"/audit?object={row.object_id}")


@admin.register(Notification, site=site)
class NotificationAdmin(ReadOnlyAdmin):
    """What people were told."""

    list_display = ("created_at", "severity", "kind", "text", "resolved_at")
    list_filter = ("severity", "kind", "resolved_at")
    search_fields = ("text",)
    date_hierarchy = "created_at"
    actions = (
        confirmed("Resolve", STAFF[:4], lambda request, row: _resolve(request, row)),
    )
    view_on_site = staticmethod(lambda row: row.url or "/")


def _resolve(request: HttpRequest, row: Notification) -> None:
    """Note that somebody dealt with it."""
    if row.resolved_at is None:
        row.resolved_at = clock.now()
        row.save(update_fields=["resolved_at"])


@admin.register(FxRate, site=site)
class FxRateAdmin(TenantAdmin):
    """Rates of exchange for figures, never for the books."""

    add_roles = MONEY
    list_display = ("base", "quote", "rate", "valid_from")
    list_filter = ("base", "quote")
    search_fields = ("base", "quote")
    date_hierarchy = "valid_from"
    fixed = ("base", "quote", "rate", "valid_from")


@admin.register(OutboxMessage, site=site)
class OutboxAdmin(ReadOnlyAdmin):
    """What the books told the world."""

    list_display = ("id", "customer_id", "version", "created_at", "published_at")
    list_filter = ("published_at",)


@admin.register(IdempotencyKey, site=site)
class IdempotencyAdmin(ReadOnlyAdmin):
    """Answers that were given once and are repeated."""

    list_display = ("key", "endpoint", "status", "created_at")
    list_filter = ("endpoint", "status")
    search_fields = ("key",)


@admin.register(JobSlot, site=site)
class JobSlotAdmin(ReadOnlyAdmin):
    """Runs of the scheduled jobs."""

    list_display = ("job", "slot", "started_at", "finished_at", "outcome")
    list_filter = ("job",)
    date_hierarchy = "slot"
