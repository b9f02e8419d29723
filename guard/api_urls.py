"""Addresses of the guard's API, below /v1/."""

from __future__ import annotations

from django.urls import path

from guard.views import CheckView

urlpatterns = [path("check", CheckView.as_view(), name="check")]
