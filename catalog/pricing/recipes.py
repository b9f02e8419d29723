"""Recipes: meters of an event become units, such as credits, and units have a price.

The units of an event depend on the event alone, and a period's units are their sum; so
the price of a period is free of the order of its events. Sums of the meters are kept
beside the units: with them a line says what is underneath its one price. What an event
that comes to no units used is not kept.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import NamedTuple

from aforo.lib.money import PLACES, QUANTUM, plain
from catalog.pricing.agentic import Recipe, Rounding, Weight
from catalog.pricing.curves import breakdown
from catalog.pricing.exact import (
    HUNDRED,
    ONE,
    QUANTITY_LIMIT,
    ZERO,
    check_quantity,
    fit_quantity,
    places,
)
from catalog.pricing.lines import Line, Step, amount_of
from catalog.pricing.meters import Part, Pricer
from catalog.pricing.plan import Charge
from catalog.pricing.state import (
    NO_WEIGHED,
    ChargeState,
    PlanState,
    Weighed,
)
from catalog.pricing.usage import Reason, Refused, UsageEvent

# The steps of a line that say what its units are made of: their amount is nothing, and
# only the seller sees them. `recipe:` is followed by the measurement.
UNDERNEATH = "recipe"
METER, COST, MARKUP = "recipe:", "recipe_cost", "recipe_markup"
ROUNDED, RAISED = "recipe_rounding", "recipe_minimum"
# Supposed usage: how much of a meter, in how many events.
EVENTS = "weighed"
_MODES = {
    Rounding.UP: ROUND_CEILING,
    Rounding.HALF_UP: ROUND_HALF_UP,
    Rounding.DOWN: ROUND_DOWN,
}
# Rounding is the one operation of a recipe that may lose digits.
_ROUNDING = decimal.Context(
    prec=60, traps=[decimal.InvalidOperation, decimal.FloatOperation]
)


class Units(NamedTuple):
    """What one event comes to."""

    units: Decimal  # With markup, rounding and minimum.
    raised: Decimal  # The part of them that only the minimum added.
    meters: Mapping[str, Decimal]  # What was weighed; empty text: our cost.


NO_UNITS = Units(ZERO, ZERO, {})


def is_underneath(kind: str) -> bool:
    """Tell whether a step says what units are made of: never for customers."""
    return kind.startswith(UNDERNEATH)


def meter_words(measurement: str) -> str:
    """Return a weighed meter in words."""
    return measurement.replace("_", " ") if measurement else "our cost"


def share_of(weight: Weight) -> Decimal:
    """Return the units of one of a meter, before markup."""
    return weight.amount / Decimal(weight.per)


def factor(model: Recipe, weight: Weight) -> Decimal:
    """Return the units of one of a meter, with the markup."""
    with decimal.localcontext(_ROUNDING):
        return share_of(weight) * markup_of(model)


def markup_of(model: Recipe) -> Decimal:
    """Return what the markup multiplies units by."""
    return ONE + model.markup / HUNDRED


def units_of(model: Recipe, event: UsageEvent) -> Units:
    """Return what an event comes to.

    Raises Refused for a cost that is not known, a negative quantity, or units that are
    too large or would lose digits; decimal.Inexact for a quantity that is not exact.
    """
    meters = {}
    for weight in model.weights:
        name = weight.measurement
        value = event.measurements.get(name) if name else event.cost
        if value is None:
            if name:
                continue
            raise Refused(Reason.UNKNOWN_COST, "the cost of the event is unknown")
        if value < ZERO:
            raise Refused(
                Reason.NEGATIVE_QUANTITY,
                f"{plain(value)} {meter_words(name)} is negative",
            )
        check_quantity(value)
        if value:
            meters[name] = value
    return weigh(model, meters)


def weigh(model: Recipe, meters: Mapping[str, Decimal]) -> Units:
    """Return what the meters of one event come to; raises Refused."""
    exact = ZERO
    markup = markup_of(model)
    for weight in model.weights:
        value = meters.get(weight.measurement)
        if value is None:
            continue
        # First the two that are short: their product has 12 places.
        part = value * (share_of(weight) * markup)
        if part >= QUANTITY_LIMIT:
            detail = f"it weighs {plain(part)} units, of {QUANTITY_LIMIT:,} at most"
            raise Refused(Reason.NUMBER_OUT_OF_RANGE, detail)
        exact += part
    if not exact:
        return NO_UNITS
    units = exact
    if model.rounding is not None:
        mode = _MODES[model.rounding]
        units = exact.quantize(ONE.scaleb(-model.decimals), mode, _ROUNDING)
    elif places(exact, per=1) > PLACES:
        detail = (
            f"it weighs {plain(exact)} units, with more than {PLACES} decimal places:"
            " the recipe needs a rounding"
        )
        raise Refused(Reason.TOO_PRECISE, detail)
    raised = ZERO
    if model.minimum is not None and units < model.minimum:
        raised = model.minimum - units
        units = model.minimum
    return Units(units, raised, meters) if units else NO_UNITS


def steps_underneath(
    model: Recipe, *, units: Decimal, raised: Decimal, meters: Mapping[str, Decimal]
) -> Iterator[Step]:
    """Yield what units are made of; what the steps come to adds up to the units.

    See `units_of_step`.
    """
    plain_units = marked = ZERO
    markup = markup_of(model)
    for weight in model.weights:
        used = meters.get(weight.measurement)
        if used:
            plain_units += used * share_of(weight)
            marked += used * (share_of(weight) * markup)
            kind = METER + weight.measurement if weight.measurement else COST
            yield Step(kind, used, weight.amount, ZERO, Decimal(weight.per))
    if model.markup and plain_units:
        yield Step(MARKUP, plain_units, model.markup, ZERO, HUNDRED)
    if rounded := units - raised - marked:
        yield Step(ROUNDED, rounded, ONE, ZERO)
    if raised:
        yield Step(RAISED, raised, model.minimum or ZERO, ZERO)


def units_of_step(step: Step) -> Decimal:
    """Return how many units a step underneath a line stands for."""
    if step.kind in (ROUNDED, RAISED):
        return step.quantity
    with decimal.localcontext(_ROUNDING):
        return step.quantity * step.unit_amount / step.per


def recipe_line(
    charge: Charge, currency: str, state: ChargeState | None
) -> Line | None:
    """Return what a period's units cost so far, with what they are made of."""
    assert isinstance(charge.model, Recipe)
    used = NO_WEIGHED if state is None else state
    assert isinstance(used, Weighed)
    steps = breakdown(charge.model.price, used.units)
    amount = amount_of(steps)
    if not used.units and not amount:
        return None
    below = steps_underneath(
        charge.model, units=used.units, raised=used.raised, meters=used.meters
    )
    kept = (*below, *(step for step in steps if step.quantity or step.amount))
    return Line(
        charge.key, charge.name, used.units, amount, charge.unit, currency, kept
    )


class RecipeMeter:
    """Adds up the units of events and prices them."""

    __slots__ = ("model", "next", "pricer", "weighed")

    def __init__(self, part: Part, model: Recipe, before: PlanState) -> None:
        weighed = before.get(part.charge.key, NO_WEIGHED)
        assert isinstance(weighed, Weighed)
        self.model, self.weighed = model, weighed
        self.pricer = Pricer(part, weighed.units)
        self.next: tuple[Weighed, Units] = (weighed, NO_UNITS)

    def stage(self, value: Decimal | str, event: UsageEvent) -> None:
        """Take an event and turn its meters into units."""
        found = units_of(self.model, event)
        if not found.units:
            self.next = (self.weighed, found)
            return
        self.next = (added(self.weighed, found), found)

    def commit(self) -> Line | None:
        """Add the staged event's units."""
        self.weighed, found = self.next
        if not found.units:
            return None
        line = self.pricer.move(self.weighed.units)
        if line is None:
            return None
        below = steps_underneath(
            self.model, units=found.units, raised=found.raised, meters=found.meters
        )
        return line._replace(steps=(*below, *line.steps))

    def state(self) -> ChargeState:
        """Return the units and meters so far."""
        return self.weighed


def added(before: Weighed, more: Units) -> Weighed:
    """Return sums with one event more; raises where they do not fit."""
    units, raised = before.units + more.units, before.raised + more.raised
    meters = dict(before.meters)
    for name, value in more.meters.items():
        meters[name] = meters.get(name, ZERO) + value
    for sum_ in (units, *meters.values()):
        fit_quantity(sum_, QUANTUM)
    return Weighed(before.count + 1, units, raised, meters)


def labels_of(model: Recipe) -> list[str]:
    """Return all that a recipe counts: meters, and events where these matter."""
    labels = [
        METER + weight.measurement if weight.measurement else COST
        for weight in model.weights
    ]
    counts = model.rounding is not None or model.minimum is not None
    return labels + [EVENTS] * counts


def quantities_of(state: Weighed) -> dict[str, Decimal]:
    """Return what a period used, by label."""
    used = {
        METER + name if name else COST: value for name, value in state.meters.items()
    }
    return used | {EVENTS: Decimal(state.count)}


def weighed_of(model: Recipe, quantities: Mapping[str, Decimal]) -> Weighed:
    """Return the state of a period that used so much of each label.

    Events share the meters evenly; the last one has what does not divide. Raises
    decimal.InvalidOperation for units that rating would refuse.
    """
    count = max(1, int(quantities.get(EVENTS, ONE)))
    each, last = {}, {}
    for weight in model.weights:
        name = weight.measurement
        used = quantities.get(METER + name if name else COST, ZERO)
        if used:
            each[name] = used // (QUANTUM * count) * QUANTUM
            last[name] = used - each[name] * (count - 1)
    try:
        first, rest = weigh(model, each), weigh(model, last)
    except Refused as refusal:
        raise decimal.InvalidOperation(refusal.detail) from refusal
    state = NO_WEIGHED
    if count > 1 and first.units:
        many = Decimal(count - 1)
        meters = {name: value * many for name, value in each.items() if value}
        whole = Units(first.units * many, first.raised * many, meters)
        state = added(state, whole)
        state = Weighed(count - 1, state.units, state.raised, state.meters)
    return added(state, rest) if rest.units else state
