"""Plans and their versions over HTTP: the draft, publishing and retiring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from aforo.lib.errors import AforoError
from catalog import plans
from catalog.api import examples, rows, schema
from catalog.api.base import CatalogView, Made, find, page
from catalog.api.schema import told
from catalog.models import Plan, PlanVersion, Product
from catalog.pricing.term_json import MEMBERS

# The members of a draft that are plan JSON.
PLAN_JSON = ("currency", "charges", "currencies", "levels", *MEMBERS)
NUMBER_MAX = 2_147_483_647

# Of a draft, what is plan JSON.
BODY = ("currency", "charges", "levels")


class PlanLookup(CatalogView):
    """What the views of plans have in common."""

    def plan(self, name: str) -> Plan:
        """Return the plan with an id or a code; others are 404 alike."""
        found = Plan.objects.filter(tenant=self.tenant).select_related("product")
        return find(found, name)

    def version(self, name: str, number: int) -> PlanVersion:
        """Return a version of a plan by its number."""
        plan = self.plan(name)
        versions = PlanVersion.objects.filter(plan=plan).select_related("plan")
        found = versions.filter(number=number).first() if number <= NUMBER_MAX else None
        if found is None:
            raise AforoError("not_found", 404, f"{plan} has no version {number}.")
        return found


class PlansView(PlanLookup):
    """All plans."""

    @extend_schema(
        **told(
            "plans_list",
            "List plans",
            "Perhaps of one product only: `?product=` its id or code.",
            schema.listed(schema.PLAN_SHOWN),
            parameters=(OpenApiParameter("product", str),),
            answered=examples.page(examples.PLAN_SHOWN),
        )
    )
    def get(self, request: Request) -> HttpResponse:
        """List plans."""
        found = Plan.objects.filter(tenant=self.tenant).select_related("product")
        if "product" in request.GET:
            sold = Product.objects.filter(tenant=self.tenant)
            found = found.filter(product=find(sold, request.GET["product"]))
        shown = page(request._request, found, rows.plan, filters=("product",))
        return self.read(shown)

    @extend_schema(
        **told(
            "plans_create",
            "Add a plan",
            "It charges nothing until a version is published.",
            schema.PLAN_SHOWN,
            status=201,
            request=schema.PLAN,
            example=examples.PLAN,
            answered=examples.PLAN_SHOWN,
        )
    )
    def post(self, request: Request) -> HttpResponse:
        """Add a plan."""

        def act(body: dict[str, Any]) -> Made:
            sold = Product.objects.filter(tenant=self.tenant)
            try:
                product = find(sold, body.pop("product"))
            except AforoError as error:
                raise AforoError(
                    "unknown_product", 422, error.detail, field="product"
                ) from error
            made = plans.create_plan(product=product, actor=None, **body)
            return 201, rows.plan(made)

        return self.write(request, schema.PLAN, act)


class PlanView(PlanLookup):
    """One plan."""

    @extend_schema(
        **told(
            "plans_retrieve",
            "Show a plan",
            "By its id or its code.",
            schema.PLAN_SHOWN,
            found=True,
            answered=examples.PLAN_SHOWN,
        )
    )
    def get(self, request: Request, name: str) -> HttpResponse:
        """Show a plan."""
        return self.read(rows.plan(self.plan(name)))

    @extend_schema(
        **told(
            "plans_update",
            "Change a plan",
            "Name and description; prices are in its versions.",
            schema.PLAN_SHOWN,
            request=schema.PLAN_CHANGES,
            found=True,
            example={"name": "Travel Professional"},
            answered=examples.PLAN_SHOWN,
        )
    )
    def patch(self, request: Request, name: str) -> HttpResponse:
        """Change a plan."""

        def act(body: dict[str, Any]) -> Made:
            found = self.plan(name)
            plans.update_plan(plan=found, changes=body, actor=None)
            return 200, rows.plan(self.plan(found.public_id))

        return self.write(request, schema.PLAN_CHANGES, act)


class VersionsView(PlanLookup):
    """The versions of a plan."""

    @extend_schema(
        **told(
            "plan_versions_list",
            "List the versions of a plan",
            "With their charges; a plan has at most one draft.",
            schema.listed(schema.VERSION_SHOWN),
            found=True,
            answered=examples.page(examples.PUBLISHED),
        )
    )
    def get(self, request: Request, name: str) -> HttpResponse:
        """List the versions of a plan."""
        found = PlanVersion.objects.filter(plan=self.plan(name)).select_related("plan")
        return self.read(page(request._request, found, rows.version))


class VersionView(PlanLookup):
    """One version of a plan."""

    @extend_schema(
        **told(
            "plan_versions_retrieve",
            "Show a version",
            "By its number in the plan.",
            schema.VERSION_SHOWN,
            found=True,
            answered=examples.PUBLISHED,
        )
    )
    def get(self, request: Request, name: str, number: int) -> HttpResponse:
        """Show a version."""
        return self.read(rows.version(self.version(name, number)))


class DraftView(PlanLookup):
    """What the next version of a plan will say."""

    @extend_schema(
        **told(
            "plan_draft_save",
            "Save the draft",
            "Replaces the plan's draft, or begins one. It may be incomplete: publishing"
            " checks the charges, their metrics and the limits. A key that a product"
            " manager made leaves `markup_percent` as it is (403 `finance_only`), one"
            " that finance made changes nothing else (403 `product_manager_only`).",
            schema.VERSION_SHOWN,
            request=schema.DRAFT,
            found=True,
            example=examples.DRAFT,
            answered=examples.DRAFT_SHOWN,
        )
    )
    def put(self, request: Request, name: str) -> HttpResponse:
        """Save the draft."""

        def act(body: dict[str, Any]) -> Made:
            saved = plans.save_draft(
                plan=self.plan(name),
                body={name: body[name] for name in PLAN_JSON if name in body},
                limits=body.get("limits", {}),
                prorate=body.get("prorate", False),
                actor=None,
                on_behalf_of=self.caller.key.created_by,
            )
            return 200, rows.version(saved)

        return self.write(request, schema.DRAFT, act)


class _DeedView(PlanLookup):
    """A deed on one version of a plan."""

    def act(
        self, request: Request, name: str, number: int, deed: Callable[..., PlanVersion]
    ) -> HttpResponse:
        """Do it and show the version."""

        def act(body: dict[str, Any]) -> Made:
            done = deed(version=self.version(name, number), actor=None)
            return 200, rows.version(self.version(name, done.number))

        return self.write(request, None, act)


class PublishView(_DeedView):
    """Publishing a draft."""

    @extend_schema(
        **told(
            "plan_versions_publish",
            "Publish a draft",
            "From now on it never changes, and subscriptions can be made to it. The"
            " body is empty.",
            schema.VERSION_SHOWN,
            found=True,
            answered=examples.PUBLISHED,
        )
    )
    def post(self, request: Request, name: str, number: int) -> HttpResponse:
        """Publish a draft."""
        return self.act(request, name, number, plans.publish)


class RetireView(_DeedView):
    """Retiring a published version."""

    @extend_schema(
        **told(
            "plan_versions_retire",
            "Retire a version",
            "Nobody can subscribe to it any more; its subscribers keep it. The body is"
            " empty.",
            schema.VERSION_SHOWN,
            found=True,
            answered={**examples.PUBLISHED, "state": "retired"},
        )
    )
    def post(self, request: Request, name: str, number: int) -> HttpResponse:
        """Retire a version."""
        return self.act(request, name, number, plans.retire)
