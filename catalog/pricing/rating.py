"""Rating: what an event adds to a period's price, and what a period costs.

The price of a period depends only on its state, never on the order of events; what
an event costs is the difference of two prices, each rounded to 12 places, so the
lines of all events sum to the price of the period exactly.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from aforo.lib.memory import uncollected
from catalog.pricing.agentic import Compound, Dimensions
from catalog.pricing.charges import (
    AdjustedMeter,
    adjusted,
    group_states,
    is_windowed,
    open_meter,
    total_line,
    true_up,
)
from catalog.pricing.curves import breakdown
from catalog.pricing.dimensions import DimensionMeter
from catalog.pricing.exact import EXACT, ONE, QUANTITY_LIMIT, read
from catalog.pricing.lines import Line, amount_of
from catalog.pricing.meters import Meter
from catalog.pricing.outcomes import group_of_event
from catalog.pricing.plan import Aggregation, Charge, Due, Flat, Metric, Plan, Source
from catalog.pricing.program import Program, program_of
from catalog.pricing.state import (
    NO_DIMS,
    NO_FEES,
    NO_TALLY,
    NO_WEIGHED,
    NO_WINDOWS,
    PlanState,
    group_key,
)
from catalog.pricing.terms import plan_lines
from catalog.pricing.usage import Reason, Refused, Unrateable, UsageEvent
from catalog.pricing.windows import window_of

Outcome = tuple[Line, ...] | Unrateable
_TOO_LARGE = f"a quantity is no number below {QUANTITY_LIMIT:,}"
# A meter that was opened for an event that was then refused.
_NOTHING = (NO_TALLY, NO_FEES, NO_DIMS, NO_WEIGHED, NO_WINDOWS)


@dataclass(frozen=True, slots=True)
class Rated:
    """What one event costs, and the usage with it."""

    lines: tuple[Line, ...]
    after: PlanState
    unrateable: Unrateable | None  # Then no line and the usage as it was.


def rate(plan: Plan, before: PlanState, event: UsageEvent) -> Rated:
    """Price one event on top of the period's usage so far."""
    (outcome,), after = rate_many(plan, before, (event,))
    if isinstance(outcome, Unrateable):
        return Rated((), before, outcome)
    return Rated(outcome, after, None)


def rate_many(
    plan: Plan,
    before: PlanState,
    events: Iterable[UsageEvent],
    outcomes: list[Outcome] | None = None,
) -> tuple[list[Outcome], PlanState]:
    """Price events one after another: an outcome per event, and the usage after all.

    An event that cannot be priced leaves the usage as it was; the others go on. The
    outcomes go to a list of the caller, if there is one, before the next event is
    asked for: so that event can depend on them.
    """
    program = program_of(plan)
    meters: dict[int, Meter] = {}
    outcomes = [] if outcomes is None else outcomes
    with decimal.localcontext(EXACT), uncollected():
        for event in events:
            touched = _stage(program, meters, before, event)
            if isinstance(touched, Unrateable):
                outcomes.append(touched)
                continue
            lines = [meter.commit() for meter in touched]
            outcomes.append(tuple([line for line in lines if line is not None]))
        return outcomes, _after(plan, before, meters)


def _after(plan: Plan, before: PlanState, meters: Mapping[int, Meter]) -> PlanState:
    """Return the usage with what the meters have."""
    after = dict(before)
    for index, meter in meters.items():
        state = meter.state()
        if state not in _NOTHING:
            after[plan.charges[index].key] = state
        after.update(group_states(meter))
    return after


def groups_of(plan: Plan, events: Iterable[UsageEvent]) -> set[str]:
    """Return where the state has the groups of events, for charges that look at them.

    `rate` needs these of a period's state, beside the charges' own.
    """
    looking = [
        charge
        for charge in plan.charges
        if isinstance(charge.model, Dimensions | Compound) or is_windowed(charge)
    ]
    keys = set()
    for event in events if looking else ():
        for charge in looking:
            model = charge.model
            group = ""
            if isinstance(model, Compound):
                group = group_of_event(model, event)
            elif isinstance(model, Dimensions) and model.needs_sessions:
                group = event.session
            elif charge.metric is not None:
                group = window_of(charge.metric.window, event)
            if group:
                keys.add(group_key(charge.key, group))
    return keys


def close_sessions(
    plan: Plan, before: PlanState, sessions: Iterable[str]
) -> tuple[dict[str, tuple[Line, ...]], PlanState]:
    """Price the end of sessions: the lines that each one's errors add, if any.

    Closing one again, or one that used nothing, changes nothing.
    """
    lines: dict[str, tuple[Line, ...]] = {}
    with decimal.localcontext(EXACT):
        program = program_of(plan)
        meters: dict[int, Meter] = {
            index: open_meter(part, before)
            for index, part in enumerate(program.parts)
            if part is not None
            and isinstance(part.charge.model, Dimensions)
            and part.charge.model.penalty
        }
        for session in sessions:
            found = [
                meter.close(session)
                for meter in meters.values()
                if isinstance(meter, DimensionMeter | AdjustedMeter)
            ]
            added = tuple(line for line in found if line is not None)
            if added:
                lines[session] = added
        return lines, _after(plan, before, meters)


def _stage(
    program: Program, meters: dict[int, Meter], before: PlanState, event: UsageEvent
) -> list[Meter] | Unrateable:
    """Offer an event to the charges that it touches; open their meters on the way."""
    touched = []
    key = ""
    value: Decimal | str | None = None
    measured = event.measurements.get
    try:
        for route in program.routes(event.event_type, event.properties):
            key = route.charge_key
            if route.measurement is not None:
                value = measured(route.measurement)
            else:
                value = _value(route.metric, event)
            if value is None:
                continue
            meter = meters.get(route.index)
            if meter is None:
                part = program.parts[route.index]
                assert part is not None
                meter = meters[route.index] = open_meter(part, before)
            meter.stage(value, event)
            touched.append(meter)
    except Refused as refusal:
        return Unrateable(refusal.reason, key, refusal.detail)
    except decimal.Inexact:
        # A number too large for the sum is inexact too, before its size is checked.
        if not isinstance(value, Decimal) or value < QUANTITY_LIMIT:
            detail = "a quantity has more than 12 decimal places"
            return Unrateable(Reason.TOO_PRECISE, key, detail)
        return Unrateable(Reason.NUMBER_OUT_OF_RANGE, key, _TOO_LARGE)
    except decimal.InvalidOperation:
        return Unrateable(Reason.NUMBER_OUT_OF_RANGE, key, _TOO_LARGE)
    return touched


def _value(metric: Metric, event: UsageEvent) -> Decimal | str | None:
    """Return what a metric reads in an event, or None when it is not there."""
    value: Decimal | str | None
    match metric.source:
        case Source.EVENT:
            return ONE
        case Source.MEASUREMENT:
            value = event.measurements.get(metric.field)
        case Source.PROPERTY:
            value = event.properties.get(metric.field)
        case Source.COGS:
            value = event.cost
            if value is None:
                raise Refused(Reason.UNKNOWN_COST, "the cost of the event is unknown")
    if value is None or metric.aggregation is Aggregation.UNIQUE:
        return value
    if metric.aggregation is Aggregation.COUNT:
        return ONE
    if isinstance(value, str):
        number = read(value)
        if number is None:
            detail = f"the property {metric.field} is not a number"
            raise Refused(Reason.INVALID_PROPERTY, detail)
        return number
    return value


def price(plan: Plan, state: PlanState) -> tuple[Line, ...]:
    """Price a period so far: what its opening and its usage come to."""
    with decimal.localcontext(EXACT):
        lines = []
        for charge in plan.charges:
            if isinstance(charge.model, Flat):
                line = _flat_line(charge, plan.currency, Due.ADVANCE)
            else:
                line = total_line(charge, plan.currency, state.get(charge.key))
            if line is not None:
                lines.append(line)
        return tuple(lines)


def opening(plan: Plan) -> tuple[Line, ...]:
    """Return what is due when a period opens: flat amounts, also of first tiers."""
    return price(plan, {})


def taken_back(plan: Plan, state: PlanState) -> tuple[Line, ...]:
    """Return the opening's lines whose flat amount usage has taken back.

    A volume price that leaves its first tier no longer has that tier's flat amount: the
    event that does so carries it as a negative part.
    """
    left = {line.charge_key: line for line in price(plan, state)}
    return tuple(
        line
        for line in opening(plan)
        if (flats := _flats(line)) and not flats <= _flats(left.get(line.charge_key))
    )


def _flats(line: Line | None) -> set[tuple[str, Decimal]]:
    """Return the tiers whose flat amount is part of a line, by kind and floor."""
    steps = line.steps if line else ()
    return {(step.kind, step.floor) for step in steps if step.flat_amount}


def closing(plan: Plan, state: PlanState) -> tuple[Line, ...]:
    """Return what is due when a period ends, beside its usage."""
    lines = [_flat_line(charge, plan.currency, Due.ARREARS) for charge in plan.charges]
    return tuple(line for line in lines if line is not None)


def collect(plan: Plan, events: Iterable[UsageEvent]) -> PlanState:
    """Return the usage of a period's events; what cannot be priced is left out."""
    return rate_many(plan, {}, events)[1]


def total(
    plan: Plan,
    usage: PlanState | Iterable[UsageEvent],
    *,
    starts_on: date | None = None,
) -> tuple[Line, ...]:
    """Price a whole period from its usage or its events: opening, usage, closing.

    `starts_on` is the day on which the period starts; a plan with dated discounts has
    no price without it.
    """
    state = usage if isinstance(usage, Mapping) else collect(plan, usage)
    lines = price(plan, state) + closing(plan, state) + true_ups(plan, state)
    return lines + plan_lines(plan, lines, starts_on)


def true_ups(
    plan: Plan,
    state: PlanState,
    share: Callable[[Decimal], Decimal] = lambda amount: amount,
) -> tuple[Line, ...]:
    """Return what a period falls short of its charges' minimums, when it ends.

    `share` gives the part of an amount that is due for a part of the period.
    """
    with decimal.localcontext(EXACT):
        found = [
            true_up(
                charge,
                plan.currency,
                total_line(charge, plan.currency, state.get(charge.key)),
                share,
            )
            for charge in plan.charges
            if charge.minimum is not None
        ]
        return tuple(line for line in found if line is not None)


def _flat_line(charge: Charge, currency: str, due: Due) -> Line | None:
    """Return the line of a flat amount that is due then."""
    model = charge.model
    if not isinstance(model, Flat) or model.due is not due or not model.amount:
        return None
    with decimal.localcontext(EXACT):
        steps = breakdown(model, ONE)
        amount = amount_of(steps)
        line = Line(charge.key, charge.name, ONE, amount, charge.unit, currency, steps)
        return adjusted(charge, line)
