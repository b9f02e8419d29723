"""The margin ladder in the form: three lines, two amounts and the cheaper model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict

from portal.composer.boxes import Box
from portal.composer.numbers import clean
from portal.composer.typed import Typed

# What a blank box stands for, as the guard has it.
MEMBERS = {
    "warn": ("Margin below which it warns, in %", "20 where blank"),
    "throttle": ("Margin below which it throttles, in %", "10 where blank"),
    "block": ("Margin below which it blocks, in %", "0 where blank"),
    "minimum_cogs": ("Cost of a period from which margins count", "1 where blank"),
    "free_cogs_allowance": (
        "Cost that may be without any revenue",
        "none where blank",
    ),
}
MODEL = "throttle_model"


def box_name(path: str) -> str:
    """Return the box that a path of the limits is typed into, or the path itself."""
    head, _, member = path.partition(".")
    if head != "margin":
        return path
    return f"margin_{member if member in MEMBERS else 'warn'}"


def from_post(data: QueryDict, kept: Mapping[str, object]) -> dict[str, object]:
    """Return the limits that the boxes say; what has no box stays as it is `kept`.

    A blank box leaves the guard's default; a line that was switched off by JSON (null)
    stays off while its box is blank.
    """
    if not any(f"margin_{name}" in data for name in MEMBERS):
        return {}
    said = kept.get("margin")
    before = dict(said) if isinstance(said, Mapping) else {}
    ladder: dict[str, object] = {
        name: value
        for name, value in before.items()
        if name not in MEMBERS or value is None
    }
    for name in MEMBERS:
        if text := clean(data.get(f"margin_{name}", "")):
            ladder[name] = text
    model = data.get(MODEL, "").strip() or None
    # What limits nothing is left out, unless it takes the place of something.
    found: dict[str, object] = {}
    if model or kept.get(MODEL):
        found[MODEL] = model
    if ladder or before:
        found["margin"] = ladder
    return found


def boxes(typed: Typed, problems: Mapping[str, str]) -> dict[str, Box]:
    """Return the boxes, by name."""
    ladder: Mapping[str, Any] = typed.limits.get("margin") or {}
    found = {}
    for member, (label, hint) in MEMBERS.items():
        name = f"margin_{member}"
        said = ladder.get(member)
        hint = "switched off" if member in ladder and said is None else hint
        text = "" if said is None else str(said)
        found[name] = Box(
            name,
            name,
            label,
            text,
            problems.get(name, ""),
            hint=hint,
            is_optional=True,
            is_number=True,
        )
    text = str(typed.limits.get(MODEL) or "")
    label, hint = "Cheaper model for throttled calls", "such as gpt-4o-mini"
    found[MODEL] = Box(
        MODEL, MODEL, label, text, problems.get(MODEL, ""), hint=hint, is_optional=True
    )
    return found
