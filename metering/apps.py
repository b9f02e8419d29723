"""App `metering`."""

from __future__ import annotations

from django.apps import AppConfig


class MeteringConfig(AppConfig):
    """App `metering`."""

    name = "metering"
    verbose_name = "Usage"
