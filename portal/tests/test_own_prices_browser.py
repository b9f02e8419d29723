"""Own prices and further currencies in a real browser: no mouse, light and dark."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from aforo.core.models import Tenant, User
from aforo.lib import clock
from billing import accounts, subscriptions
from billing.models import Subscription, SubscriptionSnapshot
from catalog import plans
from catalog.models import PlanVersion, ProductType
from catalog.products import create_product
from portal.tests.test_browser import browser_page, problems, sign_in
from tests.factories import TOKENS_PLAN, make_metrics

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def contract(tenant: Tenant, olga: User) -> Subscription:
    """A customer's contract for a plan of three charges."""
    make_metrics(tenant)
    product = create_product(
        tenant=tenant, name="API", code="api", type=ProductType.AGENTIC_API, actor=None
    )
    plan = plans.create_plan(product=product, name="Growth", code="growth", actor=None)
    draft = plans.save_draft(plan=plan, body=TOKENS_PLAN, limits={}, actor=olga)
    version = plans.publish(version=draft, actor=olga)
    plans.save_draft(plan=plan, body=TOKENS_PLAN, limits={}, actor=olga, prorate=True)
    customer = accounts.create_customer(tenant=tenant, name="Northwind", actor=olga)
    return subscriptions.subscribe(
        customer=customer,
        product=product,
        plan_version=version,
        start_at=clock.now(),
        actor=olga,
    )


def latest(contract: Subscription) -> SubscriptionSnapshot:
    """Return what the contract says last, as the server stored it."""
    try:
        return contract.snapshots.order_by("-number")[0]
    finally:
        connection.close()


def tick(page: Page, label: str) -> None:
    """Open a charge and tick its own price, with the keyboard."""
    page.locator("summary", has_text=label).focus()
    page.keyboard.press("Enter")
    page.get_by_label(f"Own price for {label}").focus()
    page.keyboard.press("Space")


def test_an_own_price_is_set_with_the_keyboard_alone(
    live_server: Any, contract: Subscription
) -> None:
    with browser_page(live_server.url) as (page, faults):
        sign_in(page, live_server.url)
        page.goto(f"{live_server.url}/subscriptions/{contract.public_id}/prices")
        tick(page, "Tool calls")
        page.locator("#c3-model").select_option("graduated")
        page.wait_for_selector("[data-tiers=c3]")
        expect(page.get_by_label("Own price for Tool calls")).to_be_checked()
        page.get_by_role("button", name="Add tier").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#c3-tier-1-unit_amount")
        for box, text in (
            ("up_to", "1000"),
            ("unit_amount", "0.01"),
        ):
            page.fill(f"#c3-tier-0-{box}", text)
        page.fill("#c3-tier-1-unit_amount", "0.005")
        page.get_by_label("From now on").check()
        page.get_by_role("button", name="Review the change").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#review")
        expect(page.locator("#review")).to_contain_text(
            "up to 1,000, then $0.005 above"
        )
        page.fill("#name", "Northwind")
        page.get_by_role("button", name="Set these prices").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/customers/**")
        expect(page.locator("main")).to_contain_text("own prices")
        assert faults == []
    assert list(latest(contract).overrides["charges"]) == ["calls"]


def test_a_currency_is_typed_in_the_composer(
    live_server: Any, contract: Subscription
) -> None:
    drafts = PlanVersion.objects.select_related("plan")
    version = drafts.get(plan__code="growth", state="draft")
    edit = f"{live_server.url}/plans/{version.plan.public_id}/edit"
    with browser_page(live_server.url) as (page, faults):
        sign_in(page, live_server.url)
        page.goto(edit)
        page.locator("#currencies-summary").focus()
        page.keyboard.press("Enter")
        page.locator("#currency_new").select_option("EUR")
        page.get_by_role("button", name="Add currency").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("[name=further]", state="attached")
        boxes = page.locator("[name^=cur-EUR-]")
        assert boxes.count() == 4
        for at, text in enumerate(("2.80", "14", "11", "0.009")):
            boxes.nth(at).fill(text)
        page.wait_for_selector("#save-state:has-text('saved ')")
        expect(page.locator("#problems")).not_to_contain_text("problem")
        boxes.nth(0).fill("cheap")
        expect(page.locator("#problems")).to_contain_text("is no number")
        boxes.nth(0).fill("2.90")
        page.locator("#save").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("text=was saved as a draft")
        assert faults == []
    version.refresh_from_db()
    said = version.body["currencies"]["EUR"]["charges"]
    assert said["input"]["price"]["unit_amount"] == "2.90"
    connection.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    live_server: Any, contract: Subscription, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 900}
    url = live_server.url
    plan = PlanVersion.objects.get(plan__code="growth", state="draft").plan
    with browser_page(url, viewport=size, color_scheme=scheme) as (page, faults):
        sign_in(page, url)
        page.goto(f"{url}/subscriptions/{contract.public_id}/prices")
        found = problems(page)
        tick(page, "Tool calls")
        page.fill("#c3-unit_amount", "0.008")
        page.get_by_role("button", name="Review the change").click()
        page.wait_for_selector("#review")
        page.mouse.move(0, 0)  # Away from times, which show themselves otherwise.
        found += problems(page)
        page.goto(f"{url}/plans/{plan.public_id}/edit")
        page.locator("#currencies-summary").click()
        page.locator("#currency_new").select_option("EUR")
        page.get_by_role("button", name="Add currency").click()
        page.wait_for_selector("[name=further]", state="attached")
        page.locator("#currencies-summary").scroll_into_view_if_needed()
        found += problems(page)
        page.goto(f"{url}/customers/{contract.customer.public_id}")
        found += problems(page)
    connection.close()
    assert [*found, *faults] == []
