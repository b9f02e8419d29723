"""App `guard`."""

from __future__ import annotations

from django.apps import AppConfig


class GuardConfig(AppConfig):
    """App `guard`."""

    name = "guard"
    verbose_name = "Guard"

    def ready(self) -> None:
        """Hear of what changes in billing and the core."""
        from guard import listening

        listening.connect()
