"""Reading a request of the catalog API strictly: every refusal names its field."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aforo.lib.errors import AforoError
from aforo.lib.strict_json import StrictJsonError, loads

NAMES = {
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}
TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def bad(code: str, detail: str, field: str | None = None) -> AforoError:
    """Return the refusal of a malformed request."""
    return AforoError(code, 400, detail, field=field)


def object_of(raw: bytes, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body as the schema describes it.

    Raises AforoError 400: `invalid_json`, `duplicate_key`, `too_deep`,
    `number_out_of_range`, `invalid_body`, `unknown_field`, `missing_field`,
    `wrong_type` or `invalid_value`.
    """
    try:
        value = loads(raw)
    except StrictJsonError as error:
        raise bad(error.code, error.detail, error.field) from error
    if not isinstance(value, dict):
        raise bad("invalid_body", "the body must be an object")
    _check_members(value, schema, "")
    _check_exact(value, "")
    return value


def _check_members(value: dict[str, Any], schema: Mapping[str, Any], path: str) -> None:
    """Refuse members that are unknown, missing or of another type."""
    known = schema["properties"]
    for name in value:
        if name not in known:
            raise bad("unknown_field", f"{name[:80]} is not known here", name[:80])
    for name in schema.get("required", ()):
        if name not in value:
            raise bad("missing_field", f"{name} is missing", name)
    for name, member in value.items():
        _check_type(member, known[name], f"{path}{name}")


def _check_type(value: Any, schema: Mapping[str, Any], path: str) -> None:
    """Refuse a value of another type, or none of those that are known."""
    kind = schema["type"]
    fits = isinstance(value, TYPES[kind])
    if not fits or (kind == "integer" and isinstance(value, bool)):
        raise bad("wrong_type", f"{NAMES[kind]} is expected", path)
    if "enum" in schema and value not in schema["enum"]:
        known = ", ".join(schema["enum"])
        raise bad("unknown_choice", f"{str(value)[:80]} is none of {known}", path)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            _check_type(item, schema["items"], f"{path}[{index}]")


def _check_exact(value: Any, path: str) -> None:
    """Refuse numbers with a point, which are not exact, and null characters."""
    if isinstance(value, Decimal):
        raise bad("wrong_type", f'write it as a text: "{value}"', path)
    if isinstance(value, str) and "\0" in value:
        raise bad("invalid_value", "Null characters are not allowed.", path)
    if isinstance(value, dict):
        for name, member in value.items():
            if "\0" in name:
                raise bad("invalid_value", "Null characters are not allowed.", path)
            _check_exact(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _check_exact(member, f"{path}[{index}]")


def no_body(raw: bytes) -> None:
    """Refuse a body where none is taken; an empty object is none."""
    if raw:
        object_of(raw, {"properties": {}})
