"""Contracts and prepaid credit."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from aforo.core.models import Role
from aforo.core.roles import MONEY, OPERATE
from aforo.lib import clock
from billing import subscriptions, wallets
from billing.models import (
    CreditGrant,
    Subscription,
    SubscriptionSnapshot,
    Wallet,
    WalletEntry,
)
from catalog.models import PlanVersion
from portal.admin.accounts import customer_page
from portal.admin.base import (
    ReadOnlyAdmin,
    Refusable,
    TenantAdmin,
    confirmed,
    leading,
)
from portal.admin.catalog import Rows
from portal.admin.forms import COMMITTED, SubscriptionForm
from portal.admin.site import site
from portal.pages import person

CONTRACTS = (Role.OWNER, Role.PRODUCT_MANAGER, Role.FINANCE)


class SnapshotRows(Rows):
    """The versions of a contract."""

    model = SubscriptionSnapshot
    fields = ("effective_from", "plan_version", "timezone")


class GrantRows(Rows):
    """The lots of a wallet."""

    model = CreditGrant
    fields = ("kind", "priority", "amount", "remaining", "expires_at")


@admin.register(Subscription, site=site)
class SubscriptionAdmin(TenantAdmin):
    """Contracts; a change of plan is a new snapshot."""

    form = SubscriptionForm
    add_roles = CONTRACTS
    change_roles = CONTRACTS
    list_display = ("customer", "product", "agent", "state", "started_at")
    list_filter = ("state", "product")
    search_fields = ("customer__name", "product__name")
    autocomplete_fields = ("customer", "agent")
    list_select_related = ("customer", "product", "agent")
    date_hierarchy = "started_at"
    inlines = (SnapshotRows,)
    view_on_site = staticmethod(lambda row: customer_page(row.customer))
    actions = (
        confirmed(
            "Pause",
            OPERATE,
            lambda request, row: _pause_contract(request, row),
            warning="Calls are refused until it is resumed; fixed amounts go on.",
        ),
        confirmed(
            "Resume", OPERATE, lambda request, row: _resume_contract(request, row)
        ),
        confirmed(
            "Cancel now",
            CONTRACTS,
            lambda request, row: _cancel(request, row),
            warning="The contracts end now. Later usage has no price.",
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what a contract keeps for ever."""
        if obj is None:
            return ()
        return ("customer", "product", "agent", "state", "started_at", "cancelled_at")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what a contract needs, or what may follow."""
        if obj is None:
            return (
                "customer",
                "plan_version",
                "currency",
                "agent",
                *COMMITTED,
                "started_at",
            )
        return (*self.get_readonly_fields(request, obj), "plan_version", "effective_at")

    def make(self, request: HttpRequest, obj: Subscription, form: Any) -> Model:
        """Subscribe the customer, audited, with what is due at the start."""
        given = form.cleaned_data
        version: PlanVersion = given["plan_version"]
        return subscriptions.subscribe(
            customer=given["customer"],
            product=version.plan.product,
            plan_version=version,
            agent=given["agent"],
            start_at=given["started_at"],
            currency=given["currency"] or None,
            commitment=form.commitment(),
            actor=person(request),
        )

    def change(self, request: HttpRequest, obj: Subscription, form: Any) -> None:
        """Let another plan version apply from an instant on, if one was chosen."""
        version = form.cleaned_data.get("plan_version")
        if version is not None:
            last = SubscriptionSnapshot.objects.filter(subscription=obj).order_by(
                "-number"
            )[0]
            subscriptions.change_plan(
                subscription=Subscription.objects.get(pk=obj.pk),
                plan_version=version,
                overrides=last.overrides,
                commitment=last.commitment,
                at=form.cleaned_data["effective_at"] or clock.now(),
                actor=person(request),
            )


def _pause_contract(request: HttpRequest, row: Subscription) -> None:
    """Refuse a subscription's calls."""
    subscriptions.pause(subscription=row, actor=person(request))


def _resume_contract(request: HttpRequest, row: Subscription) -> None:
    """Let a subscription's calls pass again."""
    subscriptions.resume(subscription=row, actor=person(request))


def _cancel(request: HttpRequest, row: Subscription) -> None:
    """End a contract now."""
    subscriptions.cancel(subscription=row, at=clock.now(), actor=person(request))


@admin.register(Wallet, site=site)
class WalletAdmin(ReadOnlyAdmin):
    """Prepaid balances; credit comes by grants, the balance by entries."""

    list_display = ("customer", "currency", "balance", "overdraft_limit", "enforced")
    list_filter = ("currency", "enforced")
    search_fields = ("customer__name",)
    list_select_related = ("customer",)
    inlines = (GrantRows,)
    view_on_site = staticmethod(lambda row: customer_page(row.customer, "wallet"))
    actions = (
        leading(
            "Top up",
            MONEY,
            lambda row: reverse("top-up", args=[row.customer.public_id]),
        ),
    )


class CreditForm(Refusable):
    """A lot of credit for a customer."""

    class Meta:
        model = CreditGrant
        fields = ("customer", "kind", "title", "amount", "priority", "expires_at")


@admin.register(CreditGrant, site=site)
class CreditGrantAdmin(TenantAdmin):
    """Lots of credit; they are burnt by priority, expiry and age."""

    form = CreditForm
    add_roles = MONEY
    list_display = ("title", "customer", "kind", "amount", "remaining", "expires_at")
    list_filter = ("kind", "expires_at", "expired_at")
    search_fields = ("title", "customer__name")
    autocomplete_fields = ("customer",)
    list_select_related = ("customer",)
    date_hierarchy = "created_at"
    view_on_site = staticmethod(lambda row: customer_page(row.customer, "wallet"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is asked for, and what became of an existing lot."""
        asked = ("customer", "kind", "title", "amount", "priority", "expires_at")
        known = ("wallet", "remaining", "expired_at", "granted_by", "created_at")
        return asked if obj is None else (*asked, *known)

    def make(self, request: HttpRequest, obj: CreditGrant, form: Any) -> Model:
        """Grant the credit, audited, in the customer's currency."""
        given = form.cleaned_data
        return wallets.grant(
            currency=given["customer"].currency, actor=person(request), **given
        )


@admin.register(WalletEntry, site=site)
class WalletEntryAdmin(ReadOnlyAdmin):
    """Movements of wallets."""

    list_display = (
        "created_at",
        "customer",
        "kind",
        "title",
        "amount",
        "balance_after",
    )
    list_filter = ("kind",)
    search_fields = ("title", "customer__name")
    list_select_related = ("customer",)
    date_hierarchy = "created_at"
    view_on_site = staticmethod(lambda row: customer_page(row.customer, "wallet"))
