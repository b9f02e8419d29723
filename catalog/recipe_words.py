"""What a recipe's unit, such as a credit, is charged for, in words.

Customers read what one of a meter comes to, with the markup in it; neither the markup
nor our cost is theirs to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from aforo.lib.money import plain
from catalog.pricing import Recipe, Rounding, Weight
from catalog.pricing.recipes import factor, meter_words
from catalog.pricing.words import number_words
from catalog.units import many, one

# What customers read where our cost has a weight.
BY_USE = "more by the model or tool used"
SHOWN = 4  # Meters of a recipe that a sentence names.
_PER = {1_000: "1K", 1_000_000: "1M"}
_ROUNDED = {
    Rounding.UP: "rounded up",
    Rounding.HALF_UP: "rounded half up",
    Rounding.DOWN: "rounded down",
}


def unit_of(unit: str) -> str:
    """Return what one unit is called when the charge does not say it."""
    return one(unit) or "unit"


def meter_label(weight: Weight) -> str:
    """Return for how much of a meter a weight is, such as 1K input tokens."""
    name = meter_words(weight.measurement)
    if weight.per in _PER:
        return f"{_PER[weight.per]} {many(name)}"
    return one(name)


def customer_amount(model: Recipe, weight: Weight) -> Decimal:
    """Return the units for `per` of a meter, with the markup in them."""
    return factor(model, weight) * weight.per


def per_event_words(model: Recipe, unit: str) -> str:
    """Return how an event's units are rounded and what they are at least, if at all."""
    parts = []
    if model.rounding is not None:
        places = f" to {model.decimals} places" if model.decimals else ""
        parts.append(f"{_ROUNDED[model.rounding]}{places}")
    if model.minimum is not None:
        label = unit_of(unit) if model.minimum == 1 else many(unit_of(unit))
        parts.append(f"at least {number_words(model.minimum)} {label}")
    return f"{', '.join(parts)} per event" if parts else ""


def charged_for(model: Recipe, unit: str) -> str:
    """Return what units are charged for as customers read it, in one clause."""
    parts: list[str] = []
    weights = [weight for weight in model.weights if weight.measurement]
    for weight in weights[:SHOWN]:
        amount = customer_amount(model, weight)
        noun = "" if parts else f" {counted(amount, unit)}"
        parts.append(f"{number_words(amount)}{noun} per {meter_label(weight)}")
    if len(weights) > SHOWN:
        parts.append(f"{len(weights) - SHOWN} more meters")
    if len(weights) < len(model.weights):
        parts.append(BY_USE)
    words = ", ".join(parts[:-1]) + (" and " if parts[:-1] else "") + parts[-1]
    rest = per_event_words(model, unit)
    return f"{words}, {rest}" if rest else words


def counted(amount: Decimal, unit: str) -> str:
    """Return the unit's label for a number of it."""
    return unit_of(unit) if amount == 1 else many(unit_of(unit))


def rows(model: Recipe, unit: str) -> Iterator[tuple[str, str]]:
    """Yield what units are charged for as rows: how much of what, and the units."""
    for weight in model.weights:
        if weight.measurement:
            amount = customer_amount(model, weight)
            label = meter_label(weight)
            label = label if weight.per in _PER else f"1 {label}"
            yield label, f"{number_words(amount)} {counted(amount, unit)}"
    if any(not weight.measurement for weight in model.weights):
        yield "Model or tool used", f"more {many(unit_of(unit))}"


def public_recipe(
    model: Recipe, price: dict[str, Any], written: dict[str, Any]
) -> dict[str, Any]:
    """Return a recipe as customers may see it; `written` is its plan JSON."""
    weights: list[dict[str, Any]] = [
        {
            "measurement": weight.measurement,
            "amount": plain(customer_amount(model, weight)),
        }
        | ({"per": weight.per} if weight.per > 1 else {})
        for weight in model.weights
        if weight.measurement
    ]
    kept = ("rounding", "decimals", "minimum_per_event")
    more = len(weights) < len(model.weights)
    return (
        {"model": "recipe", "charged_for": weights}
        | ({"more_by_use": True} if more else {})
        | {name: written[name] for name in kept if name in written}
        | {"price": price}
    )
