"""Plan JSON is read strictly: each refusal has its code, place and words."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from catalog.pricing import PerUnit, PlanError, parse_plan, plan_to_json

GOOD: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        {
            "key": "input",
            "name": "Input tokens",
            "unit": "tokens",
            "metric": {
                "key": "input_tokens",
                "aggregation": "sum",
                "measurement": "input_tokens",
                "event_types": ["llm.completion"],
            },
            "filter": {"model": "a", "region": ["eu", "us"]},
            "price": {
                "model": "graduated",
                "per": 1000000,
                "tiers": [
                    {"up_to": "10000000", "unit_amount": "3"},
                    {"up_to": None, "unit_amount": "2.5", "flat_amount": "1"},
                ],
            },
        },
        {
            "key": "platform",
            "name": "Platform fee",
            "price": {"model": "flat", "amount": "200", "due": "advance"},
        },
    ],
}
SHARE = {"model": "percentage", "rate": "2"}
UNIT = {"model": "per_unit", "unit_amount": "1"}
TIER = "charges.0.price.tiers"
PRICE = "charges.0.price"
METRIC = "charges.0.metric"


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the good plan with another value at a path; `...` takes it out."""
    data = copy.deepcopy(GOOD)
    *parents, last = [int(n) if n.isdigit() else n for n in path.split(".")]
    place: Any = data
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return data


def included(overage: dict[str, Any]) -> dict[str, Any]:
    """Return an included model with this overage."""
    return {"model": "included", "units": "10", "overage": overage}


REFUSED: list[tuple[str, Any, str, str]] = [
    ("extra", 1, "unknown_key", "extra"),
    ("charges", ..., "missing_key", ""),
    ("charges", {}, "wrong_type", "charges"),
    ("charges", [1], "wrong_type", "charges[0]"),
    ("currency", "XXX", "unknown_currency", "currency"),
    ("currency", "usd", "unknown_currency", "currency"),
    ("charges.0.colour", "red", "unknown_key", "charges[0].colour"),
    ("charges.0.key", "Input", "invalid_key", "charges[0].key"),
    ("charges.0.key", "platform", "duplicate_charge", "charges[1].key"),
    ("charges.0.name", " ", "empty", "charges[0].name"),
    ("charges.0.name", "a\nb", "invalid_text", "charges[0].name"),
    ("charges.0.name", "n" * 201, "too_long", "charges[0].name"),
    ("charges.0.metric", ..., "missing_key", "charges[0]"),
    ("charges.1.metric", {}, "unsupported", "charges[1].metric"),
    ("charges.1.filter", {}, "unsupported", "charges[1].filter"),
    (
        f"{METRIC}.aggregation",
        "median",
        "unknown_choice",
        "charges[0].metric.aggregation",
    ),
    (f"{METRIC}.measurement", ..., "invalid_metric", "charges[0].metric"),
    (f"{METRIC}.property", "p", "invalid_metric", "charges[0].metric"),
    (f"{METRIC}.event_types", "x", "wrong_type", "charges[0].metric.event_types"),
    ("charges.0.filter", [], "wrong_type", "charges[0].filter"),
    ("charges.0.filter.model", [], "empty", "charges[0].filter.model"),
    ("charges.0.filter.model", 5, "wrong_type", "charges[0].filter.model"),
    (f"{PRICE}.model", "stairs", "unknown_model", "charges[0].price.model"),
    (f"{PRICE}.model", ..., "missing_key", "charges[0].price"),
    (f"{PRICE}.per", 100, "unknown_choice", "charges[0].price.per"),
    (f"{PRICE}.per", 1000.0, "float", "charges[0].price.per"),
    (f"{PRICE}.per", True, "wrong_type", "charges[0].price.per"),
    (TIER, [], "no_tiers", "charges[0].price.tiers"),
    (f"{TIER}.0.up_to", None, "wrong_type", "charges[0].price.tiers[0].up_to"),
    (f"{TIER}.1.up_to", "9", "last_tier_bounded", "charges[0].price.tiers[1].up_to"),
    (f"{TIER}.0.up_to", "0", "tiers_not_increasing", "charges[0].price.tiers[0].up_to"),
    (f"{TIER}.0.unit_amount", 3.0, "float", "charges[0].price.tiers[0].unit_amount"),
    (f"{TIER}.0.unit_amount", 3, "wrong_type", "charges[0].price.tiers[0].unit_amount"),
    (
        f"{TIER}.0.unit_amount",
        "-3",
        "negative",
        "charges[0].price.tiers[0].unit_amount",
    ),
    (
        f"{TIER}.0.unit_amount",
        "0.0000001",
        "too_precise",
        "charges[0].price.tiers[0].unit_amount",
    ),
    (
        PRICE,
        UNIT | {"unit_amount": "0.0000000000001"},
        "too_precise",
        "charges[0].price.unit_amount",
    ),
    (
        PRICE,
        UNIT | {"unit_amount": "1000000000"},
        "out_of_range",
        "charges[0].price.unit_amount",
    ),
    (
        PRICE,
        UNIT | {"unit_amount": "1e3"},
        "invalid_number",
        "charges[0].price.unit_amount",
    ),
    (
        PRICE,
        UNIT | {"unit_amount": " 1"},
        "invalid_number",
        "charges[0].price.unit_amount",
    ),
    (
        PRICE,
        UNIT | {"unit_amount": "1_0"},
        "invalid_number",
        "charges[0].price.unit_amount",
    ),
    (
        PRICE,
        UNIT | {"unit_amount": "１"},
        "invalid_number",
        "charges[0].price.unit_amount",
    ),
    (
        PRICE,
        UNIT | {"unit_amount": "NaN"},
        "invalid_number",
        "charges[0].price.unit_amount",
    ),
    (
        PRICE,
        UNIT | {"unit_amount": "9" * 41},
        "invalid_number",
        "charges[0].price.unit_amount",
    ),
    (PRICE, UNIT | {"tiers": []}, "unknown_key", "charges[0].price.tiers"),
    (
        PRICE,
        {"model": "package", "size": "0", "amount": "1"},
        "out_of_range",
        "charges[0].price.size",
    ),
    (
        PRICE,
        {"model": "package", "size": "0.000000002", "amount": "2"},
        "out_of_range",
        "charges[0].price.size",
    ),
    (PRICE, {"model": "package", "size": "5"}, "unsupported", "charges[0].price"),
    (
        PRICE,
        {"model": "package", "size": "5", "price": SHARE},
        "unsupported",
        "charges[0].price.price",
    ),
    (
        PRICE,
        included({"model": "flat", "amount": "1", "due": "advance"}),
        "unsupported",
        "charges[0].price.overage",
    ),
    (PRICE, included(included(UNIT)), "unsupported", "charges[0].price.overage"),
    (
        PRICE,
        included(SHARE | {"minimum": "1"}),
        "unsupported",
        "charges[0].price.overage",
    ),
    (
        PRICE,
        included(SHARE | {"free_amount": "1"}),
        "unsupported",
        "charges[0].price.overage",
    ),
    (PRICE, SHARE | {"rate": "1000000"}, "out_of_range", "charges[0].price.rate"),
    (
        PRICE,
        SHARE | {"free_events": 1001},
        "out_of_range",
        "charges[0].price.free_events",
    ),
    (PRICE, SHARE | {"free_events": 0}, "out_of_range", "charges[0].price.free_events"),
    (
        PRICE,
        SHARE | {"minimum": "2", "maximum": "1"},
        "out_of_range",
        "charges[0].price.maximum",
    ),
    (
        PRICE,
        SHARE | {"fixed_amount": "1", "free_amount": "5"},
        "unsupported",
        "charges[0].price.free_amount",
    ),
    ("charges.1.price.due", "later", "unknown_choice", "charges[1].price.due"),
]


@pytest.mark.parametrize(("path", "value", "code", "where"), REFUSED)
def test_a_mistake_in_a_plan_is_refused_at_its_place(
    path: str, value: Any, code: str, where: str
) -> None:
    with pytest.raises(PlanError) as refusal:
        parse_plan(changed(path, value))
    error = refusal.value
    assert (error.code, error.path) == (code, where)
    assert error.message


@pytest.mark.parametrize("data", [None, [], "plan", 1])
def test_what_is_no_object_is_no_plan(data: object) -> None:
    with pytest.raises(PlanError, match="an object is expected"):
        parse_plan(data)


def test_a_percentage_is_taken_of_a_sum() -> None:
    data = changed(PRICE, SHARE)
    data["charges"][0]["metric"]["aggregation"] = "max"
    with pytest.raises(PlanError) as refusal:
        parse_plan(data)
    assert refusal.value.path == "charges[0].metric.aggregation"


def test_two_charges_cannot_define_one_metric_differently() -> None:
    data = copy.deepcopy(GOOD)
    other = copy.deepcopy(data["charges"][0]) | {"key": "other"}
    other["metric"]["aggregation"] = "max"
    data["charges"].append(other)
    with pytest.raises(PlanError) as refusal:
        parse_plan(data)
    assert refusal.value.code == "metric_conflict"


def test_a_good_plan_comes_back_as_it_was_written() -> None:
    assert plan_to_json(parse_plan(GOOD)) == GOOD


def test_a_price_of_twelve_places_is_taken_exactly() -> None:
    model = UNIT | {"unit_amount": "0.000000000001"}
    plan = parse_plan(changed(PRICE, model))
    assert plan.charges[0].model == PerUnit(Decimal("1E-12"), 1)


def test_a_zero_written_with_a_sign_or_many_places_is_zero() -> None:
    for text in ("-0", "0.00000000000000000000"):
        plan = parse_plan(changed(PRICE, UNIT | {"unit_amount": text}))
        assert str(plan.charges[0].model.unit_amount) == "0"  # type: ignore[union-attr]
