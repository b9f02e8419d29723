"""App `portal`."""

from __future__ import annotations

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """App `portal`."""

    name = "portal"
    verbose_name = "Console"

    def ready(self) -> None:
        """Let relay and guard tell open pages what is new."""
        from aforo.core.signals import happened
        from guard.signals import control_changed, decisions_stored
        from metering.signals import usage_published
        from portal import live_alerts, live_guard, live_home
        from portal.guardroom import needs

        usage_published.connect(live_home.on_usage, dispatch_uid="portal.live_home")
        decisions_stored.connect(live_guard.on_news, dispatch_uid="portal.live_guard")
        control_changed.connect(live_guard.on_news, dispatch_uid="portal.live_people")
        happened.connect(live_alerts.on_happened, dispatch_uid="portal.live_alerts")
        needs.register()
