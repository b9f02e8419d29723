"""App `billing`."""

from __future__ import annotations

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """App `billing`."""

    name = "billing"
    verbose_name = "Billing"
