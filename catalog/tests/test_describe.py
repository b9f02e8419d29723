"""Plans in plain words: every charge model, never more than 120 words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.describe import WORDS_MAX, describe
from catalog.pricing import parse_plan

METRIC = {"key": "m", "aggregation": "sum", "measurement": "m"}
TIERS = [
    {"up_to": "10000000", "unit_amount": "3.00"},
    {"up_to": "50000000", "unit_amount": "2.50", "flat_amount": "5"},
    {"up_to": None, "unit_amount": "2.00"},
]


def plan(*prices, unit="tokens", **more):
    """Return a plan with a charge for each price."""
    charges = []
    for index, price in enumerate(prices):
        charge = {"key": f"c{index}", "name": "Use", "price": price, "unit": unit}
        metric = {} if price["model"] == "flat" else {"metric": METRIC}
        charges.append({**charge, **metric, **more})
    return parse_plan({"currency": "USD", "charges": charges})


@pytest.mark.parametrize(
    ("_case", "price", "words"),
    [
        (
            "flat in advance",
            {"model": "flat", "amount": "200", "due": "advance"},
            "Use: $200.00 a month, in advance.",
        ),
        (
            "flat in arrears",
            {"model": "flat", "amount": "200", "due": "arrears"},
            "Use: $200.00 a month, at the end.",
        ),
        (
            "per unit",
            {"model": "per_unit", "unit_amount": "0.0000005"},
            "Use: $0.0000005 per token.",
        ),
        (
            "graduated",
            {"model": "graduated", "per": 1000000, "tiers": TIERS},
            "Use: $3.00 per 1M tokens up to 10,000,000, then $2.50 plus $5.00 up to"
            " 50,000,000, then $2.00 above.",
        ),
        (
            "volume",
            {"model": "volume", "tiers": TIERS[::2]},
            "Use: $3.00 per token up to 10,000,000, then $2.00 above, the tier"
            " reached pricing the whole quantity.",
        ),
        (
            "package",
            {"model": "package", "size": "1000", "amount": "1"},
            "Use: $1.00 per started 1,000 tokens.",
        ),
        (
            "included",
            {
                "model": "included",
                "units": "1000000",
                "overage": {"model": "per_unit", "unit_amount": "5", "per": 1000000},
            },
            "Use: 1,000,000 tokens included, then $5.00 per 1M tokens.",
        ),
        (
            "percentage",
            {
                "model": "percentage",
                "rate": "2.5",
                "fixed_amount": "0.10",
                "minimum": "0.50",
                "maximum": "9",
                "free_events": 3,
                "free_amount": "10",
            },
            "Use: 2.5 % plus $0.10 per event, at least $0.50, at most $9.00, the"
            " first 3 events or $10.00 free.",
        ),
    ],
)
def test_each_charge_model_is_said_in_words(_case, price, words):
    assert describe(plan(price)) == words


def test_conditions_are_said_too():
    price = {"model": "per_unit", "unit_amount": "1"}
    made = plan(price, filter={"model": ["a", "b"], "region": list("vwxyz")})
    assert describe(made) == (
        "Use: $1.00 per token when model is a or b and region is v, w or one of 3"
        " others."
    )


def test_a_plan_without_charges_says_so():
    made = parse_plan({"currency": "USD", "charges": []})
    assert describe(made) == "Nothing is charged."


@given(count=st.integers(1, 120))
def test_no_plan_takes_more_than_120_words(count):
    price = {"model": "graduated", "per": 1000, "tiers": TIERS}
    text = describe(plan(*[price] * count))
    assert len(text.split()) <= WORDS_MAX
    assert ("more charge" in text) == (text.count("Use:") < count)
