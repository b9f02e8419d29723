"""Estimates follow own prices; what no price decides stays as it is."""

from __future__ import annotations

import pytest

from catalog.plans import load_plans
from guard.estimates import limits_of
from tests.factories import TOKENS_PLAN, make_shop, make_version

pytestmark = pytest.mark.django_db
LIMITS = {
    "estimate": {"input_tokens": "0.000003", "tool_calls": "0.02"},
    "spend_cap": "25.00",
}
DEARER = {"price": {"model": "per_unit", "unit_amount": "4.50", "per": 1000000}}
CALLS = {"price": {"model": "per_unit", "unit_amount": "0.005"}}


@pytest.mark.parametrize(
    ("overrides", "estimate"),
    [
        ({}, LIMITS["estimate"]),
        ({"limits": {"spend_cap": "5"}}, LIMITS["estimate"]),
        # The list price of a token moves; a figure of the seller's own does not.
        (
            {"charges": {"input": DEARER, "calls": CALLS}},
            {"input_tokens": "0.0000045", "tool_calls": "0.02"},
        ),
    ],
)
def test_an_estimate_at_the_list_price_follows_the_contract(overrides, estimate):
    version = make_version(make_shop().product, TOKENS_PLAN, LIMITS)
    (priced,) = load_plans({version.pk}).values()
    found = limits_of(priced, overrides)
    assert found["estimate"] == estimate
    assert found["spend_cap"] == "25.00"
