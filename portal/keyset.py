"""Keyset paging over time-ordered ids: as quick on the last page as on the first."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import QueryDict

Row = TypeVar("Row", bound=Model)
PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, newest first, with the cursors of the pages beside them."""

    rows: list[Row]
    after: str | None  # Goes into ?after= for older rows; None on the last page.
    before: str | None  # Goes into ?before= for newer rows; None on the first.


def _cursor(text: str | None) -> uuid.UUID | None:
    """Return the id in a cursor; a text that is none means the first page."""
    try:
        return uuid.UUID(text or "")
    except ValueError:
        return None


def page(rows: QuerySet[Row], query: QueryDict, size: int = PAGE_SIZE) -> Page[Row]:
    """Return the page that `?after=` or `?before=` names, by id, newest first.

    The rows' ids must be time-ordered (UUIDv7).
    """
    after, before = _cursor(query.get("after")), _cursor(query.get("before"))
    found: list[Any]
    if before is not None:
        found = list(rows.filter(pk__gt=before).order_by("pk")[: size + 1])
        more, shown = len(found) > size, found[:size][::-1]
        has_newer, has_older = more, bool(shown)
    else:
        older = rows.filter(pk__lt=after) if after is not None else rows
        found = list(older.order_by("-pk")[: size + 1])
        more, shown = len(found) > size, found[:size]
        has_newer, has_older = after is not None and bool(shown), more
    return Page(
        rows=shown,
        after=str(shown[-1].pk) if has_older and shown else None,
        before=str(shown[0].pk) if has_newer and shown else None,
    )
