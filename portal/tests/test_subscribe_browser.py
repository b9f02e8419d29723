"""Giving a customer a plan, and another one, in a real browser: light and dark."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import expect

from aforo.core.models import Tenant, User
from aforo.lib import clock
from billing import accounts, subscriptions
from billing.models import Subscription
from catalog import plans
from catalog.models import Product, ProductType
from catalog.products import create_product
from portal.tests.test_browser import browser_page, problems, sign_in
from tests.factories import TOKENS_PLAN, make_metrics

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
FEE = {
    "key": "fee",
    "name": "Platform fee",
    "price": {"model": "flat", "amount": "99", "due": "advance"},
}


def publish(product: Product, name: str, body: dict[str, Any], by: User) -> Any:
    """Return the first version of a new plan."""
    plan = plans.create_plan(product=product, name=name, code=name.lower(), actor=None)
    draft = plans.save_draft(plan=plan, body=body, limits={}, prorate=True, actor=by)
    return plans.publish(version=draft, actor=by)


@pytest.fixture
def contract(tenant: Tenant, olga: User) -> Subscription:
    """A customer's contract for one of two plans of a product."""
    make_metrics(tenant)
    product = create_product(
        tenant=tenant, name="API", code="api", type=ProductType.AGENTIC_API, actor=None
    )
    charges = [FEE, *TOKENS_PLAN["charges"]]
    publish(product, "Scale", {**TOKENS_PLAN, "charges": charges}, olga)
    return subscriptions.subscribe(
        customer=accounts.create_customer(tenant=tenant, name="Northwind", actor=olga),
        product=product,
        plan_version=publish(product, "Growth", TOKENS_PLAN, olga),
        start_at=clock.now(),
        actor=olga,
    )


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_a_plan_is_changed_with_the_keyboard(
    live_server: Any, contract: Subscription, scheme: str, width: int
) -> None:
    url = live_server.url
    plan = _scale(contract)
    size = {"width": width, "height": 900}
    with browser_page(url, viewport=size, color_scheme=scheme) as (page, faults):
        sign_in(page, url)
        page.goto(f"{url}/customers/{contract.customer.public_id}")
        page.get_by_role("link", name="Add subscription").click()
        found = problems(page)
        page.get_by_label("Plan", exact=True).select_option(label="Scale v1")
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("main")).to_contain_text("There is a subscription already")
        found += problems(page)
        page.get_by_role("link", name="Change the plan of the subscription").click()
        page.get_by_label("Plan", exact=True).select_option(label="Scale v1")
        page.get_by_label("From now on").check()
        page.get_by_role("button", name="Review the change").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#review")
        expect(page.locator("#review")).to_contain_text("Platform fee")
        page.mouse.move(0, 0)  # Away from times, which show themselves otherwise.
        found += problems(page)
        page.get_by_label("I have read").focus()
        page.keyboard.press("Space")
        page.get_by_role("button", name="Change the plan").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/customers/**")
        expect(page.locator("main")).to_contain_text("Scale v1")
        page.goto(f"{url}/plans/{plan}/subscribe")
        found += problems(page)
    connection.close()
    assert [*found, *faults] == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_a_customer_is_subscribed_with_the_keyboard(
    live_server: Any,
    contract: Subscription,
    olga: User,
    scheme: str,
    width: int,
) -> None:
    tenant = contract.product.tenant
    other = accounts.create_customer(tenant=tenant, name="Southwind", actor=olga)
    plan, public_id = _scale(contract), other.public_id
    connection.close()
    url = live_server.url
    size = {"width": width, "height": 900}
    with browser_page(url, viewport=size, color_scheme=scheme) as (page, faults):
        sign_in(page, url)
        page.goto(f"{url}/customers/{public_id}/subscribe?plan={plan}")
        found = problems(page)
        page.get_by_role("button", name="Review", exact=True).last.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#review")
        page.mouse.move(0, 0)  # Away from times, which show themselves otherwise.
        found += problems(page)
        page.get_by_role("button", name="Subscribe").click()
        expect(page.locator("#sure-error")).to_be_visible()
        found += problems(page)
        page.get_by_label("I have read").focus()
        page.keyboard.press("Space")
        page.get_by_role("button", name="Subscribe").focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/customers/{public_id}")
        expect(page.locator("main")).to_contain_text("Scale v1")
    connection.close()
    assert [*found, *faults] == []


def _scale(contract: Subscription) -> str:
    """Return the outside id of the other plan."""
    return str(contract.product.plans.get(code="scale").public_id)
