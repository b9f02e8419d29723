"""Recipes that are refused with their place, and recipes that look like a mistake."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.pricing import PlanError, lint, parse_plan
from catalog.tests.pricing_kit import charge, summed
from catalog.tests.recipe_kit import COST, CREDITS, WEIGHTS, charge_of, credits_plan

WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({"weights": []}, "empty", ".weights", "at least one"),
    ({"weights": [{"amount": "1"}]}, "invalid_metric", ".weights[0]", "one of"),
    (
        {"weights": [{"measurement": "a", "cogs": True, "amount": "1"}]},
        "invalid_metric",
        ".weights[0]",
        "one of",
    ),
    (
        {"weights": [{"cogs": False, "amount": "1"}]},
        "wrong_type",
        ".weights[0].cogs",
        "only be true",
    ),
    (
        {"weights": [WEIGHTS[0], WEIGHTS[0]]},
        "duplicate_weight",
        ".weights[1].measurement",
        "input tokens has a weight above",
    ),
    (
        {"weights": [{"measurement": "a", "amount": "0"}]},
        "out_of_range",
        ".weights[0].amount",
        "above zero",
    ),
    (
        {"weights": [{"measurement": "a", "amount": 1.5}]},
        "float",
        ".weights[0].amount",
        "as a text",
    ),
    (
        {"weights": [{"measurement": "a", "amount": "1", "per": 10}]},
        "unknown_choice",
        ".weights[0].per",
        "1, 1000 or 1000000",
    ),
    (
        {"weights": [{"measurement": "a", "amount": "0.0000000001", "per": 1000}]},
        "too_precise",
        ".weights[0].amount",
        "decimal places",
    ),
    (
        {
            "weights": [{"measurement": "a", "amount": "0.000000000001"}],
            "markup_percent": "12.5",
        },
        "too_precise",
        ".markup_percent",
        "would weigh 0.000000000001125",
    ),
    (
        {
            "weights": [{"measurement": "a", "amount": "999999999"}],
            "markup_percent": "20",
        },
        "out_of_range",
        ".markup_percent",
        "must weigh below",
    ),
    (
        {"weights": [{"cogs": True, "amount": "0.5"}], "rounding": None},
        "too_precise",
        ".weights[0].amount",
        "name a rounding",
    ),
    ({"markup_percent": "1.00001"}, "too_precise", ".markup_percent", "4 decimal"),
    ({"markup_percent": "-1"}, "negative", ".markup_percent", "not be negative"),
    ({"rounding": "sideways"}, "unknown_choice", ".rounding", "none of up"),
    ({"rounding": None, "decimals": 2}, "unsupported", ".decimals", "name up"),
    ({"decimals": 13}, "out_of_range", ".decimals", "from 0 to 12"),
    ({"minimum_per_event": "0"}, "out_of_range", ".minimum_per_event", "above"),
    (
        {"price": {"model": "percentage", "rate": "5"}},
        "unsupported",
        ".price",
        "not by a percentage",
    ),
    (
        {
            "price": {
                "model": "included",
                "units": "1",
                "overage": {"model": "percentage", "rate": "5"},
            }
        },
        "unsupported",
        ".price",
        "not by a percentage",
    ),
    ({"price": CREDITS}, "unsupported", ".price", "units are priced"),
    ({"credits": "1"}, "unknown_key", ".credits", "not known here"),
]


@pytest.mark.parametrize(("more", "code", "path", "words"), WRONG)
def test_a_wrong_recipe_is_refused_with_its_place(
    more: dict[str, Any], code: str, path: str, words: str
) -> None:
    with pytest.raises(PlanError) as caught:
        credits_plan(**more)
    assert (caught.value.code, caught.value.path) == (code, f"charges[0].price{path}")
    assert words in caught.value.message


def test_a_recipe_has_no_metric_and_is_no_overage() -> None:
    data = {**charge_of(), "metric": summed("a")}
    with pytest.raises(PlanError, match="reads the whole event"):
        parse_plan({"currency": "USD", "charges": [data]})
    wrapped = {"model": "included", "units": "1", "overage": CREDITS}
    data = {"currency": "USD", "charges": [charge("a", wrapped)]}
    with pytest.raises(PlanError, match="priced by the unit"):
        parse_plan(data)


def finding_codes(*others: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    """Return code and second charge of what the linter finds."""
    return [(f.code, f.charges[-1]) for f in lint(credits_plan(*others, **more))]


def test_what_a_recipe_weighs_is_not_priced_again() -> None:
    each = {"model": "per_unit", "unit_amount": "0.001"}
    assert finding_codes() == []
    assert finding_codes(charge("input_tokens", each)) == [
        ("weighed_and_priced", "input_tokens")
    ]
    # A part of what is weighed is priced twice too.
    assert finding_codes(charge("cache_read_tokens", each)) == [
        ("weighed_and_priced", "cache_read_tokens")
    ]
    assert finding_codes(charge("vector_lookups", each)) == []
    # Events that only one of the two can see are no doubt.
    apart = charge("input_tokens", each, where={"region": "eu"})
    row = charge_of(filter={"region": "us"})
    plan = parse_plan({"currency": "USD", "charges": [row, apart]})
    assert lint(plan) == ()
    dimensions = {"model": "dimensions", "token_multipliers": {"output_tokens": "1"}}
    by_tool = {"key": "agent", "name": "Agent", "price": dimensions}
    assert finding_codes(by_tool) == [("weighed_and_priced", "agent")]
    outcome = {
        "model": "compound",
        "outcome": {"all": [{"event_type": "done"}]},
        "absorbs": ["tool_calls"],
        "price": each,
    }
    absorbing = {"key": "done", "name": "Done", "price": outcome}
    assert finding_codes(absorbing) == [("weighed_and_priced", "done")]
    cost = charge(
        "cost",
        {"model": "percentage", "rate": "130"},
        metric={"key": "cost", "aggregation": "sum", "cogs": True},
    )
    assert finding_codes(cost) == []
    assert finding_codes(cost, weights=[*WEIGHTS, COST]) == [
        ("weighed_and_priced", "cost")
    ]


def test_a_total_and_its_parts_are_not_both_weighed() -> None:
    parts = [*WEIGHTS, {"measurement": "reasoning_tokens", "amount": "1"}]
    assert finding_codes(weights=parts) == [("counted_twice", "credits")]
    twin = {**charge_of(), "key": "twin"}
    assert finding_codes(twin) == [("overlap", "twin")]
