"""Worked examples: what the documentation promises, to the last digit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from catalog.pricing import closing, collect, opening, price, rate, rate_many, total
from catalog.tests.pricing_kit import (
    amount,
    amounts,
    charge,
    event,
    plan_of,
    priced,
    summed,
    tiers,
)

M = "1000000"
PER_M = {"per": 1_000_000}
GRADUATED = {
    "model": "graduated",
    "tiers": tiers(("10000000", "3.00"), ("60000000", "2.50"), (None, "2.00")),
    **PER_M,
}
VOLUME = GRADUATED | {
    "model": "volume",
    "tiers": tiers(("10000000", "3.00"), ("50000000", "2.50"), (None, "2.00")),
}
INCLUDED = {
    "model": "included",
    "units": M,
    "overage": {"model": "per_unit", "unit_amount": "5.00", **PER_M},
}
PER_UNIT = {"model": "per_unit", "unit_amount": "3.00", **PER_M}
PACKAGE = {"model": "package", "size": "1000", "amount": "1"}

TABLE: list[tuple[str, dict[str, Any], str, str]] = [
    ("$3.00 per 1M input tokens", PER_UNIT, "1500", "0.0045"),
    (
        "sub-cent price",
        {"model": "per_unit", "unit_amount": "0.0000005"},
        "3",
        "0.0000015",
    ),
    ("graduated: 60M", GRADUATED, "60000000", "155.00"),
    ("graduated: to the brim", GRADUATED, "10000000", "30.00"),
    ("graduated: one above", GRADUATED, "10000001", "30.0000025"),
    ("volume: 60M, all at $2.00", VOLUME, "60000000", "120.00"),
    ("volume: the bound is inclusive", VOLUME, "10000000", "30.00"),
    ("volume: one more is cheaper", VOLUME, "10000001", "25.0000025"),
    ("1M free, then $5.00/M", INCLUDED, "3000000", "10.00"),
    ("1M free: not one too many", INCLUDED, "1000000", "0"),
    ("a package started", PACKAGE, "1", "1"),
    ("a package full", PACKAGE, "1000", "1"),
    ("the next one started", PACKAGE, "1000.5", "2"),
    ("no package", PACKAGE, "0", "0"),
]


@pytest.mark.parametrize(
    ("_case", "model", "quantity", "expected"), TABLE, ids=[row[0] for row in TABLE]
)
def test_a_quantity_costs_what_the_price_list_says(
    _case: str, model: dict[str, Any], quantity: str, expected: str
) -> None:
    plan = plan_of(charge("tokens", model))
    rated = rate(plan, {}, event(tokens=quantity))
    assert amount(rated.lines) == Decimal(expected)
    assert amount(price(plan, rated.after)) == Decimal(expected)


IN_STEPS: list[tuple[str, dict[str, Any], list[int], list[str]]] = [
    (
        "included, then graduated overage",
        {"model": "included", "units": "10"}
        | {"overage": {"model": "graduated", "tiers": tiers(("5", "2"), (None, "1"))}},
        [8, 4, 1, 2, 3],
        ["0", "4", "2", "4", "3"],
    ),
    (
        "included, then volume overage",
        {"model": "included", "units": "10"}
        | {"overage": {"model": "volume", "tiers": tiers(("5", "2"), (None, "1"))}},
        [10, 3, 2, 1, 1],
        ["0", "6", "4", "-4", "1"],
    ),
    (
        "free money, then a rate",
        {"model": "percentage", "rate": "10", "free_amount": "100"},
        [90, 20, 30],
        ["0", "1", "3"],
    ),
]


@pytest.mark.parametrize(
    ("_case", "model", "quantities", "expected"),
    IN_STEPS,
    ids=[row[0] for row in IN_STEPS],
)
def test_events_one_after_another_cost_what_each_adds(
    _case: str, model: dict[str, Any], quantities: list[int], expected: list[str]
) -> None:
    plan = plan_of(charge("tokens", model))
    events = [event(n, tokens=value) for n, value in enumerate(quantities)]
    outcomes, _ = rate_many(plan, {}, events)
    assert [amount(priced([outcome])) for outcome in outcomes] == [
        Decimal(value) for value in expected
    ]


COGS = {"key": "cost", "aggregation": "sum", "cogs": True}
PERCENT = {"model": "percentage", "rate": "2.5", "minimum": "0.50"}


@pytest.mark.parametrize(("cost", "fee"), [("10", "0.50"), ("100", "2.50")])
def test_a_percentage_of_the_cost_has_a_minimum_for_each_event(
    cost: str, fee: str
) -> None:
    plan = plan_of(charge("share", PERCENT, metric=COGS))
    assert amount(rate(plan, {}, event(cost=cost)).lines) == Decimal(fee)


def test_one_plan_with_four_models_bills_a_month_to_the_cent() -> None:
    plan = plan_of(
        charge("platform", {"model": "flat", "amount": "200", "due": "advance"}),
        charge("input_tokens", GRADUATED),
        charge("output_tokens", INCLUDED),
        charge("share", PERCENT, metric=COGS, where={"requestType": "priority"}),
    )
    usual = {"requestType": "standard"}
    urgent = {"requestType": "priority"}
    events = [
        event(1, input_tokens=20_000_000, output_tokens=500_000, properties=usual),
        event(2, input_tokens=40_000_000, properties=usual, cost="70"),
        event(3, output_tokens=2_500_000, properties=urgent, cost="10"),
        event(4, properties=urgent, cost="100"),
    ]
    outcomes, after = rate_many(plan, {}, events)
    posted = [*opening(plan), *priced(outcomes)]
    expected = {
        "platform": Decimal("200"),
        "input_tokens": Decimal("155.00"),
        "output_tokens": Decimal("10.00"),
        "share": Decimal("3.00"),
    }
    assert amounts(posted) == expected
    assert amounts(total(plan, after)) == expected
    assert amount(total(plan, events)) == Decimal("368.00")


def test_reasoning_is_billed_by_tokens_steps_and_tool_calls() -> None:
    def per(value: str, units: int) -> dict[str, Any]:
        return {"model": "per_unit", "unit_amount": value, "per": units}

    plan = plan_of(
        charge("input_tokens", per("0.003", 1000)),
        charge("output_tokens", per("0.015", 1000)),
        charge("reasoning_steps", per("0.006", 1)),
        charge("tool_calls", per("0.002", 1)),
    )
    one = event(input_tokens=1842, output_tokens=623, reasoning_steps=7, tool_calls=3)
    revenue = amount(rate(plan, {}, one).lines)
    assert revenue == Decimal("0.062871")
    margin = (revenue - Decimal("0.0218")) / revenue * 100
    assert round(margin, 1) == Decimal("65.3")


def test_tools_have_their_own_prices_and_the_rest_a_common_one() -> None:
    metric = {
        "key": "calls",
        "aggregation": "count",
        "event_types": ["mcp.tool_invoked"],
    }
    prices = {"read_query": "0.001", "write_transaction": "0.05"}
    rows = [
        charge(
            tool,
            {"model": "per_unit", "unit_amount": value},
            metric=metric,
            where={"tool": tool},
        )
        for tool, value in prices.items()
    ]
    other = {"model": "per_unit", "unit_amount": "0.002"}
    plan = plan_of(charge("other", other, metric=metric), *rows)

    def call(tool: str) -> Decimal:
        one = event(type="mcp.tool_invoked", properties={"tool": tool})
        return amount(rate(plan, {}, one).lines)

    assert call("read_query") == Decimal("0.001")
    assert call("write_transaction") == Decimal("0.05")
    assert call("never_seen") == Decimal("0.002")


def test_batch_requests_are_a_filter_with_their_own_price() -> None:
    half = {"model": "per_unit", "unit_amount": "1.50", **PER_M}
    metric = summed("tokens")
    plan = plan_of(
        charge("standard", PER_UNIT, metric=metric),
        charge("batch", half, metric=metric, where={"requestType": "batch"}),
    )
    batch = event(tokens=M, properties={"requestType": "batch"})
    assert amounts(rate(plan, {}, batch).lines) == {"batch": Decimal("1.50")}
    assert amounts(rate(plan, {}, event(tokens=M)).lines) == {
        "standard": Decimal("3.00")
    }


def test_a_hundred_equal_calls_are_a_hundred_calls() -> None:
    metric = {"key": "calls", "aggregation": "count"}
    model = {"model": "per_unit", "unit_amount": "0.85"}
    plan = plan_of(charge("reviewed", model, metric=metric))
    state = collect(plan, [event(number) for number in range(100)])
    assert amount(price(plan, state)) == Decimal("85.00")


@pytest.mark.parametrize("model", ["graduated", "volume"])
def test_the_first_tiers_flat_amount_is_due_when_the_period_opens(model: str) -> None:
    rows = tiers(("10", "1", "2"), (None, "1", "3"))
    plan = plan_of(charge("tokens", {"model": model, "tiers": rows}))
    assert amounts(opening(plan)) == {"tokens": Decimal(2)}
    assert amount(rate(plan, {}, event(tokens=1)).lines) == Decimal(1)


def test_packages_round_up_before_the_tier_is_chosen() -> None:
    rows = tiers(("10", "1"), (None, "0.5"))
    price_json = {"model": "volume", "tiers": rows}
    model = {"model": "package", "size": "1000", "price": price_json}
    plan = plan_of(charge("tokens", model))
    assert amount(rate(plan, {}, event(tokens=9_001)).lines) == Decimal(10)
    assert amount(rate(plan, {}, event(tokens=10_001)).lines) == Decimal("5.5")


def test_flat_amounts_fall_due_in_advance_or_in_arrears() -> None:
    plan = plan_of(
        charge("fee", {"model": "flat", "amount": "200", "due": "advance"}),
        charge("support", {"model": "flat", "amount": "50", "due": "arrears"}),
    )
    assert amounts(opening(plan)) == {"fee": Decimal(200)}
    assert amounts(closing(plan, {})) == {"support": Decimal(50)}
    assert amount(total(plan, [])) == Decimal(250)
