"""Usage that somebody supposes: the state of a period from typed quantities."""

from __future__ import annotations

import decimal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from aforo.lib.money import QUANTUM
from catalog.pricing import recipes
from catalog.pricing.agentic import Dimensions, Recipe
from catalog.pricing.charges import is_fee, is_windowed
from catalog.pricing.dimensions import dims_of, labels_of
from catalog.pricing.exact import EXACT, ONE, ZERO, check_quantity
from catalog.pricing.fees import bounds
from catalog.pricing.meters import UNIQUE_MAX
from catalog.pricing.plan import (
    Aggregation,
    Charge,
    Filter,
    Metric,
    Percentage,
    Plan,
    Window,
)
from catalog.pricing.program import program_of
from catalog.pricing.state import ChargeState, Fees, First, Tally
from catalog.pricing.windows import shared

# When nobody says when: all supposed events happen at once.
_ONCE = datetime(2000, 1, 1, tzinfo=UTC)
_ADDITIVE = (Aggregation.COUNT, Aggregation.SUM)


class Supposed(NamedTuple):
    """A quantity of a metric, of events that pass a filter."""

    metric: Metric
    filter: Filter
    quantity: Decimal
    # Alike in size; of importance to fees per event, and as the number of windows.
    events: int = 1
    # What of a charge by dimensions or a recipe; see their labels_of.
    label: str = ""


def suppose(plan: Plan, usage: Sequence[Supposed]) -> dict[str, ChargeState]:
    """Return the state of a period in which a plan's charges counted this.

    Each quantity goes to the charge that real events of its kind would touch; what
    no charge prices is left out. Raises decimal.Inexact or InvalidOperation for a
    quantity that rating would refuse.
    """
    with decimal.localcontext(EXACT):
        counted: dict[int, Supposed] = {}
        labels: dict[int, dict[str, Decimal]] = {}
        for part in usage:
            check_quantity(part.quantity)
            index = touched(plan, part.metric, part.filter)
            if index is None:
                continue
            if part.label:
                own = labels.setdefault(index, {})
                own[part.label] = own.get(part.label, ZERO) + part.quantity
            else:
                counted[index] = _together(counted.get(index), part)
        state = {
            plan.charges[index].key: _state(plan.charges[index], part)
            for index, part in counted.items()
        }
        for index, quantities in labels.items():
            charge = plan.charges[index]
            state[charge.key] = _labelled(charge, quantities)
        return state


def _labelled(charge: Charge, quantities: Mapping[str, Decimal]) -> ChargeState:
    """Return what a charge remembers that counts several things; others are left."""
    if isinstance(charge.model, Recipe):
        return recipes.weighed_of(charge.model, quantities)
    assert isinstance(charge.model, Dimensions)
    known = set(labels_of(charge.model))
    kept = {label: q for label, q in quantities.items() if label in known}
    return dims_of(charge.model, kept)


def touched(plan: Plan, metric: Metric, conditions: Filter) -> int | None:
    """Return which charge prices a metric for events that pass a filter."""
    kind = min(metric.event_types, default="")
    properties = {name: min(allowed) for name, allowed in conditions.conditions}
    for route in program_of(plan).routes(kind, properties):
        if route.metric.key == metric.key:
            return route.index
    return None


def _together(before: Supposed | None, part: Supposed) -> Supposed:
    """Return two quantities of one charge as one: a sum, or the larger."""
    if before is None:
        return part
    if part.metric.aggregation in _ADDITIVE:
        quantity = before.quantity + part.quantity
    else:
        quantity = max(before.quantity, part.quantity)
    events = before.events + part.events
    if part.metric.window not in (Window.PERIOD, Window.EVENT):
        # Of the same days, hours or sessions.
        events = max(before.events, part.events)
    return part._replace(quantity=quantity, events=events)


def _state(charge: Charge, part: Supposed) -> ChargeState:
    """Return what a charge remembers of the quantity."""
    if is_windowed(charge):
        return shared(charge, part.quantity, part.events)
    if is_fee(charge):
        assert isinstance(charge.model, Percentage)
        return _fees(charge.model, part)
    if part.metric.aggregation is Aggregation.UNIQUE:
        distinct = min(int(part.quantity), UNIQUE_MAX)
        seen = frozenset(str(number) for number in range(distinct))
        return Tally(part.events, ZERO, None, seen)
    # An average of one value is that value.
    return Tally(1, part.quantity)


def _fees(model: Percentage, part: Supposed) -> Fees:
    """Return the fees of events alike; the last one carries what does not divide."""
    count = max(1, part.events)
    each = part.quantity // (QUANTUM * count) * QUANTUM
    rest = part.quantity - each * (count - 1)
    free = min(model.free_events or 0, count)
    first = tuple(
        First(_ONCE, f"{number:09}", rest if number == count - 1 else each)
        for number in range(free)
    )
    paid = count - free
    if not paid:
        return Fees(first, 0, ZERO, ZERO, ZERO)
    up, down = bounds(model, each)
    last_up, last_down = bounds(model, rest)
    others = Decimal(paid) - ONE
    return Fees(
        first,
        paid,
        each * others + rest,
        up * others + last_up,
        down * others + last_down,
    )
