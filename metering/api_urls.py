"""Addresses of the metering API, below /v1/."""

from __future__ import annotations

from django.urls import path

from metering.backtest_views import SimulateView, SimulationView
from metering.correction_views import (
    AmendView,
    BackfillView,
    EndSessionView,
    VoidView,
)
from metering.margin_views import MarginReleaseView
from metering.views import EventsView, TracesView

urlpatterns = [
    path("events", EventsView.as_view(), name="events"),
    path("events/backfill", BackfillView.as_view(), name="backfill"),
    path("events/<str:public_id>/void", VoidView.as_view(), name="void"),
    path("events/<str:public_id>/amend", AmendView.as_view(), name="amend"),
    path("sessions/<str:public_id>/end", EndSessionView.as_view(), name="end-session"),
    path("otlp/v1/traces", TracesView.as_view(), name="otlp-traces"),
    path("margin-releases", MarginReleaseView.as_view(), name="margin-release"),
    path("simulate", SimulateView.as_view(), name="simulate"),
    path("simulate/<str:public_id>", SimulationView.as_view(), name="simulation"),
]
