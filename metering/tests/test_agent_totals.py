"""What agents use and cost is counted as the ledger and the facts have it."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest

from aforo.management.commands.verify import breaks
from billing import agent_totals
from billing.models import AgentTotal, UsageTotal
from metering import pipeline, voiding
from tests.factories import add_cost, make_shop, store_event

BODY = {
    "currency": "USD",
    "charges": [
        {
            "key": "calls",
            "name": "Calls",
            "metric": "tool_calls",
            "price": {"model": "per_unit", "unit_amount": "0.10"},
        }
    ],
}


@pytest.mark.django_db
def test_what_agents_used_and_cost_is_counted() -> None:
    shop = make_shop(body=BODY)
    add_cost(shop.tenant, model="gpt-4o", unit="output_tokens", amount="0.01")
    for calls in (100, 10):
        event = store_event(
            shop,
            {"tool_calls": calls, "output_tokens": 50},
            properties={"model": "gpt-4o"},
        )
        pipeline.rate()

    def counted() -> list[Decimal]:
        rows = AgentTotal.objects.filter(customer=shop.customer, agent=shop.agent)
        charged = rows.get(subscription=shop.subscription).charges["calls"]
        return [*map(Decimal, charged), rows.get(subscription=None).cost]

    assert counted() == [110, 11, 1]
    voiding.void(event, reason="twice")
    assert counted() == [100, 10, Decimal("0.5")]
    assert UsageTotal.objects.get().spend == 10
    assert not {k: v for k, v in breaks().items() if v}


def test_revenues_are_quantities_at_the_average_price() -> None:
    one, two = Decimal(1), Decimal(2)
    nobody: dict[uuid.UUID | None, agent_totals.Charges] = {
        None: {"calls": (Decimal(0), -one)}
    }
    assert agent_totals.revenues(nobody) == {None: -one}
    a, b = uuid.uuid4(), uuid.uuid4()
    found = agent_totals.revenues(
        {
            a: {"calls": (two * 3, two * 3), "seats": (Decimal(0), Decimal(5))},
            b: {"calls": (two, -two)},
        }
    )
    # Eight calls came to four; what has no quantity stays where it was posted.
    assert found == {a: Decimal(8), b: Decimal(1)}
