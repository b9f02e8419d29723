"""A recipe in a real browser: weights by keyboard, and finance's own view of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from aforo.core.models import Role, User
from catalog import plans
from catalog.models import Plan
from catalog.tests.recipe_kit import CREDITS, charge_of
from portal.tests.conftest import PASSWORD
from portal.tests.test_browser import browser_page, problems
from portal.tests.test_composer_browser import (
    body,
    choose,
    page,
    plan,
    saved,
    tab_to,
    total,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
__all__ = ["page", "plan"]


@pytest.fixture
def marked(plan: Plan, olga: User) -> Plan:
    """The plan with credits and a markup in its draft."""
    row = charge_of({**CREDITS, "markup_percent": "20"})
    said = {"currency": "USD", "charges": [row]}
    plans.save_draft(plan=plan, body=said, limits={}, actor=olga)
    return plan


@pytest.fixture
def seen_by(
    live_server: Any, marked: Plan, make_member: Callable[..., User]
) -> Iterator[Callable[[Role], Page]]:
    """Return a function that opens the marked plan as somebody with a role."""
    people = {Role.FINANCE: "fay", Role.PRODUCT_MANAGER: "ana"}
    for role, name in people.items():
        make_member(role, name.title())
    with browser_page(live_server.url, viewport={"width": 1440, "height": 900}) as (
        opened,
        faults,
    ):

        def see(role: Role) -> Page:
            opened.goto(f"{live_server.url}/login?next=/plans/{marked.public_id}/edit")
            opened.fill("[name=email]", f"{people[role]}@acme.test")
            opened.fill("[name=password]", PASSWORD)
            opened.get_by_role("button", name="Sign in").click()
            opened.wait_for_selector("#composer")
            return opened

        yield see
        assert faults == []


def test_a_recipe_is_composed_by_keyboard_alone(page: Page, plan: Plan) -> None:
    keys = page.keyboard
    keys.press("Alt+n")
    page.wait_for_selector("#c1-name:focus")
    keys.type("Credits")
    tab_to(page, "c1-model")
    choose(page, "c1-model", "Rec")
    page.wait_for_selector("#c1-weights-0-measurement")
    page.wait_for_selector("#c1-model:focus")
    tab_to(page, "c1-weights-0-measurement")
    keys.type("input_tokens")
    tab_to(page, "c1-weights-0-amount")
    keys.type("1")
    tab_to(page, "c1-weights-0-per")
    choose(page, "c1-weights-0-per", "1,000")
    keys.press("Shift+Tab")
    keys.press("Enter")
    page.wait_for_selector("#c1-weights-1-measurement:focus")
    keys.type("tool_calls")
    tab_to(page, "c1-weights-1-amount")
    keys.type("5")
    tab_to(page, "c1-rounding")
    choose(page, "c1-rounding", "up")
    tab_to(page, "c1-minimum_per_event")
    keys.type("1")
    tab_to(page, "c1-markup_percent")
    keys.type("20")
    tab_to(page, "c1-o-unit_amount")
    keys.type("0.01")
    saved(page, lambda: keys.press("Control+s"))
    (charge,) = body(plan)["charges"]
    assert charge["price"] == {
        "model": "recipe",
        "weights": [
            {"measurement": "input_tokens", "amount": "1", "per": 1000},
            {"measurement": "tool_calls", "amount": "5"},
        ],
        "rounding": "up",
        "minimum_per_event": "1",
        "markup_percent": "20",
        "price": {"model": "per_unit", "unit_amount": "0.01"},
    }
    page.wait_for_selector("#total data")
    # 1,000,000 tokens and 1,000 calls in 1,000 events: 6 credits, 7.2 marked up, 8.
    assert total(page) == Decimal(80)
    expect(page.locator("#figures")).to_contain_text(
        "1,000,000 input tokens × 1 per 1K → 1,000 units"
    )
    assert problems(page) == []


def test_finance_types_the_markup_alone(
    seen_by: Callable[[Role], Page], marked: Plan
) -> None:
    page = seen_by(Role.FINANCE)
    box = page.locator("#c1-markup_percent")
    expect(box).to_be_enabled()
    off = ("#c1-name", "#c1-model", "#c1-weights-0-amount", "#charge-add", "#currency")
    for name in off:
        expect(page.locator(name)).to_be_disabled()
    expect(page.get_by_text("You set the markup")).to_be_visible()
    assert problems(page) == []

    def type_it() -> None:
        box.fill("35")

    saved(page, type_it)
    (charge,) = body(marked)["charges"]
    assert charge == charge_of({**CREDITS, "markup_percent": "35"})
    expect(page.locator("#figures")).to_contain_text("35 % markup on")


def test_a_product_manager_sees_the_markup_alone(
    seen_by: Callable[[Role], Page], marked: Plan
) -> None:
    page = seen_by(Role.PRODUCT_MANAGER)
    box = page.locator("#c1-markup_percent")
    expect(box).to_be_disabled()
    expect(box).to_have_value("20")
    expect(page.get_by_text("You see it here and cannot change it.")).to_be_visible()
    assert problems(page) == []
    saved(page, lambda: page.fill("#c1-o-unit_amount", "0.02"))
    (charge,) = body(marked)["charges"]
    price = {"model": "per_unit", "unit_amount": "0.02"}
    assert charge == charge_of({**CREDITS, "markup_percent": "20", "price": price})
