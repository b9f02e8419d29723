"""A recipe from the ingest door to the books: what an event said and what it costs."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing import subscriptions
from billing.models import LedgerEntry
from billing.preview import preview
from catalog.pricing import explain_step, unpack_steps
from catalog.tests.recipe_kit import CREDITS, charge_of
from metering import pipeline
from metering.models import Unrateable
from metering.tests.conftest import Door, Seller
from tests.factories import make_version


def sell(seller: Seller, **more: Any) -> None:
    """Let the customer use the product at a price in credits."""
    body = {"currency": "USD", "charges": [charge_of({**CREDITS, **more})]}
    subscriptions.subscribe(
        customer=seller.customer,
        product=seller.product,
        plan_version=make_version(seller.product, body),
        start_at=clock.now() - dt.timedelta(days=60),
        actor=None,
    )


def call(seller: Seller, correlation: str, **used: int) -> dict[str, Any]:
    """Return an event of the agent with measurements."""
    return seller.event(
        correlationId=correlation,
        agentId=seller.agent.external_id,
        measurements=[
            {"metricKey": name, "value": value} for name, value in used.items()
        ],
    )


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_posted_is_billed_in_credits(
    door: Door, seller: Seller
) -> None:
    sell(seller, markup_percent="20")
    whole = call(seller, "c-1", input_tokens=2400, output_tokens=800, tool_calls=2)
    least = call(seller, "c-2", input_tokens=10)
    for event in (whole, least, whole):
        assert door.post(seller, event).status == 200
    pipeline.rate()
    entries = list(LedgerEntry.objects.order_by("id"))
    assert [entry.amount for entry in entries] == [Decimal("0.18"), Decimal("0.01")]
    (steps,) = entries[0].steps
    told = unpack_steps(steps, entries[0].quantities[0], entries[0].amounts[0])
    assert [explain_step(s, "USD", unit="credits") for s in told] == [
        "2,400 input tokens × 1 per 1K → 2.4 credits",
        "800 output tokens × 3 per 1K → 2.4 credits",
        "2 tool calls × 5 → 10 credits",
        "20 % markup on 14.8 → 2.96 credits",
        "rounding each event → 0.24 credits",
        "18 × $0.01 = $0.18",
    ]
    made = preview(customer=seller.customer, currency="USD", now=clock.now())
    assert made is not None
    (line,) = made.lines
    assert (line.quantity, line.amount) == (Decimal(19), Decimal("0.19"))
    assert {code: found for code, found in breaks().items() if found} == {}


@pytest.mark.django_db(transaction=True)
def test_an_event_whose_cost_is_not_known_waits_for_a_replay(
    bare: Door, seller: Seller
) -> None:
    weights = [*CREDITS["weights"], {"cogs": True, "amount": "100"}]
    sell(seller, weights=weights)
    assert bare.post(seller, call(seller, "c-1", input_tokens=10)).status == 200
    pipeline.rate()
    (listed,) = Unrateable.objects.all()
    assert listed.reason == "unknown_cost"
    assert not LedgerEntry.objects.exists()
