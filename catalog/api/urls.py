"""Addresses of the catalog API, below /v1/."""

from __future__ import annotations

from django.urls import path

from catalog.api import plan_views, views

VERSION = "plans/<str:name>/versions/<int:number>"
urlpatterns = [
    path("products", views.ProductsView.as_view(), name="api-products"),
    path("products/<str:name>", views.ProductView.as_view(), name="api-product"),
    path("metrics", views.MetricsView.as_view(), name="api-metrics"),
    path("metrics/<str:name>", views.MetricView.as_view(), name="api-metric"),
    path("plans", plan_views.PlansView.as_view(), name="api-plans"),
    path("plans/<str:name>", plan_views.PlanView.as_view(), name="api-plan"),
    path(
        "plans/<str:name>/versions",
        plan_views.VersionsView.as_view(),
        name="api-versions",
    ),
    path("plans/<str:name>/draft", plan_views.DraftView.as_view(), name="api-draft"),
    path(VERSION, plan_views.VersionView.as_view(), name="api-version"),
    path(f"{VERSION}/publish", plan_views.PublishView.as_view(), name="api-publish"),
    path(f"{VERSION}/retire", plan_views.RetireView.as_view(), name="api-retire"),
]
