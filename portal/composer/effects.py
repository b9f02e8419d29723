"""What each tier costs at the simulator's quantities: the effect column of a table."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from catalog.pricing.exact import ZERO, read
from catalog.pricing.lines import Line
from portal.composer.numbers import clean
from portal.composer.simulation import Simulation
from portal.composer.typed import Price, Typed, keys_of

TIERED = ("tier", "volume", "package_tier", "package_volume")


def effects(typed: Typed, simulation: Simulation | None) -> dict[str, Decimal | None]:
    """Return the amount of each tier by its box; None where a tier is not reached.

    Empty while there are no figures.
    """
    if simulation is None or simulation.problems or simulation.refusal:
        return {}
    lines = {row.line.charge_key: row.line for row in simulation.lines}
    keys = keys_of(typed.charges)
    return {
        box: amount
        for charge in typed.charges
        for box, amount in _tiers(charge.price, charge.uid, lines.get(keys[charge.uid]))
    }


def _tiers(
    price: Price, prefix: str, line: Line | None
) -> Iterator[tuple[str, Decimal | None]]:
    """Yield the box and the amount of each tier of a price, or of the one inside it."""
    if not price.tiers:
        if price.inner is not None:
            yield from _tiers(price.inner, f"{prefix}-o", line)
        return
    steps = line.steps if line else ()
    amounts = {step.floor: step.amount for step in steps if step.kind in TIERED}
    floor: Decimal | None = ZERO
    for at, tier in enumerate(price.tiers):
        box = f"{prefix}-tier-{at}-effect"
        yield box, None if floor is None else amounts.get(floor)
        floor = read(clean(tier.up_to))
