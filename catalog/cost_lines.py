"""The lines of a cost as they are stored: what is the same of many costs kept apart.

A line has a unit, a quantity, the price of one unit, an amount and the rate that it was
taken from. Unit, price and rate are the same for most events of a model; quantity and
amount are the event's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple


class CostLine(NamedTuple):
    """One leaf of an event's cost: quantity × price = amount, before rounding."""

    unit: str
    quantity: Decimal
    price: Decimal  # Of one unit.
    amount: Decimal  # 12 places.
    rate_id: str  # Of the catalog.CostRate.


def parts_of(basis: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return unit, price and rate id of each line, given one after the other."""
    return list(zip(basis[::3], basis[1::3], basis[2::3], strict=True))


def cost_lines(parts: Iterable[Sequence[str]], figures: str) -> list[CostLine]:
    """Return the lines of a cost.

    `parts` has the unit, price and rate id of each; `figures` quantity and amount of
    each in the same order, apart by blanks. Raises ValueError where they do not fit.
    """
    numbers = [Decimal(text) for text in figures.split()]
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return [
        CostLine(unit, quantity, Decimal(price), amount, rate_id)
        for (unit, price, rate_id), (quantity, amount) in zip(parts, pairs, strict=True)
    ]
