"""Quantity to money: one small function per charge model, each with its breakdown.

`breakdown` is the price of a quantity. `segments` says the same as straight pieces,
so that rating can add to a quantity without working the whole period out again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from catalog.pricing.agentic import Compound, Dimensions, Recipe
from catalog.pricing.exact import HUNDRED, ONE, ZERO, started
from catalog.pricing.lines import Step, rounded
from catalog.pricing.plan import (
    Flat,
    Graduated,
    Included,
    Model,
    Package,
    Percentage,
    PerUnit,
    Tier,
    Volume,
)

_BEFORE_ZERO = Decimal(-1)
Tiered = PerUnit | Graduated | Volume


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of quantities over which the price is a straight line.

    price(q) = intercept + slope × q for above < q ≤ up_to.
    """

    above: Decimal
    up_to: Decimal | None
    slope: Decimal  # Price of one unit.
    intercept: Decimal
    step: Step  # What an addition inside the range looks like, without its amount.


def breakdown(model: Model, quantity: Decimal) -> tuple[Step, ...]:
    """Return the price of a period's quantity, step by step, each with 12 places."""
    return rounded(_exact(model, quantity))


def _exact(model: Model, quantity: Decimal) -> list[Step]:
    """Return the steps with exact amounts."""
    match model:
        case PerUnit():
            return _per_unit(model, quantity)
        case Graduated():
            return _graduated(model, quantity)
        case Volume():
            return _volume(model, quantity)
        case Package():
            return _package(model, quantity)
        case Percentage():
            return _percentage(model, quantity)
        case Included():
            return _included(model, quantity)
        case Flat():
            return [Step("flat", ONE, model.amount, model.amount)]
        case Dimensions() | Compound() | Recipe():
            raise TypeError(f"{model} is no function of one quantity")


def _per_unit(model: PerUnit, quantity: Decimal) -> list[Step]:
    """Price every unit alike."""
    per = Decimal(model.per)
    amount = quantity * (model.unit_amount / per)
    return [Step("unit", quantity, model.unit_amount, amount, per)]


def _tier_step(
    kind: str, tier: Tier, *, units: Decimal, per: int, floor: Decimal
) -> Step:
    """Price units at one tier, with the flat amount for entering it."""
    size = Decimal(per)
    amount = units * (tier.unit_amount / size) + tier.flat_amount
    return Step(
        kind,
        units,
        tier.unit_amount,
        amount,
        size,
        tier.flat_amount,
        floor,
        tier.up_to,
    )


def _graduated(model: Graduated, quantity: Decimal) -> list[Step]:
    """Price each unit in its tier; the first tier is entered at zero units."""
    steps = []
    floor = ZERO
    for tier in model.tiers:
        last = tier.up_to is None or quantity <= tier.up_to
        top = quantity if tier.up_to is None else min(quantity, tier.up_to)
        steps.append(
            _tier_step("tier", tier, units=top - floor, per=model.per, floor=floor)
        )
        if last or tier.up_to is None:
            break
        floor = tier.up_to
    return steps


def _volume(model: Volume, quantity: Decimal) -> list[Step]:
    """Price all units at the tier reached; zero units reach the first."""
    floor = ZERO
    for tier in model.tiers:
        if tier.up_to is None or quantity <= tier.up_to:
            return [
                _tier_step("volume", tier, units=quantity, per=model.per, floor=floor)
            ]
        floor = tier.up_to
    raise AssertionError("the last tier is unbounded")


def _package(model: Package, quantity: Decimal) -> list[Step]:
    """Price the started packages; tiers are chosen by their number."""
    packages = started(quantity, model.size)
    return [
        step._replace(kind=_PACKAGED[step.kind], per=model.size)
        for step in _exact(model.price, packages)
    ]


_PACKAGED = {"unit": "package", "tier": "package_tier", "volume": "package_volume"}


def _percentage(model: Percentage, quantity: Decimal) -> list[Step]:
    """Price a sum of money of which only the sum matters."""
    free = ZERO if model.free_amount is None else min(quantity, model.free_amount)
    paid = quantity - free
    steps = [Step("free", free, ZERO, ZERO)] if free else []
    steps.append(Step("percent", paid, model.rate, paid * (model.rate / HUNDRED)))
    return steps


def _included(model: Included, quantity: Decimal) -> list[Step]:
    """Price what goes beyond the included units."""
    free = min(quantity, model.units)
    steps = [Step("included", free, ZERO, ZERO, up_to=model.units)] if free else []
    return steps + _exact(model.overage, quantity - free)


def segments(model: Model) -> tuple[Segment, ...]:
    """Return the straight pieces of a model's price, from zero up.

    Empty where the price moves in jumps (packages) or not by quantity (flat).
    """
    match model:
        case PerUnit():
            tier = Tier(None, model.unit_amount, ZERO)
            return _pieces((tier,), model.per, "unit", running=True)
        case Graduated():
            return _pieces(model.tiers, model.per, "tier", running=True)
        case Volume():
            return _pieces(model.tiers, model.per, "volume", running=False)
        case Percentage():
            return _percentage_segments(model)
        case Included():
            return _included_segments(model)
        case Package() | Flat() | Dimensions() | Compound() | Recipe():
            return ()


def _pieces(
    tiers: tuple[Tier, ...], per: int, kind: str, *, running: bool
) -> tuple[Segment, ...]:
    """Return a piece per tier; running: the tiers below are paid at their prices."""
    pieces = []
    above, floor, below = _BEFORE_ZERO, ZERO, ZERO
    for tier in tiers:
        slope = tier.unit_amount / Decimal(per)
        base = below + tier.flat_amount - floor * slope if running else tier.flat_amount
        step = Step(
            kind,
            ZERO,
            tier.unit_amount,
            ZERO,
            Decimal(per),
            ZERO,
            floor,
            tier.up_to,
        )
        pieces.append(Segment(above, tier.up_to, slope, base, step))
        if tier.up_to is not None:
            below = base + tier.up_to * slope
            above = floor = tier.up_to
    return tuple(pieces)


def _percentage_segments(model: Percentage) -> tuple[Segment, ...]:
    """Return the free piece, if any, and the paid one."""
    slope = model.rate / HUNDRED
    percent = Step("percent", ZERO, model.rate, ZERO)
    free = model.free_amount
    if free is None:
        return (Segment(_BEFORE_ZERO, None, slope, ZERO, percent),)
    return (
        Segment(_BEFORE_ZERO, free, ZERO, ZERO, Step("free", ZERO, ZERO, ZERO)),
        Segment(free, None, slope, -free * slope, percent),
    )


def _included_segments(model: Included) -> tuple[Segment, ...]:
    """Return the included piece, then the overage's pieces moved behind it."""
    inner = segments(model.overage)
    if not inner:
        return ()
    units = model.units
    start = inner[0].intercept  # What zero units of overage cost: a first flat amount.
    step = Step("included", ZERO, ZERO, ZERO, up_to=units)
    pieces = [Segment(_BEFORE_ZERO, units, ZERO, start, step)]
    for piece in inner:
        pieces.append(
            replace(
                piece,
                above=max(piece.above, ZERO) + units,
                up_to=None if piece.up_to is None else piece.up_to + units,
                intercept=piece.intercept - units * piece.slope,
            )
        )
    return tuple(pieces)
