"""Addresses of the guard's API, below /v1/."""

from __future__ import annotations

from django.urls import path, re_path

from guard.views import AuthzView, CheckView, ReleaseByRequestView, ReleaseView

urlpatterns = [
    path("check", CheckView.as_view(), name="check"),
    path("authz", AuthzView.as_view(), name="authz"),
    # Envoy puts the path of the request in question behind ours.
    re_path("^authz/.*$", AuthzView.as_view(schema=None)),
    path("holds/release", ReleaseByRequestView.as_view(), name="release"),
    path("holds/<str:hold_id>/release", ReleaseView.as_view(), name="release-hold"),
]
