"""What recipes tell the edge: what a meter costs at most, and what was used of it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aforo.lib.money import CONTEXT, MICROS_MAX, ZERO, micros_up
from catalog.pricing import (
    ChargeState,
    Graduated,
    Included,
    Package,
    PerUnit,
    Plan,
    Recipe,
    Volume,
    Weighed,
)
from catalog.pricing.recipes import factor

MILLION = 1_000_000


def dearest(price: PerUnit | Graduated | Volume | Package | Included) -> Decimal:
    """Return the highest price of one unit; included units count as if they were paid.

    What is reserved shall cover the call, whatever was used before it.
    """
    match price:
        case PerUnit():
            return CONTEXT.divide(price.unit_amount, Decimal(price.per))
        case Graduated() | Volume():
            most = max(tier.unit_amount for tier in price.tiers)
            return CONTEXT.divide(most, Decimal(price.per))
        case Package():
            return CONTEXT.divide(dearest(price.price), price.size)
        case Included():
            overage = price.overage
            assert isinstance(overage, PerUnit | Graduated | Volume | Package)
            return dearest(overage)


def estimate_prices(plan: Plan) -> dict[str, int]:
    """Return micros per million of each measurement that recipes weigh, rounded up.

    Of several recipes the dearest counts. What an event's rounding or minimum adds is
    not in it, nor a price too large for the edge.
    """
    found: dict[str, Decimal] = {}
    for charge in plan.charges:
        if not isinstance(charge.model, Recipe):
            continue
        each = dearest(charge.model.price)
        for weight in charge.model.weights:
            if weight.measurement:
                price = CONTEXT.multiply(factor(charge.model, weight), each)
                known = found.get(weight.measurement, ZERO)
                found[weight.measurement] = max(known, price)
    micros = {
        name: micros_up(CONTEXT.multiply(price, Decimal(MILLION)))
        for name, price in found.items()
    }
    return {name: price for name, price in micros.items() if price <= MICROS_MAX}


def weighed_quantities(
    plan: Plan, counted: Mapping[str, ChargeState]
) -> dict[str, Decimal]:
    """Return how much of each measurement the recipes of a plan have weighed."""
    used: dict[str, Decimal] = {}
    for charge in plan.charges:
        state = counted.get(charge.key)
        if isinstance(state, Weighed):
            for name, value in state.meters.items():
                if name:
                    used[name] = used.get(name, ZERO) + value
    return used


def prices_of(limits: Mapping[str, Any], plan: Plan) -> dict[str, int]:
    """Return micros per million units; tokens alone cost as the dearest of them.

    What the limits do not say and a recipe weighs costs what its units do.
    """
    prices = estimate_prices(plan) | {
        unit: micros_up(Decimal(price) * 1_000_000)
        for unit, price in limits.get("estimate", {}).items()
    }
    tokens = [p for unit, p in prices.items() if unit.endswith("put_tokens")]
    if tokens:
        prices.setdefault("tokens", max(tokens))
    return prices
