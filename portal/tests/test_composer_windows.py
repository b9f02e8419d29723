"""Metrics with a window: defined on the page or by the API, chosen and simulated."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client

from aforo.core.models import Role
from catalog import plans
from catalog.models import Metric, Plan
from catalog.tests.api_kit import METRIC, make_caller
from portal.tests.composer_kit import CALLS, figure, make_plan, opened, path
from portal.tests.scene import Scene, sign_in

pytestmark = pytest.mark.django_db

FORM = {
    "name": "Seats at once",
    "code": "seats",
    "aggregation": "max",
    "field": "seats",
    "window": "day",
    "unit": "seat",
}
PACKAGES = {"model": "package", "size": "10", "amount": "1"}


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


@pytest.fixture
def plan(scene: Scene, ana: Client) -> Plan:
    """A plan whose draft prices the largest number of seats of each day."""
    assert ana.post("/metrics/new", FORM).status_code == 302
    made = make_plan(scene)
    charge = {**CALLS, "metric": "seats", "unit": "seat", "price": PACKAGES}
    body = {"currency": "USD", "charges": [charge]}
    plans.save_draft(plan=made, body=body, limits={}, actor=None)
    return made


def test_a_metric_with_a_window_is_defined_listed_and_fixed_when_published(
    scene: Scene, ana: Client, plan: Plan
) -> None:
    metric = Metric.objects.get(tenant=scene.tenant, code="seats")
    assert metric.window == "day"
    assert "per day" in ana.get("/metrics").content.decode()
    assert "day (UTC)" in ana.get("/metrics/seats").content.decode()
    draft = plan.versions.get(state="draft")
    published = plans.publish(version=draft, actor=None)
    (row,) = published.body["charges"]
    assert row["metric"]["window"] == "day"
    ana.post("/metrics/seats/edit", {**FORM, "window": "hour"})
    metric.refresh_from_db()
    assert metric.window == "day"
    page = ana.get(f"/plans/{plan.public_id}").content.decode()
    assert "largest of seats, each day by itself" in page


def test_the_composer_names_the_window_and_asks_how_many_share_the_quantity(
    ana: Client, plan: Plan
) -> None:
    page = ana.get(path(plan)).content.decode()
    assert "Seats at once (seats), per day" in page
    given = opened(ana, plan)
    (box,) = [name for name in given if name.startswith("n-")]
    assert given[box] == ["30"]
    assert "> days</label>" in page
    asked = {**given, box.replace("n-", "q-"): "300", box: "20"}
    answer = ana.post(path(plan, "simulate"), asked).content.decode()
    assert figure(answer, "Customer pays") == Decimal("40")  # 15 a day: two packages.
    assert "40 packages of 10, day by day, × $1.00 = $40.00" in answer
    wrong = ana.post(path(plan, "simulate"), {**asked, box: "x"}).content.decode()
    assert "Days are a whole number from 1 to 1,000,000; you entered x." in wrong


def test_the_api_takes_and_shows_the_window(scene: Scene) -> None:
    caller = make_caller(scene.shop, "catalog:read", "catalog:write")
    made = caller.ask("POST", "metrics", {**METRIC, "window": "hour"})
    assert (made.status, made.json["window"]) == (201, "hour")
    plain = caller.ask("POST", "metrics", {**METRIC, "code": "plain"})
    assert plain.json["window"] == "period"
    wrong = caller.ask("POST", "metrics", {**METRIC, "code": "x", "window": "week"})
    assert wrong.refusal == (400, "unknown_choice", "window")
    moved = caller.ask("PATCH", "metrics/pages", {"window": "session"})
    assert moved.json["window"] == "session"
