"""Recipes at the edge: what a check reserves, and what their quotas hold."""

from __future__ import annotations

import pytest
import redis

from catalog.tests.recipe_kit import charge_of
from guard import projection
from guard.engine.check import check
from guard.engine.decision import CheckRequest, Decision
from metering import pipeline
from tests.factories import Shop, make_shop, store_event


@pytest.mark.django_db
def test_a_check_reserves_the_price_of_credits_and_keeps_quotas(
    store: redis.Redis,
) -> None:
    limits = {
        "estimate": {"output_tokens": "0.001"},
        "quotas": [{"metric": "tool_calls", "limit": 5, "on_exceed": "deny"}],
    }
    body = {"currency": "USD", "charges": [charge_of()]}
    shop = make_shop(body=body, limits=limits)

    def ask(name: str, **units: int) -> Decision:
        request = CheckRequest(
            tag=shop.customer.tag,
            request_id=name,
            decision_id=name,
            digest=shop.credential.digest,
            units=units,
        )
        found = check(store, request)
        assert isinstance(found, Decision)
        return found

    projection.project(shop.customer.pk)
    # 1,000 in at 1 credit, 2 calls at 5 credits; out as the limits say it.
    assert ask("a", input_tokens=1000, tool_calls=2).estimate_micros == 110_000
    assert ask("b", output_tokens=1000).estimate_micros == 1_000_000
    _use(shop, tool_calls=4)
    projection.project(shop.customer.pk)
    assert ask("c", tool_calls=2).outcome != "allow"


def _use(shop: Shop, **measured: int) -> None:
    """Let the shop's customer use something."""
    store_event(shop, measured)
    pipeline.rate()
