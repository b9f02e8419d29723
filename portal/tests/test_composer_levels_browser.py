"""Spend levels in a real browser: typed by keyboard, chosen in a condition."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from aforo.core.models import Tenant, User
from catalog import plans
from catalog.models import Plan, ProductType
from catalog.products import create_product
from portal.tests.composer_kit import CALLS
from portal.tests.test_browser import browser_page, problems, sign_in
from portal.tests.test_composer_browser import body, choose, saved, tab_to
from portal.tests.test_composer_levels import BODY
from tests.factories import make_metrics

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def plan(tenant: Tenant, olga: User) -> Plan:
    """A plan with a draft of one charge and no level."""
    make_metrics(tenant)
    product = create_product(
        tenant=tenant, name="API", code="api", type=ProductType.AGENTIC_API, actor=None
    )
    made = plans.create_plan(product=product, name="Growth", code="growth", actor=None)
    draft = {"currency": "USD", "charges": [CALLS]}
    plans.save_draft(plan=made, body=draft, limits={}, actor=olga)
    return made


def write_levels(page: Page, plan: Plan) -> None:
    """Add two levels and a condition without a pointer."""
    page.locator("summary:has-text('Spend levels')").press("Enter")
    tab_to(page, "level-add")
    page.keyboard.press("Enter")
    expect(page.locator("#level-1-name")).to_be_focused()
    page.keyboard.type("Scale")
    tab_to(page, "level-1-amount")
    saved(page, lambda: page.keyboard.type("50"))
    page.locator("#c1-level").press("Enter")
    expect(page.locator("#c1-filter-0-values")).to_be_focused()
    saved(page, lambda: choose(page, "c1-filter-0-values", "Scale"))


def test_levels_are_written_and_chosen_by_keyboard(
    live_server: Any, plan: Plan
) -> None:
    size = {"width": 1440, "height": 900}
    with browser_page(live_server.url, viewport=size) as (page, faults):
        sign_in(page, live_server.url)
        page.goto(f"{live_server.url}/plans/{plan.public_id}/edit")
        write_levels(page, plan)
        draft = body(plan)
        assert draft["levels"] == [
            {"key": "free", "name": "Free"},
            {"key": "scale", "name": "Scale", "spend_from": "50"},
        ]
        assert draft["charges"][0]["filter"] == {"spend_level": "scale"}
        page.fill("#level-1-amount", "x")
        expect(page.locator("#level-1-amount")).to_have_attribute(
            "aria-invalid", "true"
        )
        page.reload()
        assert page.input_value("#level-1-key") == "scale"
        assert problems(page) == []
    assert faults == []


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (1440, "dark")])
def test_levels_are_readable_in_the_composer_and_on_the_plan(
    live_server: Any, plan: Plan, width: int, scheme: str
) -> None:
    saved_draft = plans.save_draft(plan=plan, body=BODY, limits={}, actor=None)
    plans.publish(version=saved_draft, actor=None)
    size = {"width": width, "height": 900}
    url = live_server.url
    with browser_page(url, viewport=size, color_scheme=scheme) as (page, faults):
        sign_in(page, url)
        page.goto(f"{url}/plans/{plan.public_id}/edit")
        page.wait_for_selector("#total data")
        found = problems(page)
        page.goto(f"{url}/plans/{plan.public_id}")
        found += problems(page)
    assert [*found, *faults] == []
