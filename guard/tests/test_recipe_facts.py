"""What recipes tell the edge: prices of estimates, and quantities of quotas."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from catalog.pricing import collect
from catalog.tests.pricing_kit import event
from catalog.tests.recipe_kit import COST, CREDITS, WEIGHTS, charge_of, credits_plan
from guard.recipe_facts import dearest, estimate_prices, weighed_quantities

TIERS = {
    "model": "volume",
    "per": 1000,
    "tiers": [
        {"up_to": "10", "unit_amount": "20", "flat_amount": "5"},
        {"up_to": None, "unit_amount": "10"},
    ],
}


@pytest.mark.parametrize(
    ("price", "each"),
    [
        ({"model": "per_unit", "unit_amount": "3", "per": 1000}, "0.003"),
        (TIERS, "0.02"),
        ({"model": "package", "size": "50", "amount": "1"}, "0.02"),
        ({"model": "included", "units": "10", "overage": TIERS}, "0.02"),
    ],
)
def test_a_unit_costs_at_most(price: dict[str, Any], each: str) -> None:
    (charge,) = credits_plan(price=price).charges
    assert dearest(charge.model.price) == Decimal(each)  # type: ignore[union-attr]


def test_a_meter_costs_what_its_units_do_with_the_markup() -> None:
    plan = credits_plan(markup_percent="20", weights=[*WEIGHTS, COST])
    assert estimate_prices(plan) == {
        "input_tokens": 12_000_000,
        "output_tokens": 36_000_000,
        "tool_calls": 60_000_000_000,
    }
    dear = charge_of({**CREDITS, "price": {"model": "per_unit", "unit_amount": "1"}})
    two = credits_plan(dear | {"key": "dear", "filter": {"model": "opus"}})
    assert estimate_prices(two)["input_tokens"] == 1_000_000_000
    # The edge counts to 2^53 only.
    huge = {"model": "per_unit", "unit_amount": "999999999"}
    assert "tool_calls" not in estimate_prices(credits_plan(price=huge))


def test_what_was_weighed_counts_for_quotas() -> None:
    plan = credits_plan(weights=[*WEIGHTS, COST])
    state = collect(plan, [event(1, input_tokens=10, tool_calls=2, cost="1")] * 2)
    assert weighed_quantities(plan, state) == {"input_tokens": 20, "tool_calls": 4}
