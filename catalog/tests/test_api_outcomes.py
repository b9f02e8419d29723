"""Outcomes over the catalog API: taken as plan JSON, refused at their place."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.pricing import parse_plan
from catalog.tests.api_kit import Caller, make_caller, plan_of
from tests.factories import make_shop

pytestmark = pytest.mark.django_db
PRICE: dict[str, Any] = {
    "model": "compound",
    "outcome": {"all": [{"event_type": "ticket.closed"}]},
    "price": {"model": "per_unit", "unit_amount": "0.99"},
    "confirm": {"event_type": "ticket.confirmed", "within_seconds": 259200},
    "reverse": {"event_type": "ticket.reopened", "where": {"by": "user"}},
    "cost_budget": {"amount": "0.5", "overage_percent": "130"},
}


@pytest.fixture
def api(db: None) -> Caller:
    """A caller that may write."""
    return make_caller(make_shop(), "catalog:read", "catalog:write")


def draft(price: dict[str, Any]) -> dict[str, Any]:
    """Return a draft of one outcome."""
    charge = {"key": "resolved", "name": "Resolutions", "price": price}
    return {"currency": "USD", "charges": [charge]}


def test_an_outcome_is_written_published_and_read_back(api: Caller) -> None:
    path = f"plans/{plan_of(api).code}"
    assert api.ask("PUT", f"{path}/draft", draft(PRICE)).status == 200
    done = api.ask("POST", f"{path}/versions/2/publish", {})
    assert done.status == 200, done.json
    shown = api.ask("GET", f"{path}/versions/2").json
    assert "charged when confirmed within 3 days" in shown["summary"]
    assert shown["charges"][0]["price"] == PRICE
    assert parse_plan(draft(shown["charges"][0]["price"])) == parse_plan(draft(PRICE))


def test_a_wrong_member_is_refused_at_its_place(api: Caller) -> None:
    wrong = {**PRICE, "confirm": {"event_type": "x", "within_seconds": 0}}
    path = f"plans/{plan_of(api).code}"
    api.ask("PUT", f"{path}/draft", draft(wrong))
    refused = api.ask("POST", f"{path}/versions/2/publish", {})
    assert refused.status == 422
    assert refused.json["field"].endswith("charges[0].price.confirm.within_seconds")
    assert "from 1 to 2,678,400" in refused.json["detail"].lower()
