"""Aggregations, what cannot be priced, and the state that is kept."""

from __future__ import annotations

import decimal
import json
from decimal import Decimal
from typing import Any

import pytest

from catalog.pricing import (
    Reason,
    Unrateable,
    UsageEvent,
    collect,
    price,
    rate,
    rate_many,
    state_from_json,
    state_to_json,
)
from catalog.pricing.meters import UNIQUE_MAX
from catalog.tests.pricing_kit import amount, charge, event, plan_of, summed

ONE = {"model": "per_unit", "unit_amount": "1"}
USERS = {"key": "users", "aggregation": "unique", "property": "user"}


def quantity(aggregation: str, values: list[str | int]) -> Decimal:
    """Return what an aggregation makes of these values, in this order of time."""
    metric = summed("size") | {"aggregation": aggregation}
    plan = plan_of(charge("size", ONE, metric=metric))
    events = [event(number, size=value) for number, value in enumerate(values)]
    return amount(price(plan, collect(plan, events)))


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("count", "4"),
        ("sum", "14"),
        ("max", "8"),
        ("min", "1"),
        ("avg", "3.5"),
        ("unique", "3"),
        ("latest", "1"),
    ],
)
def test_an_aggregation_makes_one_quantity_of_all_values(
    aggregation: str, expected: str
) -> None:
    assert quantity(aggregation, [4, 8, 1, "1.0"]) == Decimal(expected)


def test_an_average_is_rounded_half_even_at_the_twelfth_place() -> None:
    assert quantity("avg", [1, 0, 0]) == Decimal("0.333333333333")
    assert quantity("avg", [2, 0, 0]) == Decimal("0.666666666667")


def test_the_latest_value_is_the_one_that_happened_last_not_the_last_to_arrive() -> (
    None
):
    metric = summed("size") | {"aggregation": "latest"}
    plan = plan_of(charge("size", ONE, metric=metric))
    state = collect(plan, [event(9, size=7), event(3, size=5)])
    assert amount(price(plan, state)) == Decimal(7)


def test_distinct_values_are_kept_as_digests_and_not_as_themselves() -> None:
    plan = plan_of(charge("users", ONE, metric=USERS))
    people = ["ann@example.com", "bob@example.com", "ann@example.com"]
    events = [event(n, properties={"user": user}) for n, user in enumerate(people)]
    state = collect(plan, events)
    assert amount(price(plan, state)) == Decimal(2)
    assert "example" not in json.dumps(state_to_json(state))


def test_distinct_values_are_bounded_and_known_ones_still_counted() -> None:
    plan = plan_of(charge("users", ONE, metric=USERS))
    events = [
        event(number, properties={"user": str(number)})
        for number in range(UNIQUE_MAX + 1)
    ]
    outcomes, after = rate_many(plan, {}, events)
    refused = outcomes[-1]
    assert isinstance(refused, Unrateable)
    assert refused.reason is Reason.TOO_MANY_UNIQUE
    again = rate(plan, after, event(0, properties={"user": "5"}))
    assert again.unrateable is None


def refusal(one: UsageEvent, **metric: Any) -> Unrateable:
    """Return why a plan that also counts calls cannot price the event."""
    calls = {"key": "calls", "aggregation": "count"}
    plan = plan_of(
        charge("calls", ONE, metric=calls),
        charge("size", ONE, metric=metric or summed("size")),
    )
    before = collect(plan, [event(99, size=3, cost="1", properties={"w": "2"})])
    rated = rate(plan, before, one)
    assert rated.lines == ()
    assert rated.after == before
    assert rated.unrateable is not None
    assert rated.unrateable.charge_key == "size"
    assert rated.unrateable.detail
    return rated.unrateable


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("-1", Reason.NEGATIVE_QUANTITY),
        ("-0.5", Reason.NEGATIVE_QUANTITY),
        ("0.0000000000001", Reason.TOO_PRECISE),
        ("10000000000000000", Reason.NUMBER_OUT_OF_RANGE),
        ("9999999999999999", Reason.NUMBER_OUT_OF_RANGE),
        ("Infinity", Reason.NUMBER_OUT_OF_RANGE),
        ("NaN", Reason.NUMBER_OUT_OF_RANGE),
        ("1E+30", Reason.NUMBER_OUT_OF_RANGE),
        ("1E+400", Reason.NUMBER_OUT_OF_RANGE),
    ],
)
def test_a_quantity_that_would_lose_digits_leaves_the_whole_event_unpriced(
    value: str, reason: Reason
) -> None:
    assert refusal(event(size=value)).reason is reason


@pytest.mark.parametrize("aggregation", ["max", "min", "avg", "latest"])
@pytest.mark.parametrize("value", ["-1", "0.0000000000001", "NaN"])
def test_no_aggregation_takes_what_it_cannot_hold(aggregation: str, value: str) -> None:
    metric = summed("size") | {"aggregation": aggregation}
    assert refusal(event(size=value), **metric).reason in Reason


def test_an_unknown_cost_is_no_free_one() -> None:
    metric = {"key": "cost", "aggregation": "sum", "cogs": True}
    assert refusal(event(cost=None), **metric).reason is Reason.UNKNOWN_COST


@pytest.mark.parametrize("text", ["", "many", "1e3", "0x10", "１２", " 1"])
def test_a_property_that_is_no_number_cannot_be_added(text: str) -> None:
    metric = {"key": "w", "aggregation": "sum", "property": "w"}
    one = event(properties={"w": text})
    assert refusal(one, **metric).reason is Reason.INVALID_PROPERTY


def test_an_event_that_cannot_be_priced_does_not_stop_the_others() -> None:
    plan = plan_of(charge("size", ONE))
    events = [event(1, size=1), event(2, size=-1), event(3, size=5)]
    outcomes, after = rate_many(plan, {}, events)
    assert [isinstance(outcome, Unrateable) for outcome in outcomes] == [
        False,
        True,
        False,
    ]
    assert amount(price(plan, after)) == Decimal(6)


def test_zero_is_taken_and_costs_nothing() -> None:
    plan = plan_of(charge("size", ONE))
    rated = rate(plan, {}, event(size="-0"))
    assert (rated.lines, rated.unrateable) == ((), None)
    assert state_to_json(rated.after) == {"size": {"n": 1, "q": "0"}}


def test_the_largest_numbers_are_priced_without_losing_a_digit() -> None:
    model = {"model": "per_unit", "unit_amount": "999999999.999999999999"}
    plan = plan_of(charge("size", model))
    rated = rate(plan, {}, event(size="9999999999999999.999999999999"))
    assert str(rated.lines[0].amount) == "9999999999999999999989999.999000000000"


def test_the_callers_decimal_context_is_neither_used_nor_changed() -> None:
    plan = plan_of(charge("size", ONE))
    with decimal.localcontext(decimal.Context(prec=3)) as context:
        rated = rate(plan, {}, event(size="1234567.5"))
        assert rated.lines[0].amount == Decimal("1234567.5")
        assert str(rated.lines[0].amount) == "1234567.500000000000"
        assert decimal.getcontext() is context
        assert context.prec == 3


def test_a_float_never_becomes_money() -> None:
    plan = plan_of(charge("size", ONE))
    floating = event(size=1)._replace(measurements={"size": 0.1})  # type: ignore[dict-item]
    with pytest.raises((decimal.FloatOperation, AssertionError)):
        rate(plan, {}, floating)


def test_the_stored_state_is_compact_and_ordered() -> None:
    rows = [
        charge("size", ONE),
        charge("fee", {"model": "percentage", "rate": "1", "free_events": 1})
        | {"metric": summed("money")},
    ]
    state = collect(plan_of(*rows), [event(1, size="1.50", money=9), event(2, money=4)])
    data = state_to_json(state)
    assert data == {
        "fee": {
            "n": 1,
            "a": "4",
            "up": "0",
            "cut": "0",
            "first": [["2026-03-01T00:01:00+00:00", "evt-000001", "9"]],
        },
        "size": {"n": 1, "q": "1.5"},
    }
    assert list(data) == ["fee", "size"]
    assert state_from_json(data) == state


def test_charges_of_another_version_stay_in_the_state_untouched() -> None:
    old = collect(plan_of(charge("size", ONE)), [event(1, size=5)])
    rated = rate(plan_of(charge("new", ONE)), old, event(2, new=1))
    assert rated.after["size"] == old["size"]
    assert sorted(rated.after) == ["new", "size"]
