"""One charge of a plan: its meter, its price, its discount, minimum and maximum.

Order inside a charge: the model's price, then the discount, then the maximum. Both are
functions of the period's price, so what an event adds stays a difference. A minimum is
made up for when the period ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from catalog.pricing.agentic import Compound, Dimensions, Recipe
from catalog.pricing.compound import CompoundMeter
from catalog.pricing.curves import breakdown
from catalog.pricing.dimensions import DimensionMeter, period_line
from catalog.pricing.exact import HUNDRED, ZERO, q12
from catalog.pricing.fees import fee_quantity, fee_steps, walk
from catalog.pricing.lines import Line, Step, amount_of, difference
from catalog.pricing.meters import FeeMeter, Meter, Part, SumMeter, TallyMeter
from catalog.pricing.outcomes import overage_step
from catalog.pricing.plan import Aggregation, Charge, Percentage, Window
from catalog.pricing.recipes import RecipeMeter, recipe_line
from catalog.pricing.state import (
    NO_FEES,
    NO_TALLY,
    ChargeState,
    Fees,
    PlanState,
    Tally,
    quantity_of,
)
from catalog.pricing.usage import UsageEvent
from catalog.pricing.windows import WindowMeter, windows_line


def is_adjusted(charge: Charge) -> bool:
    """Tell whether the charge has a discount or a maximum."""
    return bool(charge.discount) or charge.maximum is not None


def adjustments(charge: Charge, gross: Decimal) -> tuple[Step, ...]:
    """Return what discount and maximum take off a period's price."""
    steps = []
    if charge.discount and gross:
        off = q12(gross * (charge.discount / HUNDRED))
        steps.append(Step("charge_discount", gross, charge.discount, -off))
        gross -= off
    if charge.maximum is not None and gross > charge.maximum:
        more = charge.maximum - gross
        steps.append(Step("charge_maximum", ZERO, charge.maximum, more))
    return tuple(steps)


def adjusted(charge: Charge, line: Line | None) -> Line | None:
    """Return a period's line with the charge's discount and maximum."""
    if line is None or not is_adjusted(charge):
        return line
    steps = adjustments(charge, line.amount)
    return line._replace(
        amount=line.amount + amount_of(steps), steps=line.steps + steps
    )


class AdjustedMeter:
    """A meter whose charge has a discount or a maximum."""

    __slots__ = ("charge", "gross", "inner", "steps")

    def __init__(self, part: Part, before: PlanState) -> None:
        self.charge = part.charge
        self.inner = _plain_meter(part, before)
        state = before.get(part.charge.key)
        line = _plain_line(part.whole, part.currency, state)
        self.gross = line.amount if line else ZERO
        self.steps = adjustments(self.charge, self.gross)

    def stage(self, value: Decimal | str, event: UsageEvent) -> None:
        """Take a value for the next commit."""
        self.inner.stage(value, event)

    def commit(self) -> Line | None:
        """Add the staged value."""
        return self._adjust(self.inner.commit())

    def close(self, session: str) -> Line | None:
        """End a session."""
        assert isinstance(self.inner, DimensionMeter)
        return self._adjust(self.inner.close(session))

    def _adjust(self, line: Line | None) -> Line | None:
        """Return a difference in price with the difference in what is taken off."""
        if line is None:
            return None
        self.gross += line.amount
        before, self.steps = self.steps, adjustments(self.charge, self.gross)
        if not before and not self.steps:
            return line
        changed = difference(after=self.steps or before, before=before)
        if not self.steps:
            changed = tuple(step._replace(amount=-step.amount) for step in before)
        amount = line.amount + amount_of(self.steps) - amount_of(before)
        if not line.quantity and not amount:
            return None
        return line._replace(amount=amount, steps=line.steps + changed)

    def state(self) -> ChargeState:
        """Return the usage so far."""
        return self.inner.state()


def open_meter(part: Part, before: PlanState) -> Meter:
    """Return a meter of the charge that continues from a period's usage."""
    if is_adjusted(part.charge):
        return AdjustedMeter(part, before)
    return _plain_meter(part, before)


def group_states(meter: Meter) -> Mapping[str, ChargeState]:
    """Return the states of the sessions or correlations that a meter touched."""
    inner = meter.inner if isinstance(meter, AdjustedMeter) else meter
    if isinstance(inner, DimensionMeter | CompoundMeter | WindowMeter):
        return inner.group_states()
    return {}


def total_line(charge: Charge, currency: str, state: ChargeState | None) -> Line | None:
    """Return what a period's usage of one metered charge costs so far."""
    return adjusted(charge, _plain_line(charge, currency, state))


def true_up(
    charge: Charge,
    currency: str,
    line: Line | None,
    share: Callable[[Decimal], Decimal],
) -> Line | None:
    """Return what a period's price falls short of the charge's minimum.

    `share` gives the part of the minimum that is due for a part of the period.
    """
    if charge.minimum is None:
        return None
    least = share(charge.minimum)
    missing = least - (line.amount if line else ZERO)
    if missing <= ZERO:
        return None
    step = Step("charge_minimum", ZERO, least, missing)
    return Line(charge.key, charge.name, ZERO, missing, charge.unit, currency, (step,))


def _plain_meter(part: Part, before: PlanState) -> Meter:
    """Return a meter of the charge before its discount and maximum."""
    charge = part.charge
    assert charge.metric is not None
    if isinstance(charge.model, Dimensions):
        return DimensionMeter(charge, part.currency, before)
    if part.compound is not None:
        return CompoundMeter(part, part.compound, before)
    if isinstance(part.whole.model, Recipe):
        return RecipeMeter(part, part.whole.model, before)
    if is_windowed(charge):
        return WindowMeter(part, before)
    state = before.get(charge.key)
    if is_fee(charge):
        fees = NO_FEES if state is None else state
        assert isinstance(fees, Fees)
        return FeeMeter(part, fees)
    tally = NO_TALLY if state is None else state
    assert isinstance(tally, Tally)
    if charge.metric.aggregation in (Aggregation.COUNT, Aggregation.SUM):
        return SumMeter(part, tally)
    return TallyMeter(part, tally)


def is_fee(charge: Charge) -> bool:
    """Tell whether the charge's price needs every single event."""
    return isinstance(charge.model, Percentage) and not charge.model.is_linear


def is_windowed(charge: Charge) -> bool:
    """Tell whether the charge prices each window by itself."""
    return charge.metric is not None and charge.metric.window is not Window.PERIOD


def _plain_line(
    charge: Charge, currency: str, state: ChargeState | None
) -> Line | None:
    """Return what a period's usage costs so far before discount and maximum."""
    metric = charge.metric
    assert metric is not None
    if isinstance(charge.model, Dimensions):
        return period_line(charge, currency, state)
    if isinstance(charge.model, Recipe):
        return recipe_line(charge, currency, state)
    if is_windowed(charge):
        return windows_line(charge, currency, state)
    budget = None
    if isinstance(charge.model, Compound):
        budget = charge.model.budget
        charge = replace(charge, model=charge.model.price)
    if is_fee(charge):
        assert isinstance(charge.model, Percentage)
        fees = NO_FEES if state is None else state
        assert isinstance(fees, Fees)
        paid = walk(charge.model, fees.first)
        quantity = fee_quantity(fees, paid)
        steps = fee_steps(charge.model, fees, paid)
    else:
        tally = NO_TALLY if state is None else state
        assert isinstance(tally, Tally)
        quantity = quantity_of(metric.aggregation, tally)
        steps = breakdown(charge.model, quantity)
        if budget is not None and tally.beyond:
            steps = (*steps, overage_step(budget, tally.beyond))
    amount = amount_of(steps)
    if not quantity and not amount:
        return None
    kept = tuple(step for step in steps if step.quantity or step.amount)
    return Line(charge.key, charge.name, quantity, amount, charge.unit, currency, kept)
