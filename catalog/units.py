"""Labels of units in one and in many, as plain English makes them."""

from __future__ import annotations


def one(unit: str) -> str:
    """Return the label for one unit, such as token for tokens."""
    if unit.endswith("ies"):
        return f"{unit[:-3]}y"
    return unit[:-1] if unit.endswith("s") and not unit.endswith("ss") else unit


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
