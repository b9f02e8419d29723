"""Recipes in JSON: read strictly, and written back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from aforo.lib.money import PLACES, plain
from catalog.pricing.agentic import Recipe, Rounding, Weight
from catalog.pricing.exact import PRICE_LIMIT, QUANTITY_LIMIT, RATE_LIMIT, places
from catalog.pricing.metric_json import choice
from catalog.pricing.plan import (
    Graduated,
    Included,
    Model,
    Package,
    Percentage,
    PerUnit,
    Volume,
)
from catalog.pricing.reading import PlanError, array, decimal, members, number, text
from catalog.pricing.recipes import factor, meter_words

WEIGHTS_MAX = 50
# A markup multiplies weights: with more places few would stay exact.
MARKUP_PLACES = 4


def parse_recipe(
    data: object,
    path: str,
    *,
    model: Callable[[object, str], Model],
    per: Callable[[dict[str, Any], str], int],
) -> Recipe:
    """Return weights and the price of what they come to, or raise PlanError.

    `model` and `per` read the parts that other charges have too.
    """
    row = members(
        data,
        path,
        required="weights price",
        optional="rounding decimals minimum_per_event markup_percent",
    )
    weights = _weights(row["weights"], f"{path}.weights", per)
    rounding = None
    if row.get("rounding") is not None:
        rounding = choice(Rounding, row["rounding"], f"{path}.rounding")
    elif row.get("decimals"):
        message = "places are what a rounding leaves: name up, half_up or down"
        raise PlanError("unsupported", f"{path}.decimals", message)
    minimum = row.get("minimum_per_event")
    recipe = Recipe(
        weights=weights,
        markup=_markup(row.get("markup_percent", "0"), f"{path}.markup_percent"),
        rounding=rounding,
        decimals=number(
            row.get("decimals", 0), f"{path}.decimals", smallest=0, largest=PLACES
        ),
        minimum=None
        if minimum is None
        else decimal(
            minimum, f"{path}.minimum_per_event", below=QUANTITY_LIMIT, positive=True
        ),
        price=_price(row["price"], f"{path}.price", model),
    )
    _check_exact(recipe, path)
    return recipe


def _weights(
    data: object, path: str, per: Callable[[dict[str, Any], str], int]
) -> tuple[Weight, ...]:
    """Return what a recipe weighs, each meter once."""
    rows = array(data, path, longest=WEIGHTS_MAX)
    if not rows:
        raise PlanError("empty", path, "name at least one measurement, or cogs")
    found: list[Weight] = []
    for index, entry in enumerate(rows):
        here = f"{path}[{index}]"
        row = members(entry, here, required="amount", optional="measurement cogs per")
        if ("measurement" in row) == ("cogs" in row):
            message = "name one of measurement or cogs"
            raise PlanError("invalid_metric", here, message)
        if "cogs" in row and row["cogs"] is not True:
            raise PlanError("wrong_type", f"{here}.cogs", "cogs can only be true")
        name = ""
        if "measurement" in row:
            name = text(row["measurement"], f"{here}.measurement", longest=128)
        if any(one.measurement == name for one in found):
            where = f"{here}.measurement" if name else f"{here}.cogs"
            message = f"{meter_words(name)} has a weight above: give it one"
            raise PlanError("duplicate_weight", where, message)
        size = per(row, here)
        amount = decimal(
            row["amount"],
            f"{here}.amount",
            below=PRICE_LIMIT,
            positive=True,
            per=size,
        )
        found.append(Weight(name, amount, size))
    return tuple(found)


def _markup(value: object, path: str) -> Decimal:
    """Return what is put on the units, in percent."""
    markup = decimal(value, path, below=RATE_LIMIT)
    if places(markup, per=1) > MARKUP_PLACES:
        message = f"more than {MARKUP_PLACES} decimal places"
        raise PlanError("too_precise", path, message)
    return markup


def _price(
    data: object, path: str, model: Callable[[object, str], Model]
) -> PerUnit | Graduated | Volume | Package | Included:
    """Return the price of units, which is their rate of exchange."""
    price = model(data, path)
    inner = price.overage if isinstance(price, Included) else price
    if not isinstance(
        price, PerUnit | Graduated | Volume | Package | Included
    ) or isinstance(inner, Percentage):
        message = (
            "units are priced per_unit, graduated, volume, package or included, not"
            " by a percentage"
        )
        raise PlanError("unsupported", path, message)
    return price


def _check_exact(recipe: Recipe, path: str) -> None:
    """Refuse weights of which the markup, or a cost, makes units that lose digits."""
    for index, weight in enumerate(recipe.weights):
        share = factor(recipe, weight)
        digits = places(share, per=1)
        name = meter_words(weight.measurement)
        markup = f"{path}.markup_percent"
        if share >= PRICE_LIMIT:
            message = f"{name} with this markup must weigh below {PRICE_LIMIT:,f}"
            raise PlanError("out_of_range", markup, message)
        if digits > PLACES:
            message = (
                f"one of {name} would weigh {plain(share)}, with more than {PLACES}"
                " decimal places: shorten its weight or the markup"
            )
            raise PlanError("too_precise", markup, message)
        if not weight.measurement and digits and recipe.rounding is None:
            message = (
                f"costs have {PLACES} decimal places, and {plain(share)} units for 1"
                " of it would need more: name a rounding, or a whole weight with its"
                " markup"
            )
            where = f"{path}.weights[{index}].amount"
            raise PlanError("too_precise", where, message)


def recipe_to_json(
    recipe: Recipe, *, model: Callable[[Model], dict[str, Any]]
) -> dict[str, Any]:
    """Return what `parse_recipe` reads back as the same; decimals are texts."""
    row: dict[str, Any] = {
        "model": "recipe",
        "weights": weights_to_json(recipe.weights),
    }
    if recipe.rounding is not None:
        row["rounding"] = str(recipe.rounding)
    if recipe.decimals:
        row["decimals"] = recipe.decimals
    if recipe.minimum is not None:
        row["minimum_per_event"] = plain(recipe.minimum)
    if recipe.markup:
        row["markup_percent"] = plain(recipe.markup)
    return row | {"price": model(recipe.price)}


def weights_to_json(weights: Sequence[Weight]) -> list[dict[str, Any]]:
    """Return weights; `per` is left out where it is one."""
    return [
        ({"measurement": weight.measurement} if weight.measurement else {"cogs": True})
        | {"amount": plain(weight.amount)}
        | ({"per": weight.per} if weight.per > 1 else {})
        for weight in weights
    ]
