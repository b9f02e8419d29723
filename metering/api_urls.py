"""Addresses of the metering API, below /v1/."""

from __future__ import annotations

from django.urls import path

from metering.views import EventsView

urlpatterns = [path("events", EventsView.as_view(), name="events")]
