"""Spend levels and margins on pages: rules, moves, who is close, the same figures."""

from __future__ import annotations

from decimal import Decimal

import pytest
import redis
from django.conf import settings

from aforo.core.models import Role
from billing import wallets
from guard import margin
from guard.models import MarginChange
from metering import pipeline
from metering.tests.test_spend_levels import BODY, LIMITS
from portal.tests.test_model_prices import sign_in
from tests.factories import Shop, add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Shop:
    with redis.Redis.from_url(settings.GUARD_REDIS_URL) as client:
        client.flushdb()
    return make_shop(body=BODY, limits=LIMITS)


def use(shop: Shop, calls: str) -> None:
    store_event(shop, {"tool_calls": calls})
    pipeline.rate()


def test_rules_moves_and_who_is_close(shop: Shop) -> None:
    client = sign_in(shop, Role.VIEWER)
    page = client.get("/tiers").content.decode()
    assert "Nobody moved yet" in page
    assert "Nobody is close" in page
    for text in ("from $50.00 spent in a period", "of credits bought", "× 10"):
        assert text in page
    use(shop, "30")
    wallets.top_up(
        customer=shop.customer, currency="USD", amount=Decimal(6), actor=shop.owner
    )
    page = client.get("/tiers").content.decode()
    assert "$20.00" in page  # Of the 50 that are the next level.
    assert "Credits bought" in page
    use(shop, "21")
    page = client.get("/tiers").content.decode()
    assert "Spend of the period" in page
    assert "$51.00" in page
    assert shop.customer.name in page


def test_others_moves_are_not_shown(shop: Shop) -> None:
    use(shop, "60")
    other = make_shop()
    page = sign_in(other, Role.OWNER).get("/tiers").content.decode()
    assert shop.customer.name not in page
    assert "No plan has spend levels" in page


def test_without_levels_the_page_says_what_to_do() -> None:
    page = sign_in(make_shop(), Role.OWNER).get("/tiers").content.decode()
    assert "No plan has spend levels" in page


def test_the_customers_page_shows_level_and_margins_with_the_same_figures(
    shop: Shop,
) -> None:
    add_cost(shop.tenant, model="gpt-4o", unit="output_tokens", amount="1")
    store_event(
        shop,
        {"tool_calls": "100", "output_tokens": 190},
        properties={"model": "gpt-4o"},
    )
    pipeline.rate()
    margin.relevel([shop.customer.pk])
    change = MarginChange.objects.get(scope="subscription")
    assert [change.revenue, change.cogs, change.margin] == [200, 190, 5]
    client = sign_in(shop, Role.OWNER)
    page = client.get(f"/customers/{shop.customer.public_id}").content.decode()
    for text in ("Margin guard", "Throttled", "$200.00", "$190.00", "5.0 %"):
        assert text in page
    assert "OK → Throttle" in page
    assert "<strong>Scale</strong>" in page
    assert "Limits a minute × 4" in page
    # The allowance of fees by cost: one agent did it all.
    assert page.count("Throttled") == 3
