"""Names in a price that no event is known to carry."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.pricing import parse_plan
from portal.composer.doubts import unseen
from portal.tests.scene import Scene

pytestmark = pytest.mark.django_db


def told(scene: Scene, price: dict[str, Any]) -> list[str]:
    """Return the doubts about a plan with one price."""
    row = {"key": "k", "name": "Charge", "price": price}
    plan = parse_plan({"currency": "USD", "charges": [row]})
    return [finding.message for finding in unseen(plan, scene.product)]


def test_a_mistyped_measurement_is_told_with_what_is_perhaps_meant(
    scene: Scene,
) -> None:
    rates = {"input_tokens": "0.0000005", "outptu_tokens": "0.000002"}
    (message,) = told(scene, {"model": "dimensions", "token_multipliers": rates})
    assert message.endswith(
        "no event is known to carry outptu_tokens; perhaps output_tokens is meant"
    )


def test_weights_and_what_an_outcome_covers_are_looked_at_too(scene: Scene) -> None:
    price = {"model": "per_unit", "unit_amount": "1"}
    weights = [{"measurement": "zzz", "amount": "1"}, {"cogs": True, "amount": "1"}]
    recipe = {"model": "recipe", "weights": weights, "rounding": "up", "price": price}
    assert len(told(scene, recipe)) == 1
    outcome = {"all": [{"event_type": "doc.parsed"}]}
    compound = {"model": "compound", "outcome": outcome, "price": price}
    assert told(scene, {**compound, "absorbs": ["input_tokens"]}) == []
    assert len(told(scene, {**compound, "absorbs": ["vector look-ups"]})) == 1
