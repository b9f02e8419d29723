"""Reading JSON strictly: every refusal has a code, the path and a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from aforo.lib.money import PLACES
from catalog.pricing.exact import EXACT, ZERO, places, read

# A float has kept what was typed as long as that is so short.
_FLOAT_DIGITS = 15
_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)


class PlanError(Exception):
    """The plan JSON cannot be accepted."""

    def __init__(self, code: str, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.code = code
        self.path = path
        self.message = message


def members(
    data: object,
    path: str,
    *,
    required: str = "",
    optional: str = "",
    others: bool = False,
) -> dict[str, Any]:
    """Return an object whose keys are known.

    Names are separated by spaces; with `others` any further key may come.
    """
    if not isinstance(data, Mapping) or not all(isinstance(k, str) for k in data):
        raise PlanError("wrong_type", path, "an object is expected")
    must, may = required.split(), optional.split()
    for name in must:
        if name not in data:
            raise PlanError("missing_key", path, f"{name} is missing")
    for name in data:
        if not others and name not in must and name not in may:
            where = f"{path}.{name}" if path else name
            raise PlanError("unknown_key", where, f"{name} is not known here")
    return dict(data)


def array(data: object, path: str, *, longest: int) -> Sequence[Any]:
    """Return a list of bounded length."""
    if not isinstance(data, list | tuple):
        raise PlanError("wrong_type", path, "a list is expected")
    if len(data) > longest:
        raise PlanError("too_many", path, f"at most {longest:,} entries")
    return data


def text(value: object, path: str, *, longest: int, empty: bool = False) -> str:
    """Return a text of bounded length without control characters."""
    if not isinstance(value, str):
        raise PlanError("wrong_type", path, "a text is expected")
    if not value.strip() and not empty:
        raise PlanError("empty", path, "must not be empty")
    if len(value) > longest:
        raise PlanError("too_long", path, f"at most {longest} characters")
    if not value.isprintable():
        raise PlanError("invalid_text", path, "has characters that cannot be printed")
    return value


def strings(data: object, path: str, *, longest: int) -> list[str]:
    """Return a list of texts."""
    return [
        text(value, f"{path}[{index}]", longest=256)
        for index, value in enumerate(array(data, path, longest=longest))
    ]


def key(value: object, path: str) -> str:
    """Return a key: small letters, digits and _ . - after a first letter."""
    name = text(value, path, longest=64)
    if not _KEY.fullmatch(name):
        message = "small letters, digits, _ . and -, beginning with a letter"
        raise PlanError("invalid_key", path, message)
    return name


def number(value: object, path: str, *, smallest: int, largest: int) -> int:
    """Return a whole number in a range."""
    if isinstance(value, float):
        raise PlanError("float", path, "a whole number is expected")
    if not isinstance(value, int) or isinstance(value, bool):
        raise PlanError("wrong_type", path, "a whole number is expected")
    if not smallest <= value <= largest:
        raise PlanError("out_of_range", path, f"from {smallest:,} to {largest:,}")
    return value


def number_text(value: object, path: str) -> object:
    """Return a JSON number as the text that was typed; anything else as it is.

    Raises PlanError for a float with more digits than a float can keep.
    """
    if isinstance(value, float):
        typed = Decimal(repr(value))
        if not typed.is_finite() or len(typed.as_tuple().digits) > _FLOAT_DIGITS:
            message = "so many digits are exact only as a text, in quotes"
            raise PlanError("float", path, message)
        return format(typed, "f")
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return format(value, "f") if isinstance(value, Decimal) else str(value)
    return value


def decimal(
    value: object,
    path: str,
    *,
    below: Decimal,
    positive: bool = False,
    per: int = 1,
) -> Decimal:
    """Return an exact number that is not negative.

    It is below a limit and has at most 12 places, also when divided by `per`.
    """
    if isinstance(value, float):
        message = 'a float is not exact: write the number as a text, such as "0.10"'
        raise PlanError("float", path, message)
    if not isinstance(value, str):
        message = 'a number is written as a text, such as "0.10"'
        raise PlanError("wrong_type", path, message)
    result = read(value)
    if result is None:
        message = f"{value[:40]} is not a plain decimal number"
        raise PlanError("invalid_number", path, message)
    if result < 0 or (result == 0 and positive):
        word = "must be above zero" if positive else "must not be negative"
        raise PlanError("negative" if result < 0 else "out_of_range", path, word)
    if result >= below:
        raise PlanError("out_of_range", path, f"must be below {below:,f}")
    if places(result, per=per) > PLACES:
        message = f"more than {PLACES} decimal places"
        if per > 1:
            message += f" for one unit ({value} per {per:,})"
        raise PlanError("too_precise", path, message)
    # A zero has no sign, and no places that only look like precision are kept.
    return result.normalize(EXACT) if result else ZERO
