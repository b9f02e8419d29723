"""App `guard`."""

from __future__ import annotations

from django.apps import AppConfig


class GuardConfig(AppConfig):
    """App `guard`."""

    name = "guard"
    verbose_name = "Guard"
