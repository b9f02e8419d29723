"""Customers, their teams, agents and credentials."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from aforo.core.roles import ACCOUNTS, MONEY, OPERATE
from billing import accounts, books, credentials, hierarchy
from billing.models import (
    Agent,
    AgentGrant,
    Credential,
    Customer,
    FormerFacets,
    Subscription,
    Team,
    Wallet,
)
from portal.admin.base import (
    ReadOnlyAdmin,
    TenantAdmin,
    confirmed,
    leading,
)
from portal.admin.catalog import Rows
from portal.admin.forms import CredentialForm
from portal.admin.site import site
from portal.context import acting_tenant
from portal.pages import person
from portal.secrets import keep_secret


def customer_page(row: Customer, tab: str = "") -> str:
    """Return a customer's page in the console."""
    path = reverse("customer", args=[row.public_id])
    return f"{path}?tab={tab}" if tab else path


def hierarchy_page(row: Customer) -> str:
    """Return the console's page of a customer's teams, agents and keys."""
    return reverse("hierarchy", args=[row.public_id])


class TeamRows(Rows):
    """The teams of a customer."""

    model = Team
    fields = ("external_id", "tier")


class AgentRows(Rows):
    """The apps and agents of a customer or team."""

    model = Agent
    fields = ("team", "kind", "agent_type", "state")


class SubscriptionRows(Rows):
    """The contracts of a customer."""

    model = Subscription
    fields = ("product", "agent", "state", "started_at", "cancelled_at")


class WalletRows(Rows):
    """The wallets of a customer."""

    model = Wallet
    fields = ("balance", "overdraft_limit", "enforced")


class CredentialRows(Rows):
    """The credentials of an agent."""

    model = Credential
    fields = ("kind", "name", "expires_at", "revoked_at", "last_used_at")


@admin.register(Customer, site=site)
class CustomerAdmin(TenantAdmin):
    """Who pays."""

    add_roles = change_roles = ACCOUNTS
    fixed = ("currency", "state", "spend_cap", "tag")
    list_display = ("name", "external_id", "state", "segment", "currency")
    list_filter = ("state", "segment", "currency", "country")
    search_fields = ("name", "legal_name", "external_id", "email")
    date_hierarchy = "created_at"
    inlines = (TeamRows, AgentRows, SubscriptionRows, WalletRows)
    view_on_site = staticmethod(customer_page)
    actions = (
        leading(
            "Top up wallet", MONEY, lambda row: reverse("top-up", args=[row.public_id])
        ),
        leading(
            "Set spend cap",
            MONEY,
            lambda row: reverse("spend-cap", args=[row.public_id]),
        ),
        confirmed(
            "Suspend",
            ACCOUNTS,
            lambda request, row: _suspend(request, row),
            warning="Every call of these customers is refused from the next one on.",
        ),
        confirmed(
            "Reactivate", ACCOUNTS, lambda request, row: _reactivate(request, row)
        ),
    )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is asked for; what has its own deed is only shown."""
        asked = (
            "name",
            "external_id",
            "legal_name",
            "address",
            "country",
            "tax_id",
            "email",
            "segment",
            "currency",
            "timezone",
            "tax_rate",
        )
        return asked if obj is None else (*asked, "state", "spend_cap", "tag")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Start with the tenant's currency and zone."""
        tenant = acting_tenant(request)
        return {"currency": tenant.currency, "timezone": tenant.timezone}

    def make(self, request: HttpRequest, obj: Customer, form: Any) -> Model:
        """Add the customer with books, audited."""
        return accounts.create_customer(
            tenant=acting_tenant(request), actor=person(request), **form.cleaned_data
        )

    def change(self, request: HttpRequest, obj: Customer, form: Any) -> None:
        """Store the change and tell the edge; a segment counts from now on."""
        accounts.check_zone(obj.timezone)
        hierarchy.save(obj)


def _suspend(request: HttpRequest, row: Customer) -> None:
    """Refuse every call of a customer."""
    accounts.suspend_customer(customer=row, actor=person(request))


def _reactivate(request: HttpRequest, row: Customer) -> None:
    """Let a customer's calls pass again."""
    accounts.reactivate_customer(customer=row, actor=person(request))


@admin.register(Team, site=site)
class TeamAdmin(TenantAdmin):
    """Teams of customers."""

    add_roles = change_roles = ACCOUNTS
    fixed = ("customer",)
    list_display = ("name", "customer", "external_id", "tier")
    list_filter = ("tier",)
    search_fields = ("name", "external_id", "customer__name")
    autocomplete_fields = ("customer",)
    list_select_related = ("customer",)
    fields = ("customer", "name", "external_id", "tier")
    inlines = (AgentRows,)
    view_on_site = staticmethod(lambda row: hierarchy_page(row.customer))

    def make(self, request: HttpRequest, obj: Team, form: Any) -> Model:
        """Add the team, audited."""
        return accounts.create_team(actor=person(request), **form.cleaned_data)

    def change(self, request: HttpRequest, obj: Team, form: Any) -> None:
        """Store the change and tell the edge."""
        hierarchy.save(obj)


@admin.register(Agent, site=site)
class AgentAdmin(TenantAdmin):
    """Apps and agents."""

    add_roles = change_roles = ACCOUNTS
    fixed = ("kind", "customer", "state")
    list_display = ("name", "customer", "team", "kind", "agent_type", "state")
    list_filter = ("kind", "agent_type", "state", "tier")
    search_fields = ("name", "external_id", "customer__name")
    autocomplete_fields = ("team",)
    list_select_related = ("customer", "team")
    inlines = (CredentialRows,)
    view_on_site = staticmethod(
        lambda row: f"{hierarchy_page(row.customer)}#{row.public_id}"
    )
    actions = (
        confirmed(
            "Pause",
            OPERATE,
            lambda request, row: _pause(request, row),
            warning="Calls of these agents are refused from the next one on.",
        ),
        confirmed("Resume", OPERATE, lambda request, row: _resume(request, row)),
        leading(
            "New credential",
            OPERATE,
            lambda row: reverse("credential-issue", args=[row.public_id]),
        ),
    )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is asked for, and what is known of an existing agent."""
        asked = (
            "team",
            "name",
            "kind",
            "agent_type",
            "external_id",
            "purpose",
            "tier",
        )
        return asked if obj is None else (*asked, "customer", "state")

    def make(self, request: HttpRequest, obj: Agent, form: Any) -> Model:
        """Add the agent, audited."""
        return accounts.create_agent(actor=person(request), **form.cleaned_data)

    def change(self, request: HttpRequest, obj: Agent, form: Any) -> None:
        """Store the change and tell the edge."""
        hierarchy.save(obj)


@admin.register(FormerFacets, site=site)
class FormerFacetsAdmin(ReadOnlyAdmin):
    """What customers, teams and agents were before, as earlier usage is priced."""

    list_display = ("kind", "customer", "team", "tier", "segment", "valid_to")
    list_filter = ("kind",)
    search_fields = ("customer__name", "tier", "segment")
    list_select_related = ("customer", "team")
    date_hierarchy = "valid_to"
    view_on_site = staticmethod(lambda row: customer_page(row.customer))


def _pause(request: HttpRequest, row: Agent) -> None:
    """Refuse every call of an agent."""
    accounts.pause_agent(agent=row, actor=person(request))


def _resume(request: HttpRequest, row: Agent) -> None:
    """Let an agent's calls pass again."""
    accounts.resume_agent(agent=row, actor=person(request))


@admin.register(AgentGrant, site=site)
class AgentGrantAdmin(TenantAdmin):
    """Other teams, or other customers, that may use an agent."""

    add_roles = change_roles = delete_roles = ACCOUNTS
    fixed = ("agent", "team", "customer")
    list_display = ("agent", "team", "customer", "valid_from", "valid_to")
    search_fields = ("agent__name", "team__name", "customer__name")
    autocomplete_fields = ("agent", "team", "customer")
    list_select_related = ("agent", "team", "customer")
    date_hierarchy = "valid_from"
    fields = ("agent", "team", "customer", "valid_from", "valid_to")
    view_on_site = staticmethod(lambda row: hierarchy_page(row.customer))

    def make(self, request: HttpRequest, obj: AgentGrant, form: Any) -> Model:
        """Store the grant and tell the edge of both customers."""
        obj.save()
        books.configure([obj.customer_id, obj.agent.customer_id])
        return obj

    def change(self, request: HttpRequest, obj: AgentGrant, form: Any) -> None:
        """Store the change and tell the edge of both customers."""
        obj.save()
        books.configure([obj.customer_id, obj.agent.customer_id])


@admin.register(Credential, site=site)
class CredentialAdmin(TenantAdmin):
    """Secrets, of which only a hint is kept; a new one is shown once."""

    form = CredentialForm
    add_roles = OPERATE
    list_display = (
        "hint",
        "agent",
        "customer",
        "kind",
        "expires_at",
        "revoked_at",
        "last_used_at",
    )
    list_filter = ("kind", "revoked_at", "expires_at")
    search_fields = ("hint", "name", "client_id", "agent__name", "customer__name")
    autocomplete_fields = ("agent",)
    list_select_related = ("agent", "customer")
    date_hierarchy = "created_at"
    view_on_site = staticmethod(
        lambda row: f"{hierarchy_page(row.agent.customer)}#{row.agent.public_id}"
    )
    actions = (
        leading(
            "Rotate",
            OPERATE,
            lambda row: reverse("credential-rotate", args=[row.public_id]),
        ),
        confirmed(
            "Revoke",
            OPERATE,
            lambda request, row: _revoke(request, row),
            warning="Calls with these secrets are refused within a second, for ever.",
        ),
    )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is asked for, or what is known."""
        if obj is None:
            return ("agent", "products", "name", "expires_at")
        return (
            "hint",
            "client_id",
            "agent",
            "customer",
            "kind",
            "name",
            "product_ids",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "replaces",
        )

    def make(self, request: HttpRequest, obj: Credential, form: Any) -> Model:
        """Issue the credential and keep its secret for the next page."""
        given = form.cleaned_data
        made, secret = credentials.issue(
            agent=given["agent"],
            products=list(given["products"]),
            name=given["name"],
            expires_at=given["expires_at"],
            actor=person(request),
        )
        keep_secret(
            request,
            secret,
            title=f"New secret of {made.agent}",
            client_id=made.client_id or "",
            back=reverse("admin:billing_credential_changelist"),
        )
        return made

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: Any = None
    ) -> HttpResponse:
        """Show the secret."""
        return redirect("credential-secret")


def _revoke(request: HttpRequest, row: Credential) -> None:
    """Refuse a secret from now on."""
    credentials.revoke(credential=row, actor=person(request))
