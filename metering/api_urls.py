"""Addresses of the metering API, below /v1/."""

from __future__ import annotations

from django.urls import path

from metering.backtest_views import SimulateView, SimulationView
from metering.views import EventsView

urlpatterns = [
    path("events", EventsView.as_view(), name="events"),
    path("simulate", SimulateView.as_view(), name="simulate"),
    path("simulate/<str:public_id>", SimulationView.as_view(), name="simulation"),
]
