"""Estimates follow own prices; what no price decides stays as it is."""

from __future__ import annotations

import msgspec
import pytest

from aforo.lib import clock
from billing import own_prices
from billing.models import Customer, Subscription
from catalog.plans import load_plans
from catalog.tests.recipe_kit import CREDITS, charge_of
from guard import facts
from guard.engine import state
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


def estimated(customer: Customer) -> dict[str, int]:
    """Return what the edge is told that a million of each meter costs."""
    (found,) = facts.read([customer.pk])
    records = [
        msgspec.msgpack.decode(value, type=state.Subscription)
        for name, value in found.config.items()
        if name.startswith("s:")
    ]
    return dict(records[0].estimate_prices)


@pytest.mark.django_db(transaction=True)
def test_a_recipe_is_estimated_at_the_price_of_the_contract():
    dear = {"price": {**CREDITS, "price": {"model": "per_unit", "unit_amount": "0.02"}}}
    body = {
        "currency": "USD",
        "charges": [charge_of()],
        "currencies": {"EUR": {"charges": {"credits": dear}}},
    }
    shop = make_shop(body=body)
    assert estimated(shop.customer)["input_tokens"] == 10_000_000
    own_prices.set_prices(
        subscription=Subscription.objects.get(),
        charges={"credits": dear},
        at=clock.now(),
        actor=None,
    )
    assert estimated(shop.customer)["input_tokens"] == 20_000_000
