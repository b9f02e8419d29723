"""What a row of the catalog may hold, said in the same words by pages and API."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model

from aforo.lib.errors import AforoError


def check_fields(row: Model) -> None:
    """Refuse a value that a column cannot hold: too long, empty, no known choice.

    Links to other rows are the database's to check. Raises AforoError 422
    `invalid_value`, its field the first one at fault.
    """
    links = {f.name for f in row._meta.fields if f.is_relation}
    try:
        row.clean_fields(exclude=links)
    except ValidationError as error:
        name, (message, *_) = next(iter(error.message_dict.items()))
        raise AforoError("invalid_value", 422, message, field=name) from error
    for field in row._meta.fields:
        value = getattr(row, field.attname)
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            detail = "Null characters are not allowed."
            raise AforoError("invalid_value", 422, detail, field=field.name)


def apply_changes(
    row: Model, changes: Mapping[str, Any], changeable: Collection[str]
) -> dict[str, Any]:
    """Set fields of a row, unsaved, and return what those that differ held before.

    Raises AforoError 422 `immutable_field` for a fixed field that would get another
    value, and `invalid_value`.
    """
    before = {}
    for name, value in changes.items():
        old = getattr(row, name)
        if value == old:
            continue
        if name not in changeable:
            raise AforoError(
                "immutable_field", 422, f"It stays {_shown(old)}.", field=name
            )
        before[name] = old
        setattr(row, name, value)
    check_fields(row)
    return before


def _shown(value: Any) -> str:
    """Return a value as a refusal names it."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "empty"
    return str(value) or "empty"
