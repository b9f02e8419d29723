"""Saved views: the filters of a page under a name, for oneself or for all staff."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower

from aforo.core.models import User
from aforo.lib.models import TenantModel

NAME_MAX = 80
QUERY_MAX = 2_000


class SavedView(TenantModel):
    """A page's address under a name; `query` is what stands after its `?`."""

    public_prefix: ClassVar[str] = "viw"

    class Page(models.TextChoices):
        """Which page it opens."""

        USAGE = "usage", "Usage"

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    page = models.CharField(max_length=20, choices=Page.choices, default=Page.USAGE)
    name = models.CharField(max_length=NAME_MAX)
    query = models.CharField(max_length=QUERY_MAX, blank=True)
    # Seen by all staff of the tenant; else by its owner alone.
    shared = models.BooleanField(default=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                "tenant",
                "owner",
                "page",
                Lower("name"),
                condition=models.Q(shared=False),
                name="metering_view_own_name",
            ),
            models.UniqueConstraint(
                "tenant",
                "page",
                Lower("name"),
                condition=models.Q(shared=True),
                name="metering_view_shared_name",
            ),
        ]

    def __str__(self) -> str:
        return self.name
