"""Recipes for tests: the credits of the worked numbers, and a slow second opinion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from catalog.pricing import Plan, UsageEvent, parse_plan

WEIGHTS: list[dict[str, Any]] = [
    {"measurement": "input_tokens", "amount": "1", "per": 1000},
    {"measurement": "output_tokens", "amount": "3", "per": 1000},
    {"measurement": "tool_calls", "amount": "5"},
]
COST: dict[str, Any] = {"cogs": True, "amount": "100"}
CREDITS: dict[str, Any] = {
    "model": "recipe",
    "weights": WEIGHTS,
    "rounding": "up",
    "minimum_per_event": "1",
    "price": {"model": "per_unit", "unit_amount": "0.01"},
}


def charge_of(price: Mapping[str, Any] = CREDITS, **more: Any) -> dict[str, Any]:
    """Return a charge of credits as JSON."""
    return {
        "key": "credits",
        "name": "Credits",
        "unit": "credits",
        "price": dict(price),
        **more,
    }


def credits_plan(*others: dict[str, Any], **more: Any) -> Plan:
    """Return a plan of credits; `more` are members of the recipe."""
    charges = [charge_of({**CREDITS, **more}), *others]
    return parse_plan({"currency": "USD", "charges": charges})


def shadow_units(price: Mapping[str, Any], event: UsageEvent) -> Fraction:
    """Return an event's units from the JSON, without code of the pricing package."""
    exact = Fraction(0)
    for weight in price["weights"]:
        value = (
            event.cost
            if "cogs" in weight
            else event.measurements.get(weight["measurement"], 0)
        )
        assert value is not None
        exact += Fraction(value) * Fraction(weight["amount"]) / weight.get("per", 1)
    if not exact:
        return exact
    exact *= 1 + Fraction(price.get("markup_percent", 0)) / 100
    size = 10 ** price.get("decimals", 0)
    match price.get("rounding"):
        case "up":
            exact = Fraction(math.ceil(exact * size), size)
        case "down":
            exact = Fraction(math.floor(exact * size), size)
        case "half_up":
            exact = Fraction(math.floor(exact * size + Fraction(1, 2)), size)
    return max(exact, Fraction(price.get("minimum_per_event", 0)))


def shadow_price(price: Mapping[str, Any], units: Fraction) -> Fraction:
    """Return what a number of units costs, from the JSON of their price."""
    each = Fraction(price.get("unit_amount", 0))
    match price["model"]:
        case "per_unit":
            return units * each
        case "included":
            beyond = max(Fraction(0), units - Fraction(price["units"]))
            return shadow_price(price["overage"], beyond)
        case "package":
            return math.ceil(units / Fraction(price["size"])) * Fraction(
                price["amount"]
            )
        case "volume":
            tier = next(
                tier
                for tier in price["tiers"]
                if tier["up_to"] is None or units <= Fraction(tier["up_to"])
            )
            flat = Fraction(tier.get("flat_amount", 0))
            return units * Fraction(tier["unit_amount"]) + flat
    result, floor = Fraction(0), Fraction(0)
    for number, tier in enumerate(price["tiers"]):
        top = units if tier["up_to"] is None else Fraction(tier["up_to"])
        part = min(units, top) - floor
        if number == 0 or part > 0:
            result += max(part, Fraction(0)) * Fraction(tier["unit_amount"])
            result += Fraction(tier.get("flat_amount", 0))
        floor = top
    return result


def shadow_meters(
    price: Mapping[str, Any], events: Sequence[UsageEvent]
) -> dict[str, Fraction]:
    """Return the sums of what was weighed, of events that came to any units."""
    sums: dict[str, Fraction] = {}
    for event in events:
        if not shadow_units(price, event):
            continue
        for weight in price["weights"]:
            name = weight.get("measurement", "")
            value = event.measurements.get(name) if name else event.cost
            if value:
                sums[name] = sums.get(name, Fraction(0)) + Fraction(value)
    return sums
