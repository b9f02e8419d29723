"""The laws of pricing, for recipes of any shape and events in any order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    Line,
    closing,
    collect,
    opening,
    parse_plan,
    plan_to_json,
    price,
    rate,
    state_from_json,
    state_to_json,
    total,
)
from catalog.pricing.recipes import (
    COST,
    METER,
    is_underneath,
    units_of_step,
)
from catalog.tests.pricing_kit import amount, event
from catalog.tests.recipe_kit import (
    charge_of,
    shadow_meters,
    shadow_price,
    shadow_units,
)

NAMES = ("input_tokens", "output_tokens", "tool_calls")


def texts(largest: int, places: int, least: int = 0) -> st.SearchStrategy[str]:
    """Draw a number up to `largest` with at most so many places, as JSON has it."""
    return st.integers(least, largest * 10**places).map(
        lambda number: format(Decimal(number).scaleb(-places), "f")
    )


AMOUNTS = st.one_of(texts(9, 0, 1), texts(9, 3, 1))
PRICES = st.one_of(texts(5, 2), st.just("0.0000005"))
EACH = st.fixed_dictionaries({"model": st.just("per_unit"), "unit_amount": PRICES})


@st.composite
def tiered(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a price by tiers."""
    ends = draw(st.lists(st.integers(1, 60), max_size=3, unique=True))
    bounds = [*map(str, sorted(ends)), None]
    return {
        "model": draw(st.sampled_from(["graduated", "volume"])),
        "tiers": [
            {"up_to": end, "unit_amount": draw(PRICES), "flat_amount": draw(PRICES)}
            for end in bounds
        ],
    }


UNIT_PRICES = st.one_of(
    EACH,
    tiered(),
    st.fixed_dictionaries(
        {"model": st.just("package"), "size": texts(9, 1, 1), "amount": PRICES}
    ),
    st.fixed_dictionaries(
        {
            "model": st.just("included"),
            "units": texts(40, 1, 1),
            "overage": st.one_of(EACH, tiered()),
        }
    ),
)


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a recipe with any of its options."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    weights: list[dict[str, Any]] = [
        {
            "measurement": name,
            "amount": draw(AMOUNTS),
            "per": draw(st.sampled_from([1, 1000])),
        }
        for name in names
    ]
    rounding = draw(st.sampled_from([None, "up", "half_up", "down"]))
    if rounding and draw(st.booleans()):
        weights.append({"cogs": True, "amount": draw(AMOUNTS)})
    row: dict[str, Any] = {"model": "recipe", "weights": weights}
    if rounding:
        row |= {"rounding": rounding, "decimals": draw(st.integers(0, 3))}
    if draw(st.booleans()):
        row["minimum_per_event"] = draw(texts(5, 2, 1))
    if draw(st.booleans()):
        row["markup_percent"] = draw(texts(200, 1))
    return {**row, "price": draw(UNIT_PRICES)}


ROWS = st.lists(
    st.tuples(
        st.fixed_dictionaries({}, optional={n: st.integers(0, 4000) for n in NAMES}),
        texts(2, 3),
    ),
    max_size=12,
)


def twelve(value: Fraction) -> Decimal:
    """Round half-even to 12 places; round() of a fraction does just that."""
    return Decimal(round(value * 10**12)).scaleb(-12)


def underneath(lines: list[Line]) -> dict[str, Fraction]:
    """Return the sums of what lines say of their meters."""
    sums: dict[str, Fraction] = {}
    for line in lines:
        for step in line.steps:
            if step.kind == COST or step.kind.startswith(METER):
                name = step.kind.removeprefix(METER).removeprefix(COST)
                sums[name] = sums.get(name, Fraction(0)) + Fraction(step.quantity)
    return sums


@given(recipes(), ROWS, st.randoms(use_true_random=False))
def test_any_order_gives_the_price_of_the_shadow(
    recipe: dict[str, Any], rows: list[tuple[dict[str, Any], str]], random: Any
) -> None:
    plan = parse_plan({"currency": "USD", "charges": [charge_of(recipe)]})
    assert parse_plan(plan_to_json(plan)) == plan
    events = [event(n, cost=cost, **used) for n, (used, cost) in enumerate(rows)]
    units = sum((shadow_units(recipe, one) for one in events), Fraction(0))
    expected = twelve(shadow_price(recipe["price"], units))
    random.shuffle(events)
    state: Mapping[str, Any] = {}
    lines: list[Line] = []
    for one in events:
        rated = rate(plan, state, one)
        assert rated.unrateable is None
        lines += rated.lines
        # What storage keeps is enough to go on from.
        state = state_from_json(json.loads(json.dumps(state_to_json(rated.after))))
        assert state == rated.after
    assert state == collect(plan, events)
    posted = [*opening(plan), *lines, *closing(plan, state)]
    assert amount(posted) == amount(total(plan, events)) == expected
    assert sum((Fraction(line.quantity) for line in lines), Fraction(0)) == units
    whole = list(price(plan, state))
    assert underneath(lines) == underneath(whole) == shadow_meters(recipe, events)
    for line in [*lines, *whole]:
        _adds_up(line)


def _adds_up(line: Line) -> None:
    """Check that a line's steps sum to its amount, and those below to its units."""
    assert sum(step.amount for step in line.steps) == line.amount
    below = [step for step in line.steps if is_underneath(step.kind)]
    assert all(not step.amount for step in below)
    assert sum(units_of_step(step) for step in below) == line.quantity
    assert bool(below) == bool(line.quantity)
