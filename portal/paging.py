"""Keyset paging in any order: a page starts after a row, so it costs the same anywhere.

`portal.keyset` is the simple case: newest first, by id.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import F, Model, Q, QuerySet

from portal.keyset import PAGE_SIZE, Page

Row = TypeVar("Row", bound=Model)


def page(
    rows: QuerySet[Row], *, order: str, query: Mapping[str, str], size: int = PAGE_SIZE
) -> Page[Row]:
    """Return the page of rows that `?after=` or `?before=` of the query names.

    `order` is a field or an annotation that is never null, descending with a leading
    minus; rows of equal value are in the order of their ids. A cursor that is not
    ours starts at the first page.
    """
    field, descending = order.removeprefix("-"), order.startswith("-")
    after = _decode(rows, field, query.get("after"))
    before = None if after else _decode(rows, field, query.get("before"))
    backward = before is not None
    found = sort(rows, f"{'-' if descending is not backward else ''}{field}")
    edge = after or before
    if edge is not None:
        found = found.filter(_beyond(field, edge, descending is not backward))
    taken = list(found[: size + 1])
    more = len(taken) > size
    taken = taken[:size]
    if backward:
        taken.reverse()
    has_next = bool(taken) and (backward or more)
    has_previous = bool(taken) and (more if backward else after is not None)
    return Page(
        taken,
        _encode(taken[-1], field) if has_next else None,
        _encode(taken[0], field) if has_previous else None,
    )


def sort(rows: QuerySet[Row], order: str) -> QuerySet[Row]:
    """Return the rows in an order, those of equal value by id."""
    field = order.removeprefix("-")
    keys = [field] if field == "id" else [field, "id"]
    return rows.order_by(
        *(F(k).desc() if order.startswith("-") else F(k).asc() for k in keys)
    )


def chosen_order(
    query: Mapping[str, str], known: Mapping[str, str], default: str
) -> str:
    """Return the order that `?sort=` names, as a field: `known` maps keys to fields."""
    asked = query.get("sort") or default
    if asked.removeprefix("-") not in known:
        asked = default
    sign = "-" if asked.startswith("-") else ""
    return f"{sign}{known[asked.removeprefix('-')]}"


def _beyond(field: str, edge: tuple[Any, Any], descending: bool) -> Q:
    """Return the condition for rows after the edge."""
    way = "lt" if descending else "gt"
    value, key = edge
    if field == "id":
        return Q(**{f"id__{way}": key})
    return Q(**{f"{field}__{way}": value}) | Q(**{field: value, f"id__{way}": key})


def _encode(row: Model, field: str) -> str:
    """Return the cursor of a row: its value and its id."""
    text = json.dumps([str(getattr(row, field)), str(row.pk)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(
    rows: QuerySet[Row], field: str, cursor: str | None
) -> tuple[Any, Any] | None:
    """Return the value and id of a cursor, or None when it is none of ours."""
    if not cursor:
        return None
    kind: Any = rows.query.annotations.get(field) or rows.model._meta.get_field(field)
    kind = getattr(kind, "output_field", kind)
    primary: Any = rows.model._meta.pk
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        value, key = json.loads(raw)
        if not isinstance(value, str) or not isinstance(key, str) or "\0" in value:
            return None
        return kind.to_python(value), primary.to_python(key)
    except (binascii.Error, ValueError, TypeError, ValidationError):
        return None
