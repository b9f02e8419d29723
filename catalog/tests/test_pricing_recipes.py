"""Recipes: worked numbers, refusals, what lines say, doubts and supposed usage."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from catalog.pricing import (
    Reason,
    Unrateable,
    collect,
    explain,
    explain_step,
    groups_of,
    lint,
    parse_plan,
    plan_to_json,
    price,
    rate,
    rate_many,
    state_from_json,
    state_to_json,
    steps_from_json,
    steps_to_json,
    total,
)
from catalog.pricing.bulk import Layout, Tabulation
from catalog.pricing.recipes import labels_of
from catalog.pricing.supposed import Supposed, suppose
from catalog.tests.pricing_kit import amount, charge, event, priced
from catalog.tests.recipe_kit import COST, CREDITS, WEIGHTS, charge_of, credits_plan


@pytest.mark.parametrize(
    ("more", "used", "units", "money"),
    [
        ({}, {"input_tokens": 2400, "output_tokens": 800, "tool_calls": 2}, "15", "15"),
        (
            {"markup_percent": "20"},
            {"input_tokens": 2400, "output_tokens": 800, "tool_calls": 2},
            "18",
            "18",
        ),
        (
            {"rounding": None},
            {"input_tokens": 2400, "output_tokens": 800, "tool_calls": 2},
            "14.8",
            "14.8",
        ),
        (
            {"rounding": "down"},
            {"input_tokens": 2400, "output_tokens": 800, "tool_calls": 2},
            "14",
            "14",
        ),
        ({"rounding": "half_up"}, {"input_tokens": 2500}, "3", "3"),
        ({"rounding": "half_up"}, {"input_tokens": 2499}, "2", "2"),
        ({"rounding": "up", "decimals": 1}, {"input_tokens": 2310}, "2.4", "2.4"),
        # At least one credit, and nothing where nothing is weighed.
        ({}, {"input_tokens": 10}, "1", "1"),
        ({"rounding": "down"}, {"input_tokens": 10}, "1", "1"),
        ({}, {"input_tokens": 0}, "0", "0"),
        ({}, {"vector_lookups": 7}, "0", "0"),
        ({"minimum_per_event": "2.5"}, {"tool_calls": 1}, "5", "5"),
        # Our cost has a weight too: 100 credits for $1.
        ({"weights": [*WEIGHTS, COST]}, {"tool_calls": 1}, "12", "12"),
    ],
)
def test_worked_numbers(
    more: dict[str, Any], used: dict[str, Any], units: str, money: str
) -> None:
    plan = credits_plan(**{k: v for k, v in more.items() if v is not None})
    if more.get("rounding", "") is None:
        row = {k: v for k, v in CREDITS.items() if k != "rounding"}
        plan = parse_plan({"currency": "USD", "charges": [charge_of(row)]})
    one = event(1, cost="0.07", **used)
    found = rate(plan, {}, one)
    cents = Decimal(money) / 100
    assert found.unrateable is None
    assert amount(found.lines) == cents
    assert sum(line.quantity for line in found.lines) == Decimal(units)
    assert amount(total(plan, [one])) == cents
    assert amount(price(plan, found.after)) == cents


def test_a_line_says_its_price_and_what_is_underneath() -> None:
    plan = credits_plan(markup_percent="20", weights=[*WEIGHTS, COST])
    usage = [
        event(1, cost="0.02", input_tokens=2400, output_tokens=800, tool_calls=2),
        event(2, cost="0", input_tokens=10),
    ]
    first, second = (line for (line,) in rate_many(plan, {}, usage)[0])  # type: ignore[misc]
    assert explain(first) == (
        "2,400 input tokens × 1 per 1K → 2.4 credits",
        "800 output tokens × 3 per 1K → 2.4 credits",
        "2 tool calls × 5 → 10 credits",
        "$0.02 our cost × 100 → 2 credits",
        "20 % markup on 16.8 → 3.36 credits",
        "rounding each event → 0.84 credits",
        "21 × $0.01 = $0.21",
    )
    assert explain(second)[0] == "10 input tokens × 1 per 1K → 0.01 credits"
    (line,) = price(plan, collect(plan, usage))
    assert (line.quantity, line.amount) == (Decimal(22), Decimal("0.22"))
    assert explain(line)[-1] == "22 × $0.01 = $0.22"
    assert explain_step(line.steps[0], "USD") == (
        "2,410 input tokens × 1 per 1K → 2.41 units"
    )
    # The ledger keeps them in the compact form.
    stored = json.loads(json.dumps(steps_to_json(line.steps)))
    assert steps_from_json(stored) == line.steps


def test_a_minimum_is_told_apart_from_the_rounding() -> None:
    plan = credits_plan(rounding="down", minimum_per_event="2")
    (line,) = price(plan, collect(plan, [event(1, input_tokens=1500)]))
    assert explain(line) == (
        "1,500 input tokens × 1 per 1K → 1.5 credits",
        "rounding each event → −0.5 credits",
        "raised to the minimum of 2 per event → 1 credits",
        "2 × $0.01 = $0.02",
    )


def test_ten_thousand_credits_are_included_and_then_each_has_a_price() -> None:
    included = {
        "model": "included",
        "units": "10000",
        "overage": {"model": "per_unit", "unit_amount": "0.01"},
    }
    plan = credits_plan(price=included)
    usage = [event(n, tool_calls=1000) for n in range(1, 4)]
    outcomes, after = rate_many(plan, {}, usage)
    assert [line.amount for line in priced(outcomes)] == [0, 0, 50]
    (line,) = price(plan, after)
    assert (line.quantity, line.amount) == (Decimal(15_000), Decimal(50))
    assert explain(line)[1:] == (
        "10,000 of 10,000 included = $0.00",
        "5,000 × $0.01 = $50.00",
    )


def test_filters_choose_one_recipe_of_several() -> None:
    dear = charge_of({**CREDITS, "price": {"model": "per_unit", "unit_amount": "1"}})
    dear |= {"key": "premium", "filter": {"model": "opus"}}
    plan = credits_plan(dear)
    outcomes, _ = rate_many(
        plan,
        {},
        [
            event(1, tool_calls=1, properties={"model": "opus"}),
            event(2, tool_calls=1, properties={"model": "haiku"}),
        ],
    )
    lines = priced(outcomes)
    assert [line.charge_key for line in lines] == ["premium", "credits"]
    assert groups_of(plan, []) == set()
    assert lint(plan) == ()


@pytest.mark.parametrize(
    ("more", "measured", "cost", "reason", "detail"),
    [
        (
            {"weights": [*WEIGHTS, COST]},
            {"tool_calls": 1},
            None,
            Reason.UNKNOWN_COST,
            "cost of the event is unknown",
        ),
        (
            {},
            {"tool_calls": -1},
            "0",
            Reason.NEGATIVE_QUANTITY,
            "-1 tool calls is negative",
        ),
        (
            {},
            {"tool_calls": "0.0000000000001"},
            "0",
            Reason.TOO_PRECISE,
            "more than 12 decimal places",
        ),
        ({}, {"tool_calls": 10**16}, "0", Reason.NUMBER_OUT_OF_RANGE, "no number"),
        (
            {},
            {"tool_calls": 10**16 - 1},
            "0",
            Reason.NUMBER_OUT_OF_RANGE,
            "it weighs 49999999999999995 units",
        ),
        (
            {"rounding": "none"},
            {"input_tokens": "0.0000000001"},
            "0",
            Reason.TOO_PRECISE,
            "the recipe needs a rounding",
        ),
    ],
)
def test_what_cannot_be_weighed_is_refused_with_the_reason(
    more: dict[str, Any],
    measured: dict[str, Any],
    cost: str | None,
    reason: Reason,
    detail: str,
) -> None:
    row = {**CREDITS, **more}
    if more.get("rounding") == "none":
        del row["rounding"]
    plan = parse_plan({"currency": "USD", "charges": [charge_of(row)]})
    first = event(1, tool_calls=1)
    before = collect(plan, [first])
    found = rate(plan, before, event(2, cost=cost, **measured))
    assert isinstance(found.unrateable, Unrateable)
    assert found.unrateable.reason is reason
    assert detail in found.unrateable.detail
    assert found.after == before


def test_sums_that_do_not_fit_are_refused_also_where_each_event_does() -> None:
    plan = credits_plan(weights=[{"measurement": "tool_calls", "amount": "1"}])
    most = event(1, tool_calls=10**16 - 10)
    outcomes, after = rate_many(plan, {}, [most, event(2, tool_calls=11)])
    assert isinstance(outcomes[1], Unrateable)
    assert outcomes[1].reason is Reason.NUMBER_OUT_OF_RANGE
    assert after == collect(plan, [most])


def test_a_recipe_survives_its_json() -> None:
    plan = credits_plan(
        markup_percent="12.5",
        decimals=2,
        weights=[*WEIGHTS, {"cogs": True, "amount": "3.5"}],
    )
    data = json.loads(json.dumps(plan_to_json(plan)))
    assert parse_plan(data) == plan
    assert data["charges"][0]["price"]["weights"][0] == WEIGHTS[0]
    state = collect(plan, [event(1, cost="0.5", input_tokens=10, tool_calls=3)])
    stored = json.loads(json.dumps(state_to_json(state)))
    assert state_from_json(stored) == state
    plain = plan_to_json(credits_plan())["charges"][0]["price"]
    assert plain == CREDITS


def test_supposed_usage_is_shared_evenly_by_its_events() -> None:
    plan = credits_plan()
    (row,) = plan.charges
    assert row.metric is not None
    assert isinstance(plan_to_json(plan), dict)
    labels = labels_of(row.model)  # type: ignore[arg-type]
    assert labels == [
        "recipe:input_tokens",
        "recipe:output_tokens",
        "recipe:tool_calls",
        "weighed",
    ]

    def state(*quantities: str) -> Any:
        return suppose(
            plan,
            [
                Supposed(row.metric, row.filter, Decimal(q), label=label)  # type: ignore[arg-type]
                for label, q in zip(labels, quantities, strict=True)
            ],
        )

    alike = [event(n, input_tokens=1500, tool_calls=1) for n in range(4)]
    assert state("6000", "0", "4", "4") == collect(plan, alike)
    # What does not divide is the last event's.
    uneven = collect(plan, [event(1, input_tokens="0.333333333333") for _ in range(2)])
    last = collect(plan, [event(1, input_tokens="0.333333333334")])
    both = state("1", "0", "0", "3")["credits"]
    assert both.units == uneven["credits"].units + last["credits"].units  # type: ignore[union-attr]
    assert both.meters == {"input_tokens": Decimal(1)}
    assert state("0", "0", "0", "5")["credits"].units == 0


def test_bulk_counting_gives_the_same_state() -> None:
    plans = [
        credits_plan(charge("tool_calls", {"model": "per_unit", "unit_amount": "1"})),
        credits_plan(markup_percent="20"),
    ]
    usage = [event(n, input_tokens=n * 77, tool_calls=n % 3) for n in range(40)]
    table = Tabulation(Layout.of(plans))
    table.add(usage)
    assert table.states() == [collect(plan, usage) for plan in plans]


def test_discount_maximum_and_minimum_hold_for_credits_too() -> None:
    row = charge_of(discount_percent="10", maximum="0.20", minimum="0.15")
    plan = parse_plan({"currency": "USD", "charges": [row]})
    usage = [event(n, tool_calls=2) for n in range(3)]
    outcomes, after = rate_many(plan, {}, usage)
    assert [line.amount for line in priced(outcomes)] == [
        Decimal("0.09"),
        Decimal("0.09"),
        Decimal("0.02"),
    ]
    assert amount(total(plan, after)) == Decimal("0.20")
    assert amount(total(plan, [])) == Decimal("0.15")
