"""Minimum spend and discounts in a real browser: by keyboard, told, and readable."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from catalog import plans
from catalog.models import Plan
from portal.tests.test_browser import browser_page, problems, sign_in
from portal.tests.test_composer_browser import (
    body,
    page,
    plan,
    saved,
    tab_to,
    total,
)

__all__ = ["page", "plan"]  # Fixtures.
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
FEE = {
    "key": "platform",
    "name": "Platform fee",
    "price": {"model": "flat", "amount": "200", "due": "advance"},
}
CALLS = {
    "key": "calls",
    "name": "Tool calls",
    "metric": "tool_calls",
    "price": {"model": "per_unit", "unit_amount": "0.01"},
}
BODY: dict[str, Any] = {"currency": "USD", "charges": [FEE, CALLS]}


def keep(plan: Plan, **terms: Any) -> None:
    """Save the draft, with terms or without."""
    plans.save_draft(plan=plan, body={**BODY, **terms}, limits={}, actor=None)


@pytest.fixture
def written(plan: Plan) -> Plan:
    """The plan with a fee and calls, before the page opens."""
    keep(plan)
    return plan


def test_terms_are_written_by_keyboard_and_billed(written: Plan, page: Page) -> None:
    keys = page.keyboard
    tab_to_summary(page, "Discounts")
    keys.press("Enter")
    tab_to(page, "discount-add")
    keys.press("Enter")
    page.wait_for_selector("#discount-0-name:focus")
    keys.type("Launch offer")
    tab_to(page, "discount-0-value")
    keys.type("101")
    told = "101 is more than all of it: at most 100."
    expect(page.locator("#discount-0-value-error")).to_contain_text(told)
    page.get_by_role("link", name=told).click()
    keys.press("Control+a")
    keys.type("50")
    tab_to(page, "discount-0-charges")
    saved(page, lambda: keys.press("Space"))
    page.wait_for_selector("#figures >> text=50 % of $200.00")
    assert total(page) == Decimal(110)
    page.get_by_text("Commitment & minimum").click()
    page.fill("#plan-minimum", "1,500")
    page.wait_for_selector("#figures >> text=minimum spend $1,500.00, $110.00 used")
    assert total(page) == 1500
    saved(page, lambda: keys.press("Control+s"))
    assert body(written) == {
        **BODY,
        "minimum": "1500",
        "discounts": [
            {"name": "Launch offer", "percent": "50", "charges": ["platform"]}
        ],
    }
    page.reload()
    assert page.is_checked("#discount-0-charges")
    assert page.input_value("#plan-minimum") == "1500"
    assert problems(page) == []


def tab_to_summary(page: Page, words: str) -> None:
    """Press Tab until a folded section has the focus."""
    for _ in range(120):
        if page.evaluate("document.activeElement.innerText || ''").startswith(words):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{words} is not reached")


def test_a_month_chooses_which_discounts_hold(written: Plan, page: Page) -> None:
    page.get_by_text("Discounts", exact=True).click()
    page.click("#discount-add")
    page.fill("#discount-0-name", "Half")
    page.fill("#discount-0-value", "50")
    page.check("#discount-0-charges")
    page.fill("#discount-0-from", "2027-01-01")
    page.wait_for_selector("#as_of")
    page.fill("#as_of", "2026-12")
    page.wait_for_selector("#total data[value='210']")
    page.fill("#as_of", "2027-01")
    page.wait_for_selector("#total data[value='110']")


@pytest.mark.parametrize("width", [320, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    live_server: Any, plan: Plan, scheme: str, width: int
) -> None:
    launch = {"name": "Launch offer", "percent": "10", "charges": ["platform", "gone"]}
    rebate = {"name": "Partner rebate", "amount": "x", "from": "soon"}
    keep(plan, minimum="500", maximum="400", discounts=[launch, rebate])
    size = {"width": width, "height": 900}
    with browser_page(live_server.url, viewport=size, color_scheme=scheme) as (
        opened,
        faults,
    ):
        sign_in(opened, live_server.url)
        opened.goto(f"{live_server.url}/plans/{plan.public_id}/edit")
        assert problems(opened) == []
        if shots := os.environ.get("SHOTS"):
            opened.screenshot(path=f"{shots}/{scheme}-{width}.png", full_page=True)
        assert faults == []
