"""The project itself: management commands."""

from __future__ import annotations

from django.apps import AppConfig

from aforo.embedded.process import bind_to_parent


class AforoConfig(AppConfig):
    """App `aforo`."""

    name = "aforo"
    label = "aforo"

    def ready(self) -> None:
        """Leave no process behind when the supervisor is killed."""
        bind_to_parent()
