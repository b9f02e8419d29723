"""Saved quantities beside the composer's form, with and without scripts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Role
from catalog import plans, scenarios
from catalog.models import Plan, UsageScenario
from portal.tests.composer_kit import BODY, boxes, figure, make_plan, opened, path
from portal.tests.scene import Scene, sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan with a draft of two charges."""
    return make_plan(scene)


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


def box_of(client: Client, plan: Plan) -> str:
    """Return the name of the one quantity's box."""
    (name,) = [name for name in opened(client, plan) if name.startswith("q-")]
    return name


def deed(client: Client, plan: Plan, do: str, *, htmx: bool = True, **more: Any) -> Any:
    """Press a button of the scenarios."""
    given = {**opened(client, plan), "scenario": do, **more}
    headers = {"HX-Request": "true"} if htmx else {}
    return client.post(path(plan, "scenario"), given, headers=headers)


def simulated(client: Client, plan: Plan, **more: Any) -> str:
    """Return what the simulator answers."""
    answer = client.post(path(plan, "simulate"), {**opened(client, plan), **more})
    page: str = answer.content.decode()
    return page


def test_a_scenario_is_saved_and_a_colleague_chooses_it(
    ana: Client, scene: Scene, plan: Plan
) -> None:
    box = box_of(ana, plan)
    quantities = {box: "14,000", box.replace("q-", "k-"): "0.0021"}
    answer = deed(ana, plan, "save", scenario_name="Growth month", **quantities)
    assert answer.status_code == 200
    page = answer.content.decode()
    made = UsageScenario.objects.get()
    assert made.quantities == quantities
    assert "Scenario Growth month was saved." in page
    assert f'value="{made.public_id}" selected' in page
    assert 'id="composer"' not in page
    entry = AuditEntry.objects.get(action="scenario.saved")
    assert entry.actor == scene.people[Role.PRODUCT_MANAGER]
    # Somebody else, on a page that was just opened.
    olga = sign_in(scene, Role.OWNER)
    page = simulated(olga, plan, customer=made.public_id)
    assert f'name="{box}" value="14,000"' in page
    assert figure(page, "Customer pays") == Decimal(201)
    assert figure(page, "Our cost") == Decimal("29.4")
    # What is typed afterwards counts, also while the scenario stays chosen.
    chosen = {"customer": made.public_id, "customer_was": made.public_id}
    page = simulated(olga, plan, **chosen, **{box: "1,000"})
    assert figure(page, "Customer pays") == Decimal(109)


def test_the_sample_comes_back(ana: Client, plan: Plan) -> None:
    box = box_of(ana, plan)
    page = simulated(ana, plan, customer="sample", **{box: "5"})
    assert f'name="{box}" value="14,000"' in page


def test_a_scenario_is_replaced_and_renamed(ana: Client, plan: Plan) -> None:
    box = box_of(ana, plan)
    made = scenarios.save(plan=plan, name="A", quantities={box: "1"}, actor=None)
    chosen = {"customer": made.public_id, "customer_was": made.public_id}
    page = deed(ana, plan, "replace", **chosen, **{box: "22"}).content.decode()
    assert "Scenario A has these quantities now." in page
    page = deed(ana, plan, "rename", **chosen, scenario_name="B").content.decode()
    assert "The scenario is called B now." in page
    made.refresh_from_db()
    assert (made.name, made.quantities[box]) == ("B", "22")


def test_a_scenario_is_deleted_after_a_question(ana: Client, plan: Plan) -> None:
    box = box_of(ana, plan)
    made = scenarios.save(plan=plan, name="A", quantities={box: "1"}, actor=None)
    chosen = {"customer": made.public_id, "customer_was": made.public_id}
    page = deed(ana, plan, "delete", **chosen).content.decode()
    assert "Delete this scenario?" in page
    assert UsageScenario.objects.count() == 1
    page = deed(ana, plan, "keep", **chosen).content.decode()
    assert "Delete this scenario?" not in page
    page = deed(ana, plan, "delete-now", **chosen, **{box: "33"}).content.decode()
    assert "was deleted; its quantities are still typed" in page
    assert f'name="{box}" value="33"' in page
    assert not UsageScenario.objects.exists()


def test_a_refused_name_keeps_what_is_typed(ana: Client, plan: Plan) -> None:
    box = box_of(ana, plan)
    scenarios.save(plan=plan, name="A", quantities={}, actor=None)
    answer = deed(ana, plan, "save", scenario_name="A", **{box: "44"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "A is taken." in page
    assert f'name="{box}" value="44"' in page
    assert 'name="scenario_name" maxlength="80" autocomplete="off" value="A"' in page


def test_without_scripts_the_whole_form_comes_back_as_typed(
    ana: Client, plan: Plan
) -> None:
    box = box_of(ana, plan)
    more = {"scenario_name": "A", box: "55", "c1-name": "Not saved yet"}
    answer = deed(ana, plan, "save", htmx=False, **more)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Scenario A was saved." in page
    assert boxes(page)["c1-name"] == ["Not saved yet"]
    assert boxes(page)[box] == ["55"]
    answer = deed(ana, plan, "save", htmx=False, **more)
    assert answer.status_code == 422
    assert "A is taken." in answer.content.decode()


def test_scenarios_are_of_one_plan_and_of_those_who_price(
    ana: Client, scene: Scene, plan: Plan
) -> None:
    other = plans.create_plan(product=scene.product, name="X", code="x", actor=None)
    plans.save_draft(plan=other, body=BODY, limits={}, actor=None)
    made = scenarios.save(plan=other, name="A", quantities={}, actor=None)
    chosen = {"customer": made.public_id, "customer_was": made.public_id}
    for do in ("replace", "rename", "delete-now"):
        deed(ana, plan, do, **chosen, scenario_name="B")
    assert UsageScenario.objects.get().name == "A"
    given = {"scenario": "save", "scenario_name": "C"}
    for role in (Role.VIEWER, Role.FINANCE, Role.DEVELOPER):
        answer = sign_in(scene, role).post(path(plan, "scenario"), given)
        assert answer.status_code in (403, 404)


def test_a_customers_month_is_not_saved_as_typed(
    ana: Client, scene: Scene, plan: Plan
) -> None:
    page = simulated(ana, plan, customer=scene.customer.public_id)
    assert "a customer's month is measured, not typed" in page
    assert "scenario_name" not in page
