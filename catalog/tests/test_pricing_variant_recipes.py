"""Our cost in a recipe, in further currencies: a yen of it is no dollar."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from catalog.pricing import (
    Own,
    Plan,
    PlanError,
    collect,
    lint,
    parse_plan,
    plan_of_contract,
    plan_to_json,
    price,
)
from catalog.tests.pricing_kit import amount, event
from catalog.tests.recipe_kit import WEIGHTS, charge_of


def recipe(cost: str, unit_amount: str) -> dict[str, Any]:
    """Return credits for tokens and for our cost."""
    return {
        "model": "recipe",
        "weights": [WEIGHTS[0], {"cogs": True, "amount": cost}],
        "rounding": "up",
        "price": {"model": "per_unit", "unit_amount": unit_amount},
    }


def plan_of(cost: str) -> Plan:
    """Return a plan in dollars and yen."""
    said = {"credits": {"price": recipe(cost, "1.5")}}
    return parse_plan(
        {
            "currency": "USD",
            "charges": [charge_of(recipe("300", "0.01"))],
            "currencies": {"JPY": {"charges": said}},
        }
    )


def test_a_currency_says_what_one_of_our_cost_weighs_in_it() -> None:
    plan = plan_of("2")
    assert parse_plan(plan_to_json(plan)) == plan
    assert lint(plan) == ()
    yen = plan_of_contract(plan, Own("JPY"))
    # Two credits for the tokens and three for a cost of a cent, which is ¥1.50.
    dollars = collect(plan, [event(1, input_tokens=2000, cost="0.01")])
    assert amount(price(plan, dollars)) == Decimal("0.05")
    used = collect(yen, [event(1, input_tokens=2000, cost="1.5")])
    assert amount(price(yen, used)) == Decimal("7.5")
    # An own price counts what the contract's currency counts.
    with pytest.raises(PlanError) as caught:
        plan_of_contract(plan, Own("JPY", {"credits": {"price": recipe("3", "1")}}))
    assert caught.value.code == "another_metric"


def test_the_same_weight_in_another_currency_is_doubted() -> None:
    (doubt,) = lint(plan_of("300"))
    assert (doubt.code, doubt.charges) == ("cost_weighs_the_same", ("credits",))
    assert doubt.message.startswith("1 USD and 1 JPY of our cost weigh the same")


def test_what_else_a_unit_is_made_of_stays() -> None:
    body = copy.deepcopy(dict(plan_to_json(plan_of("2"))))
    said = body["currencies"]["JPY"]["charges"]["credits"]["price"]
    said["weights"][0]["amount"] = "2"
    with pytest.raises(PlanError) as caught:
        parse_plan(body)
    assert caught.value.code == "another_metric"
