"""The form of a recipe: weights line by line, what happens to an event, the markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from catalog.ownership import MARKUP
from portal.composer.numbers import clean
from portal.composer.typed import Price

COGS = "cogs"
ROUNDINGS = (
    ("", "not rounded"),
    ("up", "up"),
    ("half_up", "half up"),
    ("down", "down"),
)
MEMBERS = ("rounding", "decimals", "minimum_per_event", MARKUP)
# The boxes, as models.Param takes them.
RECIPE_PARAMS: tuple[dict[str, Any], ...] = (
    {
        "name": "weights",
        "label": "What a meter weighs",
        "kind": "lines",
        "hint": "A measurement, its units and for how many: output_tokens 3 1000."
        " cogs is one unit of money of our cost.",
    },
    {
        "name": "rounding",
        "label": "Units of an event are rounded",
        "kind": "choice",
        "choices": ROUNDINGS,
    },
    {
        "name": "decimals",
        "label": "Decimals that rounding leaves",
        "kind": "whole",
        "optional": True,
    },
    {
        "name": "minimum_per_event",
        "label": "Units of an event at least",
        "kind": "quantity",
        "optional": True,
        "positive": True,
    },
    {
        "name": MARKUP,
        "label": "Markup in %",
        "kind": "rate",
        "optional": True,
        "hint": "Put on the units. Finance sets it.",
    },
)


def read_recipe(
    data: Mapping[str, Any], read_price: Callable[[Any], Price]
) -> Price | None:
    """Return a recipe as texts; None when the form cannot show all of it."""
    if set(data) - {"model", "weights", "price", *MEMBERS}:
        return None
    try:
        lines = [_line(row) for row in data.get("weights") or []]
    except (AttributeError, KeyError, TypeError):
        return None
    if None in lines:
        return None
    values = {name: _text(data.get(name)) for name in MEMBERS}
    values["weights"] = "\n".join(line for line in lines if line)
    return Price("recipe", values, inner=read_price(data.get("price")))


def _text(value: Any) -> str:
    """Return what stands in a box for a member."""
    return "" if value is None else str(value)


def _line(row: Mapping[str, Any]) -> str | None:
    """Return a weight as a line: its meter, its units and for how many they are."""
    if set(row) - {"measurement", COGS, "amount", "per"}:
        return None
    name = COGS if row.get(COGS) is True else row["measurement"]
    # What a line cannot tell apart stays JSON.
    odd = name == COGS and COGS not in row
    if odd or not isinstance(name, str) or name.split() != [name]:
        return None
    per = row.get("per", 1)
    return f"{name} {row['amount']}" + (f" {per}" if per != 1 else "")


def write_recipe(price: Price, inner: Any) -> dict[str, Any]:
    """Return texts as a recipe; `inner` is the JSON of its price. The engine judges."""
    values = price.values
    row: dict[str, Any] = {
        "model": "recipe",
        "weights": [
            _weight(line)
            for line in values.get("weights", "").splitlines()
            if line.strip()
        ],
    }
    for name in MEMBERS:
        text = clean(values.get(name, ""))
        if text:
            whole = name == "decimals" and text.isascii() and text.isdecimal()
            row[name] = int(text) if whole else text
    return {**row, "price": inner}


def _weight(line: str) -> dict[str, Any]:
    """Return one line as a weight."""
    name, *rest = line.split()
    row: dict[str, Any] = {COGS: True} if name == COGS else {"measurement": name}
    if rest:
        row["amount"] = clean(rest[0])
    per = clean("".join(rest[1:]))
    if per and per != "1":
        row["per"] = int(per) if per.isascii() and per.isdecimal() else per
    return row
