"""Addresses of the metering API, below /v1/."""

from __future__ import annotations

from django.urls import path

from metering.backtest_views import SimulateView, SimulationView
from metering.views import EventsView, TracesView

urlpatterns = [
    path("events", EventsView.as_view(), name="events"),
    path("otlp/v1/traces", TracesView.as_view(), name="otlp-traces"),
    path("simulate", SimulateView.as_view(), name="simulate"),
    path("simulate/<str:public_id>", SimulationView.as_view(), name="simulation"),
]
