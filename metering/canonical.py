"""Values in one form: what two senders mean alike is written alike."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from decimal import Decimal
from typing import Any

import msgspec

from aforo.lib import crypto
from aforo.lib.errors import AforoError
from aforo.lib.money import plain

INTEGER_DIGITS_MAX = 18
DECIMALS_MAX = 12
INTEGER_LIMIT = 10**INTEGER_DIGITS_MAX
# A number above this cannot be seconds of this century.
MILLISECONDS_FROM = 100_000_000_000

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE]([+-]?[0-9]+))?")
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EVENT_ID = re.compile(r"[\x20-\x7e]{1,255}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_encode = msgspec.json.Encoder(order="deterministic").encode


def bad(code: str, detail: str, field: str | None = None) -> AforoError:
    """Return the refusal of something malformed."""
    return AforoError(code, 400, detail, field=field)


def encode(value: Any) -> bytes:
    """Return a value as JSON with its keys sorted."""
    return _encode(value)


def digest(*parts: bytes) -> bytes:
    """Return the SHA-256 over parts of canonical JSON."""
    return hashlib.sha256(b"\n".join(parts)).digest()


def quantity(value: Any, field: str) -> str:
    """Return a quantity as the shortest exact decimal text.

    Raises AforoError: invalid_number, negative_quantity, number_out_of_range above
    18 digits before the point, too_precise beyond 12 after it; nothing is rounded.
    """
    if type(value) is int and 0 <= value < INTEGER_LIMIT:
        return str(value)
    number = decimal(value, field)
    if number < 0:
        raise bad("negative_quantity", f"{field} is below zero", field)
    return plain(number)


def decimal(value: Any, field: str) -> Decimal:
    """Return a number, or a decimal in a string, exactly; see quantity()."""
    if isinstance(value, str):
        number = _decimal_of(value, field)
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        number = Decimal(value)
    else:
        raise bad("invalid_number", f"{field} is not a number", field)
    if number == 0:
        return Decimal(0)
    if number.adjusted() >= INTEGER_DIGITS_MAX:
        raise bad("number_out_of_range", f"{field} is out of range", field)
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -DECIMALS_MAX:
        # Zeros at the end are no precision; the bound on digits keeps this cheap.
        shortest = plain(number)
        if len(shortest.partition(".")[2]) > DECIMALS_MAX:
            raise bad("too_precise", f"{field} has over 12 decimals", field)
    return number


def _decimal_of(text: str, field: str) -> Decimal:
    """Return the decimal in a string of plain ASCII digits."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise bad("invalid_number", f"{field} is not a number", field)
    if len(text) > 72 or abs(int(match[1] or 0)) > 64:
        raise bad("number_out_of_range", f"{field} is out of range", field)
    return Decimal(text)


def instant(value: Any, field: str) -> dt.datetime:
    """Return an RFC 3339 time with its offset as an aware time in UTC."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise bad("invalid_timestamp", _timestamp_hint(value), field)
    try:
        return dt.datetime.fromisoformat(value.upper()).astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise bad("invalid_timestamp", f"there is no such time: {value}", field) from (
            error
        )


def _timestamp_hint(value: Any) -> str:
    """Say what is wrong with a time, with a guess where numbers came."""
    hint = "send RFC 3339 with an offset, such as 2026-03-01T12:00:00Z"
    digits = str(value) if isinstance(value, int | str | Decimal) else ""
    if digits.isascii() and digits.isdigit() and len(digits) < 20:
        unit = "milliseconds?" if int(digits) >= MILLISECONDS_FROM else "seconds?"
        return f"{digits}: epoch {unit} {hint}"
    return hint


def event_id(value: Any, field: str) -> str:
    """Return an event id, byte for byte: 1 to 255 printable ASCII characters."""
    if not isinstance(value, str) or not _EVENT_ID.fullmatch(value):
        raise bad("invalid_event_id", "send 1 to 255 printable ASCII characters", field)
    return _without_secret(value, field)


def name(value: Any, field: str, limit: int = 255) -> str:
    """Return a short text on one line: an id, a type, a key."""
    # One test of the common case: an event has a dozen of these.
    if (
        type(value) is str
        and 0 < len(value) <= limit
        and value.isprintable()
        and not may_hold_secret(value)
    ):
        return value
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise bad("invalid_field", f"{field} is a text of 1 to {limit}", field)
    if _CONTROL.search(value):
        raise bad("invalid_field", f"{field} has control characters", field)
    return _without_secret(value, field)


def _without_secret(value: str, field: str) -> str:
    """Refuse a key where an id belongs: ids are stored and shown."""
    if may_hold_secret(value) and crypto.redact(value) != value:
        raise bad("secret_in_field", f"{field} holds a key; rotate it", field)
    return value


def may_hold_secret(value: str) -> bool:
    """Say cheaply whether a text could hold one of our secrets."""
    return "_live_" in value or "_test_" in value or "whsec_" in value


def free_text(value: Any, field: str) -> str:
    """Return a scalar as text, secrets redacted; only NUL is refused."""
    if isinstance(value, str):
        if "\0" in value:
            raise bad("invalid_field", f"{field} holds a NUL", field)
        return crypto.redact(value) if may_hold_secret(value) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return plain(value)
    raise bad("invalid_field", f"{field} is neither text, number nor boolean", field)


def tree(value: Any, field: str) -> Any:
    """Return JSON of any shape with numbers in one form and secrets redacted."""
    if isinstance(value, dict):
        return {
            free_text(key, field): tree(child, field) for key, child in value.items()
        }
    if isinstance(value, list):
        return [tree(child, field) for child in value]
    if isinstance(value, str):
        return free_text(value, field)
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value()
        return int(value) if whole else msgspec.Raw(plain(value).encode())
    return value
