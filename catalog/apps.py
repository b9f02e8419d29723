"""App `catalog`."""

from __future__ import annotations

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """App `catalog`."""

    name = "catalog"
    verbose_name = "Products and plans"
