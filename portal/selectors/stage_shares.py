"""A recipe's price by stages: each meter's share of the units has its share of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from aforo.lib.money import CONTEXT, QUANTUM, ZERO
from catalog.pricing import Recipe
from catalog.pricing.recipes import METER, share_of
from portal.trace import Stage, stage_of


def stage_shares(
    model: Recipe, used: Mapping[str, Decimal], amount: Decimal
) -> dict[Stage, Decimal]:
    """Return an amount divided over the stages whose meters a recipe weighed.

    `used` says how much of each kind of step. The parts sum to the amount: what does
    not divide is the last one's. Without a meter of a stage all of it is OTHER.
    """
    units: dict[Stage, Decimal] = {}
    for weight in model.weights:
        value = used.get(METER + weight.measurement, ZERO) if weight.measurement else 0
        if value:
            stage = stage_of(weight.measurement)
            part = CONTEXT.multiply(Decimal(value), share_of(weight))
            units[stage] = units.get(stage, ZERO) + part
    total = sum(units.values(), ZERO)
    if not total:
        return {Stage.OTHER: amount}
    parts: dict[Stage, Decimal] = {}
    left = amount
    stages: Sequence[Stage] = sorted(units, key=list(Stage).index)
    for stage in stages[:-1]:
        share = CONTEXT.divide(CONTEXT.multiply(amount, units[stage]), total)
        parts[stage] = share.quantize(QUANTUM, context=CONTEXT)
        left -= parts[stage]
    return parts | {stages[-1]: left}
