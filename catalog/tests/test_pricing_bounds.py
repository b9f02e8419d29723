"""A charge's discount, minimum and maximum."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.describe import describe
from catalog.pricing import (
    Plan,
    PlanError,
    collect,
    explain,
    opening,
    parse_plan,
    plan_to_json,
    price,
    rate,
    rate_many,
    total,
    true_ups,
)
from catalog.tests.pricing_kit import amount, charge, event, plan_of, priced, tiers

TEN = {"model": "per_unit", "unit_amount": "10"}


def plan(price: dict[str, Any] = TEN, **bounds: Any) -> Plan:
    """Return a plan of one charge on units."""
    return plan_of({**charge("units", price), **bounds})


def test_the_event_that_reaches_the_maximum_pays_what_is_left() -> None:
    model = plan(maximum="100")
    before = collect(model, [event(1, units=7)])
    found = rate(model, before, event(2, units=5))
    assert amount(found.lines) == 30
    (line,) = found.lines
    assert explain(line) == ("5 × $10.00 = $50.00", "capped at $100.00 = −$20.00")
    assert amount(rate(model, found.after, event(3, units=5)).lines) == 0
    assert amount(price(model, found.after)) == 100


def test_a_discount_comes_before_the_maximum() -> None:
    model = plan(discount_percent="20", maximum="100")
    assert amount(price(model, collect(model, [event(1, units=12)]))) == 96
    (line,) = price(model, collect(model, [event(1, units=20)]))
    assert line.amount == 100
    assert explain(line) == (
        "20 × $10.00 = $200.00",
        "20 % off $200.00 = −$40.00",
        "capped at $100.00 = −$60.00",
    )
    assert (
        describe(model) == "Units: $10.00 per unit, 20 % off, at most $100.00 a month."
    )


def test_a_minimum_is_made_up_for_when_the_period_ends() -> None:
    model = plan(minimum="100")
    state = collect(model, [event(1, units=4)])
    (line,) = true_ups(model, state)
    assert (line.amount, explain(line)) == (
        Decimal(60),
        ("up to the minimum of $100.00 = $60.00",),
    )
    assert amount(total(model, state)) == 100
    assert amount(total(model, {})) == 100
    assert true_ups(model, collect(model, [event(1, units=10)])) == ()
    half = true_ups(model, state, lambda whole: whole / 2)
    assert amount(half) == 10


def test_a_flat_amount_can_be_discounted_and_has_no_bounds() -> None:
    flat = {"key": "fee", "name": "Fee"}
    fee = {"model": "flat", "amount": "200", "due": "advance"}
    model = plan_of({**flat, "price": fee, "discount_percent": "12.5"})
    (line,) = opening(model)
    assert line.amount == 175
    with pytest.raises(PlanError) as caught:
        plan_of({**flat, "price": fee, "minimum": "1"})
    assert (caught.value.code, caught.value.path) == (
        "unsupported",
        "charges[0].minimum",
    )


@pytest.mark.parametrize(
    ("bounds", "code", "path"),
    [
        ({"discount_percent": "101"}, "out_of_range", "discount_percent"),
        ({"discount_percent": "0.00001"}, "too_precise", "discount_percent"),
        ({"minimum": "-1"}, "negative", "minimum"),
        ({"minimum": "2", "maximum": "1"}, "out_of_range", "maximum"),
        ({"maximum": "many"}, "invalid_number", "maximum"),
    ],
)
def test_wrong_bounds_are_refused(bounds: dict[str, Any], code: str, path: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(**bounds)
    assert (caught.value.code, caught.value.path) == (code, f"charges[0].{path}")


PRICES = st.sampled_from(
    [
        TEN,
        {"model": "package", "size": "10", "amount": "3"},
        {
            "model": "volume",
            "tiers": tiers(("5", "2", "1"), ("20", "1"), (None, "0.333333333333")),
        },
        {
            "model": "percentage",
            "rate": "2.5",
            "minimum": "0.5",
            "free_events": 2,
        },
        {
            "model": "included",
            "units": "7",
            "overage": {"model": "per_unit", "unit_amount": "0.0000005"},
        },
    ]
)
BOUNDS = st.fixed_dictionaries(
    {},
    optional={
        "discount_percent": st.sampled_from(["0", "10", "33.3333", "100"]),
        "minimum": st.sampled_from(["0", "5"]),
        "maximum": st.sampled_from(["5", "20", "100"]),
    },
)


@given(
    PRICES,
    BOUNDS,
    st.lists(st.integers(0, 30), max_size=12),
    st.randoms(use_true_random=False),
)
def test_any_order_comes_to_the_bounded_price(
    model: dict[str, Any], bounds: dict[str, Any], quantities: list[int], random: Any
) -> None:
    whole = plan(model, **bounds)
    assert parse_plan(plan_to_json(whole)) == whole
    events = [event(n, units=quantity) for n, quantity in enumerate(quantities)]
    random.shuffle(events)
    outcomes, state = rate_many(whole, {}, events)
    lines = [*opening(whole), *priced(outcomes)]
    assert amount(lines) == amount(price(whole, state))
    for line in lines:
        assert line.amount == sum((step.amount for step in line.steps), Decimal(0))
    gross = amount(price(plan(model), state))
    off = Decimal(bounds.get("discount_percent", 0)) / 100
    net = min(gross * (1 - off), Decimal(bounds.get("maximum", "Infinity")))
    assert abs(amount(price(whole, state)) - net) <= Decimal("1e-12")
    least = Decimal(bounds.get("minimum", 0))
    assert amount(total(whole, state)) == max(amount(price(whole, state)), least)
