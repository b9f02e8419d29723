"""The law of corrections on pricing state: what was taken out was never there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    Line,
    PlanState,
    UsageEvent,
    collect,
    opening,
    parse_plan,
    price,
    rate,
    state_to_json,
)
from catalog.pricing.removal import without
from catalog.tests.pricing_kit import amounts, charge, event, plan_of
from catalog.tests.pricing_shadow import shadow_total
from catalog.tests.test_pricing_laws import plans, usage

ZERO = Decimal(0)
# Which event to take out next, and how many to add before that.
STEPS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=8)


def _added(ledger: dict[str, Decimal], lines: tuple[Line, ...], sign: int = 1) -> None:
    """Add lines to the sums of a ledger."""
    for line in lines:
        before = ledger.get(line.charge_key, ZERO)
        ledger[line.charge_key] = before + sign * line.amount


@given(plans(), usage(), STEPS)
def test_the_ledger_sums_to_the_price_of_the_events_that_are_left(
    data: dict[str, Any], events: list[UsageEvent], steps: list[tuple[int, int]]
) -> None:
    """Voids between events, in any order, against a second opinion by fractions."""
    plan = parse_plan(data)
    ledger: dict[str, Decimal] = {}
    _added(ledger, opening(plan))
    state: PlanState = {}
    there: list[tuple[UsageEvent, tuple[Line, ...]]] = []
    waiting = list(events)

    def add(count: int) -> None:
        nonlocal state
        for _ in range(min(count, len(waiting))):
            one = waiting.pop()
            rated = rate(plan, state, one)
            assert rated.unrateable is None
            state = rated.after
            _added(ledger, rated.lines)
            there.append((one, rated.lines))

    for pick, count in steps:
        add(count)
        if not there:
            continue
        gone, lines = there.pop(pick % len(there))
        left = [one for one, _ in there]
        after = without(plan, state, gone)
        again = collect(plan, left)
        if after is not None:
            assert state_to_json(after) == state_to_json(again)
        # The mirror, and what the others cost more or less without the event.
        _added(ledger, lines, -1)
        moved = amounts(price(plan, again))
        for key, old in amounts(price(plan, state)).items():
            moved[key] = moved.get(key, ZERO) - old
        mirrored = amounts(lines)
        for key in moved.keys() | mirrored.keys():
            rest = moved.get(key, ZERO) + mirrored.get(key, ZERO)
            ledger[key] = ledger.get(key, ZERO) + rest
        state = again
    add(len(waiting))
    for key, value in shadow_total(data, [one for one, _ in there]).items():
        assert ledger.get(key, ZERO) == value


def test_a_sum_needs_no_other_event_to_be_reduced() -> None:
    plan = plan_of(charge("tokens", {"model": "per_unit", "unit_amount": "2"}))
    state = collect(plan, [event(1, tokens=3), event(2, tokens=4)])
    assert without(plan, state, event(1, tokens=3)) == collect(
        plan, [event(2, tokens=4)]
    )
    assert without(plan, collect(plan, [event(1, tokens=3)]), event(1, tokens=3)) == {}


def test_a_largest_value_is_collected_again() -> None:
    peak = {"key": "peak", "aggregation": "max", "measurement": "tokens"}
    plan = plan_of(
        charge("peak", {"model": "per_unit", "unit_amount": "2"}, metric=peak)
    )
    state = collect(plan, [event(1, tokens=3), event(2, tokens=4)])
    assert without(plan, state, event(2, tokens=4)) is None
