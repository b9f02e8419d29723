"""Changes of margin levels as happenings: what alerts and webhooks are made of."""

from __future__ import annotations

from decimal import Decimal

import pytest
import redis

from aforo.core.models import Happening
from guard import projection
from guard.models import MarginChange
from metering import pipeline
from tests.factories import Shop, add_cost, make_shop, store_event
from tests.test_margins import BODY, LIMITS, MODEL

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(store: redis.Redis) -> Shop:
    made = make_shop(body=BODY, limits=LIMITS)
    add_cost(made.tenant, model="gpt-4o", unit="output_tokens", amount="0.01")
    return made


def use(shop: Shop, calls: int, tokens: int) -> None:
    """Use, rate, and tell the edge what the worker tells it after its commit."""
    store_event(shop, {"tool_calls": calls, "output_tokens": tokens}, properties=MODEL)
    pipeline.rate()
    projection.project_customers([shop.customer.pk], config=True)


def test_each_level_is_told_once_and_its_end_too(shop: Shop) -> None:
    use(shop, 100, 850)  # $10.00 of revenue, $8.50 of cost.
    use(shop, 0, 80)
    use(shop, 0, 170)
    use(shop, 200, 0)
    own = Happening.objects.filter(scope=f"{shop.subscription.public_id}/margin")
    told = [(row.type, row.figures["margin"]) for row in own.order_by("pk")]
    rows = MarginChange.objects.filter(scope="subscription").order_by("pk")
    assert [kind for kind, _ in told] == [
        "margin.warn",
        "margin.throttle",
        "margin.block",
        "margin.ok",
    ]
    assert [Decimal(figure) for _, figure in told] == [row.margin for row in rows]
    assert "$11.00" in own.order_by("pk")[2].text
