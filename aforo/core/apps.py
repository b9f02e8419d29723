"""The lowest app: tenants, people, audit, outbox, jobs."""

from __future__ import annotations

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """App `core`."""

    name = "aforo.core"
    label = "core"
    verbose_name = "Organisation"
