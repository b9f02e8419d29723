"""App `portal`."""

from __future__ import annotations

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """App `portal`."""

    name = "portal"
    verbose_name = "Console"
