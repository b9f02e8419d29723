"""The back office: the Django admin on a site of our own."""

from __future__ import annotations

from portal.admin import (
    accounts,
    alerts,
    books,
    catalog,
    contracts,
    core,
    margins,
    scenarios,
    usage,
)
from portal.admin.site import site

__all__ = [
    "accounts",
    "alerts",
    "books",
    "catalog",
    "contracts",
    "core",
    "margins",
    "scenarios",
    "site",
    "usage",
]
