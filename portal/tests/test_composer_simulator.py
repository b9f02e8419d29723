"""The simulator beside the form: figures, costs, a customer's month."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aforo.core.models import Role
from aforo.lib import clock
from billing.models import LedgerEntry
from catalog import plans
from catalog.models import Metric, Plan
from metering.models import CostFact
from portal.selectors import month_usage
from portal.tests.composer_kit import (
    figure,
    make_plan,
    opened,
    path,
)
from portal.tests.scene import NOW, Scene, sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan with a draft of two charges."""
    return make_plan(scene)


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


def simulated(client: Client, plan: Plan, **changes: Any) -> str:
    """Return what the simulator answers to the form with changes."""
    given = {**opened(client, plan), **changes}
    answer = client.post(path(plan, "simulate"), given)
    assert answer.status_code == 200
    return answer.content.decode()


def quantity_box(client: Client, plan: Plan) -> str:
    """Return the name of the one quantity's box."""
    (name,) = [name for name in opened(client, plan) if name.startswith("q-")]
    return name


def test_figures_are_the_engines(ana: Client, plan: Plan) -> None:
    box = quantity_box(ana, plan)
    page = simulated(ana, plan, **{box: "14,000", box.replace("q-", "k-"): "0.0021"})
    assert figure(page, "Customer pays") == Decimal("201")
    assert figure(page, "Our cost") == Decimal("29.4")
    assert figure(page, "Margin") == Decimal("171.6")
    assert figure(page, "Next 1,000 calls cost") == 5
    for step in (
        "first 1,000 × $0.01 = $10.00",
        "next 9,000 × $0.008 = $72.00",
        "4,000 above 10,000 × $0.005 = $20.00",
    ):
        assert step in page
    assert '<svg class="plot curve"' in page
    assert "<input" not in page  # Never the boxes that somebody types in.


def test_figures_stay_away_while_there_are_problems(ana: Client, plan: Plan) -> None:
    page = simulated(ana, plan, **{"c1-amount": "x"})
    assert 'data-problem="Amount “x” is no number.' in page
    assert 'id="figures"' not in page
    box = quantity_box(ana, plan)
    page = simulated(ana, plan, **{box: "many"})
    assert f'href="#{box}"' in page
    assert 'id="figures"' not in page


@pytest.mark.parametrize("text", ["-1", "1e", "1e-13", "0.0000000000001", "1" * 17])
def test_quantities_that_rating_would_refuse_are_refused(
    ana: Client, plan: Plan, text: str
) -> None:
    page = simulated(ana, plan, **{quantity_box(ana, plan): text})
    assert "Quantity" in page
    assert 'id="figures"' not in page


def test_the_largest_quantity_is_priced_without_a_curve(
    ana: Client, plan: Plan
) -> None:
    page = simulated(ana, plan, **{quantity_box(ana, plan): "9" * 16})
    assert 'id="figures"' in page
    assert "plot curve" not in page


def test_another_metric_brings_another_box(ana: Client, plan: Plan) -> None:
    page = simulated(ana, plan, **{"c2-metric": "input_tokens"})
    assert 'id="usage"' in page


def test_charges_that_overlap_are_doubted(ana: Client, plan: Plan) -> None:
    given = opened(ana, plan)
    twin = ana.post(path(plan), {**given, "do": "c2.duplicate"}).content.decode()
    assert "an event can match both" in twin
    assert 'href="#c2-summary"' in twin


def october(scene: Scene) -> QuerySet[LedgerEntry]:
    """Return what the customer's usage of October was rated with."""
    start, end = month_usage.last_month(NOW)
    rows = scene.ledger().filter(event_id__isnull=False)
    return rows.filter(occurred_at__gte=start, occurred_at__lt=end)


def same_plan(scene: Scene) -> Plan:
    """Return a plan whose draft says what the customer's plan says."""
    made = plans.create_plan(
        product=scene.product, name="Same", code="same", actor=None
    )
    plans.save_draft(plan=made, body=scene.version.body, limits={}, actor=None)
    return made


def test_a_customers_month_costs_what_was_invoiced(scene: Scene, ana: Client) -> None:
    page = simulated(ana, same_plan(scene), customer=scene.customer.public_id)
    rated = sum((row.amount for row in october(scene)), Decimal(0))
    assert rated > 0
    assert figure(page, "Customer pays") == 99 + rated
    assert figure(page, "Invoiced, lines rounded") == scene.invoice.subtotal
    events = october(scene).values("event_id")
    known = CostFact.objects.filter(event__in=events, amount__isnull=False)
    assert figure(page, "Our cost") == sum(fact.amount for fact in known)
    assert "1 events have no known cost" in page


def test_a_month_is_read_once_for_many_prices(scene: Scene, ana: Client) -> None:
    plan = same_plan(scene)
    given = {**opened(ana, plan), "customer": scene.customer.public_id}
    ana.post(path(plan, "simulate"), given)
    with CaptureQueriesContext(
        connection,
    ) as seen:
        ana.post(path(plan, "simulate"), {**given, "c4-unit_amount": "0.02"})
    assert len(seen) < 20
    assert not any("metering_usageevent" in q["sql"] for q in seen.captured_queries)
    cache.clear()


def test_a_customer_of_nobody_is_no_choice(scene: Scene, ana: Client) -> None:
    page = simulated(ana, same_plan(scene), customer="cus_nobody")
    assert "events of" not in page


def test_a_month_with_too_many_events_is_left_to_backtests(
    scene: Scene, ana: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(month_usage, "EVENTS_MAX", 3)
    page = simulated(ana, same_plan(scene), customer=scene.customer.public_id)
    assert "has more than 3 events in October 2026" in page


def test_a_typed_quantity_costs_the_blended_cost(scene: Scene, ana: Client) -> None:
    plan = same_plan(scene)
    names = {name: "0" for name in opened(ana, plan) if name.startswith("q-")}
    output = Metric.objects.get(code="output_tokens")
    page = ana.get(path(plan)).content.decode()
    box = re.search(r'for="(q-[0-9a-f]+)">Output tokens', page)
    assert box is not None
    assert output.field == "output_tokens"
    answer = simulated(ana, plan, **{**names, box[1]: "1000"})
    assert figure(answer, "Our cost") == Decimal("0.0052")


def test_an_unknown_cost_is_a_dash_with_its_reason(ana: Client, plan: Plan) -> None:
    with clock.travel(NOW + dt.timedelta(days=90)):
        cache.clear()
        page = simulated(ana, plan)
    assert "no cost of calls is known from the last 30 days" in page


def test_each_tier_says_what_it_costs(ana: Client, plan: Plan) -> None:
    box = quantity_box(ana, plan)
    page = ana.get(path(plan)).content.decode()
    assert 'id="c2-tier-2-effect"' in page
    page = simulated(ana, plan, **{box: "14,000"})
    assert effects_of(page) == ["10", "72", "20"]
    page = simulated(ana, plan, **{box: "500"})
    assert effects_of(page) == ["5", None, None]
    page = simulated(ana, plan, **{box: "14,000", "c2-model": "volume"})
    assert effects_of(page) == [None, None, "70"]
    page = simulated(ana, plan, **{box: "14,000", "c1-amount": "x"})
    assert effects_of(page) == []


def effects_of(html: str) -> list[str | None]:
    """Return the exact amounts of the effect column; None where it is a dash."""
    cell = r'<span id="c2-tier-\d-effect" hx[^>]*>(.*?)\n</span>'
    cells = re.findall(cell, html, re.S)
    values = [re.search(r'value="([^"]+)"', cell) for cell in cells]
    return [None if value is None else value[1] for value in values]
