"""Supposed usage is priced as the same usage of real events."""

from __future__ import annotations

import decimal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import Filter, collect, price, total
from catalog.pricing.supposed import Supposed, suppose
from catalog.tests.pricing_kit import charge, event, plan_of, summed, tiers

NO_FILTER = Filter(())
TIERS = tiers(("1000", "0.01"), ("10000", "0.008"), (None, "0.005"))


def supposed(plan, quantity, *, events=1, index=0):
    """Return the lines of a quantity of one of the plan's charges."""
    row = plan.charges[index]
    part = Supposed(row.metric, row.filter, Decimal(quantity), events)
    return price(plan, suppose(plan, [part]))


@pytest.mark.parametrize(
    "model",
    [
        {"model": "per_unit", "unit_amount": "0.01"},
        {"model": "graduated", "tiers": TIERS},
        {"model": "volume", "tiers": TIERS},
        {"model": "package", "size": "100", "amount": "1"},
        {"model": "percentage", "rate": "2.5"},
        {
            "model": "included",
            "units": "500",
            "overage": {"model": "per_unit", "unit_amount": "2"},
        },
    ],
)
@given(quantity=st.integers(0, 10**7))
def test_a_quantity_costs_what_an_event_with_it_costs(model, quantity):
    plan = plan_of(charge("calls", model))
    real = collect(plan, [event(calls=quantity)])
    assert supposed(plan, quantity) == price(plan, real)


@given(
    cents=st.integers(1, 10**6),
    count=st.integers(1, 40),
    free=st.integers(0, 50),
    minimum=st.sampled_from([None, "0.50"]),
)
def test_fees_of_equal_events_cost_what_those_events_cost(cents, count, free, minimum):
    model = {"model": "percentage", "rate": "2.5", "fixed_amount": "0.10"}
    if free:
        model["free_events"] = free
    if minimum:
        model["minimum"] = minimum
    plan = plan_of(charge("value", model))
    each = Decimal(cents) / 100
    real = collect(plan, [event(n, value=str(each)) for n in range(count)])
    assert supposed(plan, each * count, events=count) == price(plan, real)


def test_what_does_not_divide_is_carried_by_the_last_event():
    model = {"model": "percentage", "rate": "10", "fixed_amount": "1"}
    (line,) = supposed(plan_of(charge("value", model)), "100", events=3)
    assert (line.quantity, line.amount) == (Decimal(100), Decimal(13))


def test_quantities_go_where_events_of_their_kind_go():
    metric = summed("tokens")
    each = {"model": "per_unit", "unit_amount": "2"}
    half = {"model": "per_unit", "unit_amount": "1"}
    batch = {"requestType": "batch"}
    split = plan_of(
        charge("all", each, metric=metric),
        charge("batch", half, metric=metric, where=batch),
    )
    usage = [
        Supposed(row.metric, row.filter, Decimal(10), 1)
        for row in split.charges
        if row.metric
    ]
    assert [line.amount for line in total(split, suppose(split, usage))] == [20, 10]
    whole = plan_of(charge("all", each, metric=metric))
    assert [line.amount for line in total(whole, suppose(whole, usage))] == [40]
    only = plan_of(charge("batch", half, metric=metric, where=batch))
    assert [line.amount for line in total(only, suppose(only, usage))] == [10]


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("max", 7), ("avg", 7), ("unique", 7), ("latest", 7)]
)
def test_other_aggregations_take_the_quantity_as_it_is(aggregation, expected):
    metric = {"key": "m", "aggregation": aggregation, "property": "user"}
    model = {"model": "per_unit", "unit_amount": "1"}
    plan = plan_of(charge("m", model, metric=metric))
    (line,) = supposed(plan, "7", events=3)
    assert line.amount == expected


def test_a_quantity_that_rating_would_refuse_is_refused():
    plan = plan_of(charge("calls", {"model": "per_unit", "unit_amount": "1"}))
    for quantity in ("0.0000000000001", "10000000000000000"):
        with pytest.raises((decimal.Inexact, decimal.InvalidOperation)):
            supposed(plan, quantity)
