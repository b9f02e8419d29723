"""Recipes in words: what customers read of them, and what stays with the seller."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from catalog.describe import describe
from catalog.difference import Terms, compare
from catalog.facts import charge_facts
from catalog.price_list import prices, public_json
from catalog.pricing import Plan
from catalog.tests.recipe_kit import WEIGHTS, credits_plan

COST = {"cogs": True, "amount": "120"}
INCLUDED: dict[str, Any] = {
    "model": "included",
    "units": "10000",
    "overage": {
        "model": "graduated",
        "tiers": [
            {"up_to": "50000", "unit_amount": "0.01"},
            {"up_to": None, "unit_amount": "0.008"},
        ],
    },
}


def marked(**more: Any) -> Plan:
    """Return credits with a markup of 20 % and a weight of our cost."""
    given = {"markup_percent": "20", "weights": [*WEIGHTS, COST], **more}
    return credits_plan(**given)


def test_a_recipe_says_what_a_unit_is_worth_and_what_it_is_charged_for() -> None:
    assert describe(credits_plan()) == (
        "Credits: $0.01 per credit; 1 credit per 1K input tokens, 3 per 1K output"
        " tokens and 5 per tool call, rounded up, at least 1 credit per event."
    )
    # With a markup: what a customer's tokens come to, never the markup itself.
    assert describe(marked(rounding="half_up", decimals=2)) == (
        "Credits: $0.01 per credit; 1.2 credits per 1K input tokens, 3.6 per 1K output"
        " tokens, 6 per tool call and more by the model or tool used, rounded half up"
        " to 2 places, at least 1 credit per event."
    )
    many = [{"measurement": f"meter_{n}", "amount": "1"} for n in range(7)]
    assert "and 3 more meters" in describe(credits_plan(weights=many))


def test_the_price_list_has_a_table_of_what_usage_comes_to() -> None:
    (shown,) = prices(marked(price=INCLUDED))
    assert shown.model == "Recipe"
    assert shown.weights == (
        ("1K input tokens", "1.2 credits"),
        ("1K output tokens", "3.6 credits"),
        ("1 tool call", "6 credits"),
        ("Model or tool used", "more credits"),
    )
    assert [row.price for row in shown.tiers] == [
        "$0.01 per credit",
        "$0.008 per credit",
    ]
    assert "Included units come first" in shown.tier_note
    assert shown.counts == (
        "input tokens, output tokens, tool calls, our cost, by weight"
    )


def test_the_public_json_never_tells_markup_or_cost() -> None:
    (public,) = public_json(marked(price=INCLUDED))["charges"]
    assert public["price"] == {
        "model": "recipe",
        "charged_for": [
            {"measurement": "input_tokens", "amount": "1.2", "per": 1000},
            {"measurement": "output_tokens", "amount": "3.6", "per": 1000},
            {"measurement": "tool_calls", "amount": "6"},
        ],
        "more_by_use": True,
        "rounding": "up",
        "minimum_per_event": "1",
        "price": INCLUDED,
    }
    text = json.dumps(public)
    for hidden in ("markup", "cogs", "cost", "120", "144"):
        assert hidden not in text
    (plain,) = public_json(credits_plan())["charges"]
    assert "more_by_use" not in plain["price"]


def test_every_figure_of_a_recipe_can_be_compared() -> None:
    (charge,) = marked().charges
    facts = {fact.key: (fact.words, fact.value) for fact in charge_facts(charge, "USD")}
    assert facts["weight.input_tokens"] == (
        "1 credit per 1K input tokens",
        Decimal("0.001"),
    )
    assert facts["cost_weight"] == ("120 credits per unit of money", Decimal(120))
    assert facts["markup"] == ("20 %", Decimal(20))
    assert facts["per_event"][0] == "rounded up, at least 1 credit per event"
    assert facts["price"] == ("$0.01 per credit", Decimal("0.01"))
    old, new = (Terms(plan, {}, False) for plan in (credits_plan(), marked()))
    (changed,) = compare(old, new).charges
    assert [change.label for change in changed.changes] == [
        "Counts",
        "Weight of our cost",
        "Markup",
    ]
