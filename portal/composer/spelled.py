"""Times and conditions as people spell them in one box: 3 days; status = SUCCESS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from catalog.units import span_words
from portal.composer.numbers import clean
from portal.composer.typed import split_values

_SPAN = re.compile(r"([0-9]{1,9}) ?([a-z]*)", re.ASCII)
_UNITS = {
    "": 1,
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3_600,
    "hour": 3_600,
    "d": 86_400,
    "day": 86_400,
}
# What is not a semicolon, or stands in quotes.
_PART = re.compile(r'(?:[^;"]|"[^"]*"?)+')
_QUOTED = re.compile(r'[",;]')


def seconds_of(text: str) -> int | str:
    """Return a time in seconds; what is none stays as it was typed."""
    found = _SPAN.fullmatch(clean(text).lower())
    unit = found[2].removesuffix("s") or found[2] if found else ""
    if found is None or unit not in _UNITS:
        return text.strip()
    return int(found[1]) * _UNITS[unit]


def span_of(value: Any) -> str:
    """Return what stands in a box for a time in seconds."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return span_words(value).replace(",", "")
    return str(value)


def span_problems(text: str, label: str) -> Iterator[str]:
    """Say why a text is no time, if it is none."""
    if not isinstance(seconds_of(text), int):
        yield f"{label} is a time such as 30 min or 3 days; you entered {text[:40]}."


def conditions_of(text: str) -> dict[str, Any] | str:
    """Return conditions, such as status = SUCCESS, OK; region = eu.

    A text of which a part is no condition stays one, so that nothing of it is lost.
    """
    if any(condition_problems(text, "")):
        return text.strip()
    found: dict[str, Any] = {}
    for part in _PART.findall(text):
        name, _, values = part.partition("=")
        if name.strip():
            texts = split_values(values)
            found[name.strip()] = texts[0] if len(texts) == 1 else texts
    return found


def conditions_text(where: Any) -> str | None:
    """Return conditions as text; None when they cannot be spelled so."""
    if isinstance(where, str):
        return where
    if not isinstance(where, Mapping):
        return None
    parts = []
    for name, allowed in where.items():
        values = [allowed] if isinstance(allowed, str) else allowed
        if not isinstance(values, Sequence) or not isinstance(name, str):
            return None
        if not all(isinstance(value, str) for value in values):
            return None
        parts.append(f"{name} = {', '.join(map(_quoted, values))}")
    text = "; ".join(parts)
    return text if conditions_of(text) == dict(where) else None


def _quoted(value: str) -> str:
    """Return a value so that its commas, semicolons and quotes are read back."""
    if _QUOTED.search(value) is None:
        return value
    return '"' + value.replace('"', '""') + '"'


def condition_problems(text: str, label: str) -> Iterator[str]:
    """Say which part of a text is no condition, if any is not."""
    names = set()
    for part in _PART.findall(text):
        name, sign, values = (piece.strip() for piece in part.partition("="))
        if not part.strip():
            continue
        if not sign or not name or not split_values(values):
            told = f"“{part.strip()[:40]}” is no condition. Type a property, = and its"
            yield f"{label}: {told} value, such as status = SUCCESS."
        elif name in names:
            yield f"{label}: {name} has a condition already. Put all values there."
        names.add(name)
