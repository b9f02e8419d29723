"""Contracts in the back office: currency, an agent's allocation, and what goes on."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from django.http import HttpResponse
from django.urls import reverse

from aforo.core.models import Role
from billing import own_prices
from billing.models import Subscription
from portal.tests.scene import NOW, PLAN, Scene, sign_in
from portal.tests.test_admin import _empty_inlines
from tests.factories import make_version

pytestmark = pytest.mark.django_db
CALLS: dict[str, Any] = {
    "model": "dimensions",
    "billing_mode": "COMMITTED",
    "committed_amount": 1000,
    "committed_price": "10000",
    "tool_invocations": {"*": "10"},
}
CHARGES: list[dict[str, Any]] = [{"key": "calls", "name": "Calls", "price": CALLS}]
COMMITTED = {
    "currency": "USD",
    "charges": CHARGES,
    "currencies": {
        "EUR": {"charges": {"calls": {"price": {**CALLS, "committed_price": "9000"}}}}
    },
}
CHEAPER = {"calls": {"price": {"model": "per_unit", "unit_amount": "0.008"}}}


def add(scene: Scene, **given: Any) -> HttpResponse:
    """Subscribe the customer's agent to a committed plan, as finance does."""
    client = sign_in(scene, Role.FINANCE)
    data = {
        "customer": scene.customer.pk,
        "plan_version": make_version(scene.product, COMMITTED).pk,
        "agent": scene.agent.pk,
        "started_at_0": f"{NOW:%Y-%m-%d}",
        "started_at_1": "12:00:00",
        "started_at": f"{NOW:%Y-%m-%d %H:%M:%S}",
        **given,
    }
    url = reverse("admin:billing_subscription_add")
    answer = client.post(url, data | _empty_inlines("snapshots"))
    assert isinstance(answer, HttpResponse)
    return answer


def test_an_agent_gets_an_allocation_in_a_currency_of_the_plan(scene: Scene) -> None:
    terms = {"currency": "EUR", "committed_amount": "300", "committed_price": "2700"}
    answer = add(scene, **terms)
    assert answer.status_code == 302, answer.content
    made = Subscription.objects.get(agent=scene.agent)
    snapshot = made.snapshots.get()
    assert snapshot.overrides == {"currency": "EUR"}
    assert snapshot.commitment == {"amount": 300, "price": "2700"}
    assert str(made.ledger.get().amount.normalize()) == "2.7E+3"
    client = sign_in(scene, Role.FINANCE)
    page = client.get(f"/customers/{scene.customer.public_id}").content.decode()
    assert "Committed to 300 calls for €2,700.00 a month" in page
    assert "in EUR" in page


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"currency": "GBP"}, "is not sold in GBP; it is sold in USD, EUR."),
        ({"committed_amount": "300"}, "Type both: how many calls, and what they cost."),
        (
            {"committed_amount": "300", "committed_price": "-1"},
            "greater than or equal to 0",
        ),
    ],
)
def test_terms_that_do_not_fit_are_refused_in_the_form(
    scene: Scene, given: dict[str, str], words: str
) -> None:
    answer = add(scene, **given)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not Subscription.objects.filter(agent=scene.agent).exists()


def test_own_prices_go_on_with_the_next_plan_version(scene: Scene) -> None:
    own_prices.set_prices(
        subscription=scene.subscription, charges=CHEAPER, at=NOW, actor=None
    )
    client = sign_in(scene, Role.FINANCE)
    change = reverse("admin:billing_subscription_change", args=[scene.subscription.pk])
    without = copy.deepcopy(PLAN)
    without["charges"] = [c for c in PLAN["charges"] if c["key"] != "calls"]
    later = {"effective_at": "2026-12-01 00:00:00"} | _empty_inlines("snapshots")
    refused = client.post(
        change, {"plan_version": make_version(scene.product, without).pk} | later
    )
    assert refused.status_code == 200
    assert "the plan has no charge calls" in refused.content.decode()
    answer = client.post(
        change, {"plan_version": make_version(scene.product, PLAN).pk} | later
    )
    assert answer.status_code == 302, answer.content
    made = scene.subscription.snapshots.order_by("-number")[0]
    assert made.overrides == {"charges": CHEAPER, "currency": "USD"}
