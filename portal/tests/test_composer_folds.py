"""The sections below the charges: one design, open as they were left, never hiding."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import Role
from catalog import plans
from catalog.models import Plan
from portal.composer.folds import SECTIONS
from portal.tests.composer_kit import BODY, make_plan, opened, path
from portal.tests.scene import Scene, sign_in

pytestmark = pytest.mark.django_db
NAMES = [name for name, *_ in SECTIONS]
LEVELS = [{"key": "free", "name": "Free"}, {"name": "Big", "spend_from": "50"}]


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan with a draft of two charges."""
    return make_plan(scene)


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


def open_ones(page: str) -> list[str]:
    """Return which sections are open, in the order of the page."""
    assert re.findall(r'<summary id="([a-z]+)-summary"', page) == NAMES
    found = re.findall(
        r'<details class="charge"( open)?><summary id="([a-z]+)-summary"', page
    )
    return [name for is_open, name in found if is_open]


def keep(plan: Plan, limits: dict[str, Any] | None = None, **more: Any) -> None:
    """Save the draft with more than its charges."""
    plans.save_draft(plan=plan, body={**BODY, **more}, limits=limits or {}, actor=None)


def test_what_holds_something_is_open_and_says_it(ana: Client, plan: Plan) -> None:
    keep(plan)
    page = ana.get(path(plan)).content.decode()
    assert open_ones(page) == []
    assert "USD, fixed amounts in full" in page
    discounts = [{"name": "Launch offer", "percent": "10"}]
    keep(plan, {"spend_cap": "5"}, minimum="500", discounts=discounts, levels=LEVELS)
    page = ana.get(path(plan)).content.decode()
    assert open_ones(page) == ["commitment", "discounts", "levels", "limits"]
    for words in ("at least 500 USD", "Launch offer", "Free, Big", "1 set"):
        assert f'<span class="muted small">{words}</span>' in page, words


def test_a_button_leaves_sections_as_they_were(ana: Client, plan: Plan) -> None:
    keep(plan, minimum="500", levels=LEVELS)
    given = opened(ana, plan)
    left = {**given, "fold-commitment": "", "fold-period": "1"}
    page = ana.post(path(plan), {**left, "do": "charge.add"}).content.decode()
    assert open_ones(page) == ["levels", "period"]
    page = ana.post(path(plan), {**left, "do": "quota.add"}).content.decode()
    assert open_ones(page) == ["levels", "period", "limits"], "where the focus goes"


def test_a_problem_opens_its_section_and_is_counted(ana: Client, plan: Plan) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "commitment": {"plan-minimum": "x"},
        "discounts": {"discount": "0", "discount-0-name": ""},
        "levels": {
            "level_name": ["Free", ""],
            "level_key": ["free", ""],
            "level_trigger": ["", "spend_from"],
            "level_amount": ["", "x"],
        },
        "currencies": {"further": "EUR"},
        "limits": {"spend_cap": "x", "requests_per_minute": "y"},
    }
    for name, texts in wrong.items():
        keep(plan)
        given = opened(ana, plan)
        closed = {f"fold-{each}": "" for each in NAMES}
        answer = ana.post(path(plan), {**given, **closed, **texts, "do": "save"})
        page = answer.content.decode()
        assert answer.status_code == 422, name
        assert open_ones(page) == [name]
        ids = set(re.findall(r'\sid="([^"]+)"', page))
        links = re.findall(r'<a href="#([^"]+)" data-problem', page)
        assert links, name
        assert set(links) <= ids, name
        count = f"{len(links)} problem{'s' if len(links) > 1 else ''}"
        assert count in page.split(f'id="{name}-summary"')[1].split("</summary>")[0]
