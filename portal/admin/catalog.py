"""Products, metrics, plans and what usage costs the seller."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from aforo.core.roles import MONEY, PRICING
from catalog import cost_rates, plans, products, registry
from catalog.models import (
    CostRate,
    Metric,
    Plan,
    PlanVersion,
    Product,
    Tool,
    ToolName,
)
from catalog.models.costs import CostChange
from portal.admin.base import ReadOnlyAdmin, Refusable, TenantAdmin, confirmed
from portal.admin.site import site
from portal.context import acting_tenant
from portal.pages import person

EXAMPLE = {
    "currency": "USD",
    "charges": [
        {
            "key": "input",
            "name": "Input tokens",
            "unit": "token",
            "metric": "input_tokens",
            "price": {"model": "per_unit", "unit_amount": "3.00", "per": 1_000_000},
        }
    ],
}


class Indented(json.JSONEncoder):
    """JSON as people read and type it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"indent": 2})


def product_page(row: Product) -> str:
    """Return a product's page in the console."""
    return reverse("product", args=[row.public_id])


class Rows(admin.TabularInline):  # type: ignore[type-arg]
    """Rows below another one, seen here and changed on their own page."""

    template = "admin/edit_inline/rows.html"
    extra = 0
    can_delete = False
    max_num = 0

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Every field that is shown."""
        return self.fields or ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """New rows have a page of their own."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Changes have a page of their own."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever sees the row above sees these."""
        return True


class PlanRows(Rows):
    """The plans of a product."""

    model = Plan
    fields = ("code", "archived_at")


class ToolRows(Rows):
    """The tools of a product."""

    model = Tool
    fields = ("deprecated_at",)


class VersionRows(Rows):
    """The versions of a plan."""

    model = PlanVersion
    fields = ("state", "currency", "published_at", "published_by")


@admin.register(Product, site=site)
class ProductAdmin(TenantAdmin):
    """What is sold."""

    add_roles = change_roles = PRICING
    fixed = ("code", "type")
    list_display = ("name", "code", "type", "archived_at")
    list_filter = ("type", "archived_at")
    search_fields = ("name", "code")
    prepopulated_fields = {"code": ("name",)}
    inlines = (PlanRows, ToolRows)
    view_on_site = staticmethod(product_page)

    def get_prepopulated_fields(
        self, request: HttpRequest, obj: Any = None
    ) -> dict[str, Any]:
        """Fill the code from the name while it can still be chosen."""
        return {} if obj else {"code": ("name",)}

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what a new product needs; the rest has its defaults."""
        new = ("name", "code", "type", "description", "features", "self_reporting")
        more = """session_idle_s session_expire_s implicit_sessions max_call_s
            archived_at""".split()
        return new if obj is None else (*new, *more)

    def make(self, request: HttpRequest, obj: Product, form: Any) -> Model:
        """Make the product, audited."""
        given = form.cleaned_data
        return products.create_product(
            tenant=acting_tenant(request),
            name=given["name"],
            code=given["code"],
            type=given["type"],
            description=given["description"],
            features=given["features"],
            self_reporting=given["self_reporting"],
            actor=person(request),
        )


@admin.register(Tool, site=site)
class ToolAdmin(TenantAdmin):
    """The tools of products, with the names they have had."""

    add_roles = change_roles = PRICING
    fixed = ("product", "name")
    list_display = ("name", "product", "deprecated_at")
    list_filter = ("product", "deprecated_at")
    search_fields = ("name",)
    autocomplete_fields = ("product",)
    list_select_related = ("product",)
    fields = ("product", "name", "deprecated_at")
    view_on_site = staticmethod(lambda row: product_page(row.product))

    def make(self, request: HttpRequest, obj: Tool, form: Any) -> Model:
        """List the tool, audited."""
        given = form.cleaned_data
        return registry.add_tool(
            product=given["product"],
            name=given["name"],
            actor=person(request),
        )


@admin.register(ToolName, site=site)
class ToolNameAdmin(TenantAdmin):
    """What tools are called besides; added and ended on the product's page."""

    list_display = ("name", "tool", "kind", "version", "valid_from", "valid_to")
    list_filter = ("product", "kind")
    search_fields = ("name", "version")
    list_select_related = ("tool",)
    fields = ("tool", "name", "kind", "version", "valid_from", "valid_to")
    view_on_site = staticmethod(lambda row: product_page(row.product))


@admin.register(Metric, site=site)
class MetricAdmin(TenantAdmin):
    """What is counted; what decides figures is fixed once it is made."""

    add_roles = change_roles = PRICING
    fixed = (
        "code",
        "aggregation",
        "field",
        "event_types",
        "window",
        "unit",
        "integer_only",
    )
    list_display = ("name", "code", "aggregation", "field", "unit")
    list_filter = ("aggregation",)
    search_fields = ("name", "code", "field")
    fields = (
        "name",
        "code",
        "description",
        "aggregation",
        "field",
        "event_types",
        "window",
        "unit",
        "integer_only",
    )
    view_on_site = False

    def make(self, request: HttpRequest, obj: Metric, form: Any) -> Model:
        """Define the metric, audited."""
        return products.create_metric(
            tenant=acting_tenant(request), actor=person(request), **form.cleaned_data
        )


@admin.register(Plan, site=site)
class PlanAdmin(TenantAdmin):
    """Rate plans; what they charge is in their versions."""

    add_roles = change_roles = PRICING
    fixed = ("product", "code")
    list_display = ("name", "code", "product", "archived_at")
    list_filter = ("product", "archived_at")
    search_fields = ("name", "code")
    autocomplete_fields = ("product",)
    list_select_related = ("product",)
    fields = ("product", "name", "code", "description")
    inlines = (VersionRows,)
    view_on_site = staticmethod(lambda row: reverse("plan", args=[row.public_id]))

    def make(self, request: HttpRequest, obj: Plan, form: Any) -> Model:
        """Make the plan, audited."""
        return plans.create_plan(actor=person(request), **form.cleaned_data)


class VersionForm(Refusable):
    """A draft: what it charges, the guard's limits, and whether it prorates."""

    class Meta:
        model = PlanVersion
        fields = ("plan", "body", "limits", "prorate")
        widgets = {
            "body": forms.Textarea({"rows": 24, "cols": 90, "spellcheck": "false"}),
            "limits": forms.Textarea({"rows": 8, "cols": 90, "spellcheck": "false"}),
        }
        help_texts = {
            "body": "Currency and charges; a charge names a metric by its code.",
            "limits": "The guard's defaults, such as requests_per_minute.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, forms.JSONField):
                field.encoder = Indented


@admin.register(PlanVersion, site=site)
class PlanVersionAdmin(TenantAdmin):
    """Versions of plans: drafts change, published ones never."""

    form = VersionForm
    add_roles = change_roles = PRICING
    list_display = ("plan", "number", "state", "currency", "published_at")
    list_filter = ("state", "currency", "plan__product")
    search_fields = ("plan__name", "plan__code")
    autocomplete_fields = ("plan",)
    list_select_related = ("plan",)
    date_hierarchy = "published_at"
    actions = (
        confirmed(
            "Publish",
            PRICING,
            lambda request, row: _publish(request, row),
            warning="A published version never changes. Subscriptions can be made to"
            " it at once; existing ones keep theirs.",
        ),
        confirmed(
            "Retire",
            PRICING,
            lambda request, row: _retire(request, row),
            warning="Nobody can subscribe to a retired version; its subscribers keep"
            " it.",
        ),
    )
    view_on_site = staticmethod(
        lambda row: f"{reverse('plan', args=[row.plan.public_id])}?version={row.number}"
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only drafts change."""
        if obj is not None and obj.state != PlanVersion.State.DRAFT:
            return False
        return super().has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what publishing fills in."""
        if obj is None:
            return ()
        return ("plan", "number", "state", "currency", "published_at", "published_by")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is typed, below what is known."""
        typed = ("body", "limits", "prorate")
        if obj is None:
            return ("plan", *typed)
        return (*self.get_readonly_fields(request, obj), *typed)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Start with an example that can be published."""
        return {"body": EXAMPLE, **super().get_changeform_initial_data(request)}

    def make(self, request: HttpRequest, obj: PlanVersion, form: Any) -> Model:
        """Keep the draft; a plan has one."""
        return self._save(request, form.cleaned_data["plan"], form)

    def change(self, request: HttpRequest, obj: PlanVersion, form: Any) -> None:
        """Keep the draft as it is now."""
        self._save(request, obj.plan, form)

    def _save(self, request: HttpRequest, plan: Plan, form: Any) -> PlanVersion:
        """Save the plan's draft by the function that audits it."""
        given = form.cleaned_data
        return plans.save_draft(
            plan=plan,
            body=given["body"],
            limits=given["limits"] or {},
            prorate=given["prorate"],
            actor=person(request),
        )


def _publish(request: HttpRequest, row: PlanVersion) -> None:
    """Freeze a draft."""
    plans.publish(version=row, actor=person(request))


def _retire(request: HttpRequest, row: PlanVersion) -> None:
    """Let nobody subscribe to a version any more."""
    plans.retire(version=row, actor=person(request))


@admin.register(CostRate, site=site)
class CostRateAdmin(TenantAdmin):
    """What one unit of a model or tool costs; a rate is superseded, never edited."""

    add_roles = MONEY
    list_display = (
        "provider",
        "model",
        "unit",
        "amount",
        "currency",
        "source",
        "valid_from",
        "valid_to",
    )
    list_filter = ("source", "provider", "currency", "superseded_at")
    search_fields = ("provider", "model", "unit")
    date_hierarchy = "valid_from"
    view_on_site = False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is typed, and what is known of an existing rate."""
        typed = ("provider", "model", "unit", "amount", "currency", "valid_from")
        known = ("source", "valid_to", "recorded_at", "superseded_at")
        return typed if obj is None else (*typed, *known)

    def get_queryset(self, request: HttpRequest) -> QuerySet[CostRate]:
        """Return the tenant's rates and the library's."""
        found: QuerySet[CostRate] = super().get_queryset(request)
        return found.filter(Q(tenant=None) | Q(tenant=acting_tenant(request)))

    def make(self, request: HttpRequest, obj: CostRate, form: Any) -> Model:
        """Say what a unit costs from an instant on, audited."""
        return cost_rates.add_rate(
            tenant=acting_tenant(request), actor=person(request), **form.cleaned_data
        )


@admin.register(CostChange, site=site)
class CostChangeAdmin(ReadOnlyAdmin):
    """What the public price list changed; decided on the page of model prices."""

    list_display = ("created_at", "provider", "model", "key", "state", "ratio")
    list_filter = ("state", "provider")
    search_fields = ("provider", "model")
    ordering = ("-id",)
    view_on_site = False
