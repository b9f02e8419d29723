"""App `portal`."""

from __future__ import annotations

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """App `portal`."""

    name = "portal"
    verbose_name = "Console"

    def ready(self) -> None:
        """Let the relay tell open pages what was rated."""
        from aforo.core.signals import happened
        from metering.signals import usage_published
        from portal import live_alerts, live_home

        usage_published.connect(live_home.on_usage, dispatch_uid="portal.live_home")
        happened.connect(live_alerts.on_happened, dispatch_uid="portal.live_alerts")
