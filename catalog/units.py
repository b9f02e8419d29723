"""Labels of units in one and in many, as plain English makes them."""

from __future__ import annotations

_SPANS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def one(unit: str) -> str:
    """Return the label for one unit, such as token for tokens."""
    if unit.endswith("ies"):
        return f"{unit[:-3]}y"
    return unit[:-1] if unit.endswith("s") and not unit.endswith("ss") else unit


def span_words(seconds: int) -> str:
    """Return a number of seconds in the largest unit that divides it: 3 days."""
    size, name = next(span for span in _SPANS if seconds % span[0] == 0)
    count = seconds // size
    return f"{count:,} {name if count == 1 else name + 's'}"


def many(unit: str) -> str:
    """Return the label for several units, such as tokens for token.

    What does not end in a small letter (GB, USD) stays as it is.
    """
    if not unit or not (unit[-1].islower() and unit[-1].isascii()):
        return unit
    single = one(unit)
    if single.endswith("y") and single[-2:-1] not in {*"aeiou", ""}:
        return f"{single[:-1]}ies"
    if single.endswith(("ss", "x", "ch", "sh")):
        return f"{single}es"
    return f"{single}s"
