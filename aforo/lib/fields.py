"""Links between rows of one tenant."""

from __future__ import annotations

from typing import Any

from django.db import models


class TenantForeignKey(models.ForeignKey):  # type: ignore[type-arg]
    """A foreign key whose constraint is (tenant_id, x_id) → (tenant_id, id).

    Django's own constraint is left out; aforo.core.protect adds the composite one,
    so that a link across tenants cannot exist.
    """

    def __init__(self, to: Any, on_delete: Any = models.PROTECT, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        super().__init__(to, on_delete, **kwargs)
