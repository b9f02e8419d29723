"""Bases of the models: tenant-owned rows and append-only rows."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar, NoReturn

from django.db import models

from aforo.lib import clock, ids
from aforo.lib.money import figures_of, figures_text

# The books' money: 26 digits before the point, 12 after.
MAX_DIGITS, DECIMAL_PLACES = 38, 12


class MoneyField(models.DecimalField):  # type: ignore[type-arg]
    """A numeric(38,12): an exact amount or quantity."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", MAX_DIGITS)
        kwargs.setdefault("decimal_places", DECIMAL_PLACES)
        super().__init__(*args, **kwargs)


class FiguresField(models.TextField):  # type: ignore[type-arg]
    """A list of exact numbers, as text apart by blanks: half of what an array takes.

    aforo_figures() reads it in the database.
    """

    def from_db_value(self, value: str | None, *_: object) -> list[Decimal] | None:
        """Return the numbers."""
        return None if value is None else figures_of(value)

    def get_prep_value(self, value: Iterable[Decimal] | None) -> str | None:
        """Return the text of numbers."""
        return None if value is None else figures_text(value)


class BaseModel(models.Model):
    """A row with a time-ordered id and the time of its making."""

    public_prefix: ClassVar[str] = ""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        abstract = True

    @property
    def public_id(self) -> str:
        """The id as the API and the pages show it."""
        return ids.public(self.public_prefix, self.id)


class TenantModel(BaseModel):
    """A row that belongs to one tenant.

    Migrations add UNIQUE (tenant_id, id), composite foreign keys and row-level
    security to its table (aforo.core.protect).
    """

    # Without an index of its own: UNIQUE (tenant_id, id), or one that the model names,
    # begins with it, and each index costs every insert.
    tenant = models.ForeignKey(
        "core.Tenant",
        on_delete=models.PROTECT,
        related_name="+",
        editable=False,
        db_index=False,
    )

    class Meta:
        abstract = True


class AppendOnlyError(Exception):
    """Somebody tried to change or delete a row of the books."""


class AppendOnlyQuerySet(models.QuerySet):  # type: ignore[type-arg]
    """A query set that only reads and adds."""

    def update(self, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError(f"{self.model.__name__} rows are never changed")

    def delete(self) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError(f"{self.model.__name__} rows are never deleted")


class AppendOnly(models.Model):
    """A row that is written once; corrections are new rows.

    The database refuses too: grants, and triggers on rows and TRUNCATE.
    """

    append_only: ClassVar[bool] = True
    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert; an existing row is refused."""
        if not self._state.adding:
            raise AppendOnlyError(f"{type(self).__name__} rows are never changed")
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError(f"{type(self).__name__} rows are never deleted")
