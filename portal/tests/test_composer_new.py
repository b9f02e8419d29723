"""A new plan: product, name, code, currency and starting template."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Role
from catalog.models import Metric, Plan
from catalog.starters import starters
from portal.tests.scene import Scene, sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


def given(scene: Scene, **changes: Any) -> dict[str, Any]:
    """Return the form as filled in."""
    return {
        "product": str(scene.product.pk),
        "name": "Growth Plan",
        "code": "",
        "currency": "USD",
        "template": "",
        **changes,
    }


def test_a_plan_begins_empty_with_a_code_made_of_its_name(
    scene: Scene, ana: Client
) -> None:
    answer = ana.post("/plans/new", given(scene))
    plan = Plan.objects.get(code="growth-plan")
    assert answer["Location"] == f"/plans/{plan.public_id}/edit"
    assert plan.versions.get().body == {"currency": "USD", "charges": []}
    assert (
        AuditEntry.objects.filter(action="plan.created").latest("created_at").actor
        == scene.people[Role.PRODUCT_MANAGER]
    )
    assert "No charge yet." in ana.get(answer["Location"]).content.decode()


def test_missing_metrics_are_named_before_they_are_made(
    scene: Scene, ana: Client
) -> None:
    chosen = given(scene, template="package")
    asked = ana.post("/plans/new", chosen)
    assert asked.status_code == 200
    assert "This metric is not defined yet" in asked.content.decode()
    assert not Plan.objects.filter(name="Growth Plan").exists()
    assert not Metric.objects.filter(code="credits").exists()
    other = ana.post("/plans/new", {**chosen, "metrics": "cost_plus"})
    assert other.status_code == 200
    done = ana.post("/plans/new", {**chosen, "metrics": "package"})
    assert done.status_code == 302
    assert Metric.objects.filter(code="credits").exists()


@pytest.mark.parametrize("template", list(starters()))
def test_every_template_opens_without_a_problem(
    scene: Scene, ana: Client, template: str
) -> None:
    chosen = given(scene, template=template, metrics=template)
    page = ana.post("/plans/new", chosen, follow=True).content.decode()
    assert "problem to solve" not in page
    assert "problems to solve" not in page
    assert "Looks like a mistake" not in page
    assert "Customer pays" in page


def test_the_page_offers_every_template_and_the_products(
    scene: Scene, ana: Client
) -> None:
    page = ana.get(f"/plans/new?product={scene.product.code}").content.decode()
    for starter in starters().values():
        assert starter.description.replace("'", "&#x27;") in page
    assert f'<option value="{scene.product.pk}" selected>' in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "Name: This field is required."),
        ({"name": "x" * 121}, "Name: Ensure this value has at most 120"),
        ({"code": "no good"}, "Code: A code is up to 60 letters"),
        ({"name": "???"}, "Code: Type a code"),
        ({"currency": "XXX"}, "Currency: Select a valid choice"),
        ({"product": "x"}, "Product: “x” is not a valid"),
        ({"template": "nothing"}, "Start with: Select a valid choice"),
    ],
)
def test_wrong_input_is_said_and_kept(
    scene: Scene, ana: Client, changes: dict[str, str], words: str
) -> None:
    answer = ana.post("/plans/new", given(scene, **changes))
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Plan.objects.filter(name="Growth Plan").exists()


def test_a_code_that_is_taken_is_said(scene: Scene, ana: Client) -> None:
    ana.post("/plans/new", given(scene))
    answer = ana.post("/plans/new", given(scene))
    assert answer.status_code == 422
    assert "growth-plan is taken." in answer.content.decode()
