"""The form of a recipe: a table of weights, what happens to an event, the markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from catalog.ownership import MARKUP
from catalog.pricing.recipe_json import WEIGHTS_MAX
from portal.composer import rows
from portal.composer.numbers import clean
from portal.composer.params import Column, Param
from portal.composer.typed import Price

COGS = "cogs"  # Typed instead of a measurement.
PER = (("1", "1"), ("1000", "1,000"), ("1000000", "1,000,000"))
ROUNDINGS = (
    ("", "not at all"),
    ("up", "up"),
    ("half_up", "half up"),
    ("down", "down"),
)
MEMBERS = ("rounding", "decimals", "minimum_per_event", MARKUP)
WEIGHTS = Param(
    "weights",
    "What a meter weighs",
    "rows",
    hint="cogs as the measurement is our cost: the units for one unit of money.",
    columns=(
        Column("measurement", "Measurement", suggest="measurements"),
        Column("amount", "Units", "price", positive=True),
        Column("per", "For", "choice", choices=PER, start=PER[0][0]),
    ),
    rows_max=WEIGHTS_MAX,
    unique=True,
    group="Meters",
)
PARAMS = (
    WEIGHTS,
    Param(
        "rounding",
        "Units of an event are rounded",
        "choice",
        choices=ROUNDINGS,
        start=ROUNDINGS[0][0],
        group="Each event",
    ),
    Param(
        "decimals",
        "Decimals that rounding leaves",
        "whole",
        optional=True,
        group="Each event",
        needs=("rounding",),
        off="units are not rounded",
    ),
    Param(
        "minimum_per_event",
        "Units of an event at least",
        "quantity",
        optional=True,
        positive=True,
        group="Each event",
    ),
    Param(
        MARKUP,
        "Markup in %",
        "rate",
        optional=True,
        hint="Put on an event's units, before they are rounded.",
        group="Each event",
    ),
)


def read_recipe(
    data: Mapping[str, Any], read_price: Callable[[Any], Price]
) -> Price | None:
    """Return a recipe as texts; None when the form cannot show all of it."""
    if set(data) - {"model", "weights", "price", *MEMBERS}:
        return None
    weights = _read_weights(data.get("weights"))
    if weights is None:
        return None
    values = {name: rows.text_of(data.get(name)) for name in MEMBERS}
    table = {WEIGHTS.name: weights}
    return Price("recipe", values, rows=table, inner=read_price(data.get("price")))


def _read_weights(data: Any) -> rows.Rows | None:
    """Return weights as rows of the table."""
    found = []
    if not isinstance(data, Sequence) or isinstance(data, str):
        return None
    for weight in data:
        if not isinstance(weight, Mapping):
            return None
        name, per = weight.get("measurement"), str(weight.get("per", 1))
        # A measurement of that name, or both, cannot be told apart in a cell.
        odd = set(weight) - {"measurement", COGS, "amount", "per"}
        if odd or per not in dict(PER) or name == COGS:
            return None
        if COGS in weight:
            if weight[COGS] is not True or name is not None:
                return None
            name = COGS
        amount = rows.text_of(weight.get("amount"))
        found.append({"measurement": str(name or ""), "amount": amount, "per": per})
    return rows.settled(WEIGHTS, found)


def write_recipe(price: Price, inner: Any) -> dict[str, Any]:
    """Return texts as a recipe; `inner` is the JSON of its price. The engine judges."""
    row: dict[str, Any] = {
        "model": "recipe",
        "weights": [
            _weight(typed)
            for typed in rows.filled(WEIGHTS, price.rows.get(WEIGHTS.name, []))
        ],
    }
    for name in MEMBERS:
        text = clean(price.values.get(name, ""))
        if text:
            whole = name == "decimals" and text.isascii() and text.isdecimal()
            row[name] = int(text[:20]) if whole else text
    return {**row, "price": inner}


def _weight(typed: Mapping[str, str]) -> dict[str, Any]:
    """Return one row of the table as a weight."""
    name = typed["measurement"].strip()
    row: dict[str, Any] = {COGS: True} if name == COGS else {"measurement": name}
    row["amount"] = clean(typed["amount"])
    per = typed["per"].strip()
    if per not in ("", PER[0][0]):
        row["per"] = int(per) if per in dict(PER) else per
    return row
