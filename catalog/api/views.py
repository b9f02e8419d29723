"""Products and metrics over HTTP; checked by the functions that the pages call."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from catalog import metrics, products
from catalog.api import examples, rows, schema
from catalog.api.base import CatalogView, Made, find, page
from catalog.api.schema import told
from catalog.models import Metric, Product, ProductType


class ProductsView(CatalogView):
    """All products."""

    @extend_schema(
        **told(
            "products_list",
            "List products",
            "What the tenant sells.",
            schema.listed(schema.PRODUCT_SHOWN),
            answered=examples.page(examples.PRODUCT_SHOWN),
        )
    )
    def get(self, request: Request) -> HttpResponse:
        """List products."""
        found = Product.objects.filter(tenant=self.tenant)
        return self.read(page(request._request, found, rows.product))

    @extend_schema(
        **told(
            "products_create",
            "Add a product",
            "Its type fixes the kind of its callers' credentials for ever.",
            schema.PRODUCT_SHOWN,
            status=201,
            request=schema.PRODUCT,
            example=examples.PRODUCT,
            answered=examples.PRODUCT_SHOWN,
        )
    )
    def post(self, request: Request) -> HttpResponse:
        """Add a product."""

        def act(body: dict[str, Any]) -> Made:
            values = {**body, "type": ProductType(body["type"])}
            made = products.create_product(tenant=self.tenant, actor=None, **values)
            return 201, rows.product(made)

        return self.write(request, schema.PRODUCT, act)


class ProductView(CatalogView):
    """One product."""

    @extend_schema(
        **told(
            "products_retrieve",
            "Show a product",
            "By its id or its code.",
            schema.PRODUCT_SHOWN,
            found=True,
            answered=examples.PRODUCT_SHOWN,
        )
    )
    def get(self, request: Request, name: str) -> HttpResponse:
        """Show a product."""
        found = find(Product.objects.filter(tenant=self.tenant), name)
        return self.read(rows.product(found))

    @extend_schema(
        **told(
            "products_update",
            "Change a product",
            "Members that are left out stay; code and type cannot be changed.",
            schema.PRODUCT_SHOWN,
            request=schema.PRODUCT_CHANGES,
            found=True,
            example={"name": "Travel server EU", "max_call_s": 600},
            answered=examples.PRODUCT_SHOWN,
        )
    )
    def patch(self, request: Request, name: str) -> HttpResponse:
        """Change a product."""

        def act(body: dict[str, Any]) -> Made:
            found = find(Product.objects.filter(tenant=self.tenant), name)
            changed = products.update_product(product=found, changes=body, actor=None)
            return 200, rows.product(changed)

        return self.write(request, schema.PRODUCT_CHANGES, act)


class MetricsView(CatalogView):
    """All metrics."""

    @extend_schema(
        **told(
            "metrics_list",
            "List metrics",
            "What is counted.",
            schema.listed(schema.METRIC_SHOWN),
            answered=examples.page(examples.METRIC_SHOWN),
        )
    )
    def get(self, request: Request) -> HttpResponse:
        """List metrics."""
        found = Metric.objects.filter(tenant=self.tenant)
        return self.read(page(request._request, found, rows.metric))

    @extend_schema(
        **told(
            "metrics_create",
            "Define a metric",
            "Plans name it by its code.",
            schema.METRIC_SHOWN,
            status=201,
            request=schema.METRIC,
            example=examples.METRIC,
            answered=examples.METRIC_SHOWN,
        )
    )
    def post(self, request: Request) -> HttpResponse:
        """Define a metric."""

        def act(body: dict[str, Any]) -> Made:
            values = {**body, "aggregation": Metric.Aggregation(body["aggregation"])}
            made = products.create_metric(tenant=self.tenant, actor=None, **values)
            return 201, rows.metric(made)

        return self.write(request, schema.METRIC, act)


class MetricView(CatalogView):
    """One metric."""

    @extend_schema(
        **told(
            "metrics_retrieve",
            "Show a metric",
            "By its id or its code.",
            schema.METRIC_SHOWN,
            found=True,
            answered=examples.METRIC_SHOWN,
        )
    )
    def get(self, request: Request, name: str) -> HttpResponse:
        """Show a metric."""
        found = find(Metric.objects.filter(tenant=self.tenant), name)
        return self.read(rows.metric(found))

    @extend_schema(
        **told(
            "metrics_update",
            "Change a metric",
            "Aggregation, field, event types and window are fixed once a published"
            " plan version prices the metric, the code always.",
            schema.METRIC_SHOWN,
            request=schema.METRIC_CHANGES,
            found=True,
            example={"name": "Tokens in", "integer_only": True},
            answered=examples.METRIC_SHOWN,
        )
    )
    def patch(self, request: Request, name: str) -> HttpResponse:
        """Change a metric."""

        def act(body: dict[str, Any]) -> Made:
            found = find(Metric.objects.filter(tenant=self.tenant), name)
            changed = metrics.update_metric(metric=found, changes=body, actor=None)
            return 200, rows.metric(changed)

        return self.write(request, schema.METRIC_CHANGES, act)
