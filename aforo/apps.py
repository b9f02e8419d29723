"""The project itself: management commands."""

from __future__ import annotations

import importlib

from django.apps import AppConfig

from aforo.embedded.process import bind_to_parent


class AforoConfig(AppConfig):
    """App `aforo`."""

    name = "aforo"
    label = "aforo"

    def ready(self) -> None:
        """Leave no process behind when the supervisor is killed; name our Celery."""
        bind_to_parent()
        importlib.import_module("aforo.celery")
