"""The composer in a real browser: keyboard only, pasting, two tabs, figures."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from aforo.core.models import Tenant, User
from catalog import plans, pricing
from catalog.models import Plan, PlanVersion, ProductType
from catalog.pricing.supposed import Supposed, suppose
from catalog.products import create_product
from portal.tests.test_browser import browser_page, problems, sign_in
from tests.factories import make_metrics

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SAVED = "#save-state:has-text('saved ')"


@pytest.fixture
def plan(tenant: Tenant, olga: User) -> Plan:
    """A plan with an empty draft."""
    make_metrics(tenant)
    product = create_product(
        tenant=tenant, name="API", code="api", type=ProductType.AGENTIC_API, actor=None
    )
    made = plans.create_plan(product=product, name="Growth", code="growth", actor=None)
    body = {"currency": "USD", "charges": []}
    plans.save_draft(plan=made, body=body, limits={}, actor=olga)
    return made


@pytest.fixture
def page(live_server: Any, plan: Plan) -> Iterator[Page]:
    """The plan's composer, signed in."""
    with browser_page(live_server.url, viewport={"width": 1440, "height": 900}) as (
        opened,
        faults,
    ):
        sign_in(opened, live_server.url)
        opened.goto(f"{live_server.url}/plans/{plan.public_id}/edit")
        yield opened
        assert faults == []


def body(plan: Plan) -> Any:
    """Return what the draft says, its metrics by code."""

    def read() -> Any:
        try:
            return PlanVersion.objects.get(plan=plan).body
        finally:
            connection.close()

    # Playwright's own thread runs an event loop, which Django refuses.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(read).result()


def saved(page: Page, do: Any) -> None:
    """Do something and wait until the draft was saved after it."""
    with page.expect_response(
        lambda r: (
            r.request.method == "POST"
            and r.url.endswith("/edit")
            and "autosave" in (r.request.post_data or "")
        )
    ):
        do()
    page.wait_for_selector(SAVED)


def total(page: Page) -> Decimal:
    """Return the exact figure that the customer pays."""
    text = page.locator("#total data").get_attribute("value")
    assert text is not None
    return Decimal(text)


def tab_to(page: Page, name: str) -> None:
    """Press Tab until a box has the focus."""
    for _ in range(120):
        if page.evaluate("document.activeElement.id") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{name} is not reached")


def choose(page: Page, box: str, text: str) -> None:
    """Choose from the focused list by its first letters.

    A browser that is held up takes slow letters for a new word: then once more.
    """
    for _ in range(5):
        page.keyboard.type(text)
        chosen = page.locator(f"#{box} option:checked").first.inner_text()
        if chosen.startswith(text):
            return
        page.wait_for_timeout(1_500)
    raise AssertionError(f"{text} cannot be chosen in {box}")


def compose_by_keyboard(page: Page) -> None:
    """Write a graduated charge of three tiers without a pointer."""
    keys = page.keyboard
    keys.press("Alt+n")
    page.wait_for_selector("#c1-name:focus")
    keys.type("Tool calls")
    tab_to(page, "c1-model")
    choose(page, "c1-model", "Grad")
    page.wait_for_selector("#c1-tier-0-unit_amount")
    page.wait_for_selector("#c1-model:focus")
    tab_to(page, "c1-metric")
    choose(page, "c1-metric", "Tool")
    tab_to(page, "c1-tier-0-unit_amount")
    keys.type("0.0100")
    keys.press("Enter")
    for end, price in (("1,000", "0.0080"), ("10000", "0.0000025")):
        keys.type(end)
        at = page.evaluate("document.activeElement.id").split("-")[2]
        tab_to(page, f"c1-tier-{int(at) + 1}-unit_amount")
        keys.type(price)
        if end == "1,000":
            keys.press("Enter")


def test_a_graduated_plan_is_composed_by_keyboard_alone(page: Page, plan: Plan) -> None:
    saved(page, lambda: compose_by_keyboard(page))
    saved(page, lambda: page.keyboard.press("Control+s"))
    (charge,) = body(plan)["charges"]
    assert charge == {
        "key": "tool-calls",
        "name": "Tool calls",
        "metric": "tool_calls",
        "price": {
            "model": "graduated",
            "tiers": [
                {"up_to": "1000", "unit_amount": "0.0100"},
                {"up_to": "10000", "unit_amount": "0.0080"},
                {"up_to": None, "unit_amount": "0.0000025"},
            ],
        },
    }
    page.reload()
    assert page.input_value("#c1-tier-2-unit_amount") == "0.0000025"
    assert page.locator("[data-tiers] [data-floor]").all_inner_texts() == [
        "0", "1,000", "10,000",
    ]  # fmt: skip
    assert problems(page) == []


def test_figures_are_the_engines(page: Page, plan: Plan) -> None:
    compose_by_keyboard(page)
    page.wait_for_selector("#total data")
    page.fill("[id^=q-]", "14000")
    page.wait_for_function("document.querySelector('#total data').value === '82.01'")
    saved(page, lambda: page.keyboard.press("Control+s"))
    row = body(plan)["charges"][0]
    row["metric"] = {"key": "m", "aggregation": "sum", "measurement": "tool_calls"}
    priced = pricing.parse_plan({"currency": "USD", "charges": [row]})
    (charge,) = priced.charges
    assert charge.metric is not None
    usage = [Supposed(charge.metric, charge.filter, Decimal(14000))]
    (line,) = pricing.total(priced, suppose(priced, usage))
    assert total(page) == line.amount
    steps = page.locator("#figures .bill li li").all_inner_texts()
    assert steps == list(pricing.explain(line))


def test_figures_freeze_while_a_box_is_wrong(page: Page, plan: Plan) -> None:
    compose_by_keyboard(page)
    page.wait_for_selector("#total data")
    page.wait_for_selector("#problems [data-problem]", state="detached")
    before = total(page)
    page.fill("#c1-tier-1-up_to", "500")
    told = "Tier 2 must end above 1,000, where tier 1 ends. Try 5,000."
    expect(page.locator("#c1-tier-1-up_to-error")).to_contain_text(told)
    assert total(page) == before
    assert page.locator("#figures.is-frozen").count() == 1
    assert page.evaluate("document.activeElement.id") == "c1-tier-1-up_to"
    page.get_by_role("link", name=told).click()
    page.fill("#c1-tier-1-up_to", "5000")
    page.wait_for_selector("#figures:not(.is-frozen)")
    assert page.locator("#problems [data-problem]").count() == 0


def test_rows_of_a_spreadsheet_fill_tiers(page: Page, plan: Plan) -> None:
    compose_by_keyboard(page)
    rows = "1000\\t0.02\\t5\\n20,000\\t0.01\\n300000\\t0.005\\t0\\n\\t0.001\\n"
    paste = (
        "(box) => { const data = new DataTransfer();"
        f" data.setData('text/plain', '{rows}');"
        " box.dispatchEvent(new ClipboardEvent('paste',"
        " {clipboardData: data, bubbles: true, cancelable: true})); }"
    )
    saved(page, lambda: page.locator("#c1-tier-0-up_to").evaluate(paste))
    saved(page, lambda: page.keyboard.press("Control+s"))
    assert body(plan)["charges"][0]["price"]["tiers"] == [
        {"up_to": "1000", "unit_amount": "0.02", "flat_amount": "5"},
        {"up_to": "20000", "unit_amount": "0.01"},
        {"up_to": "300000", "unit_amount": "0.005"},
        {"up_to": None, "unit_amount": "0.001"},
    ]


def test_two_tabs_keep_both_versions(page: Page, plan: Plan) -> None:
    saved(page, lambda: compose_by_keyboard(page))
    saved(page, lambda: page.keyboard.press("Control+s"))
    other = page.context.new_page()
    other.goto(page.url)
    other.fill("#c1-name", "Calls of tools")
    saved(other, lambda: other.keyboard.press("Control+s"))
    page.fill("#c1-name", "My calls")
    page.wait_for_selector("#conflict >> text=while you edited")
    told = page.locator("#conflict").inner_text()
    assert "was saved by Olga at" in told
    assert "Calls of tools" in told
    assert page.input_value("#c1-name") == "My calls"
    assert body(plan)["charges"][0]["name"] == "Calls of tools"
    assert problems(page) == []
    page.get_by_role("button", name="Save mine over it").click()
    page.wait_for_selector("text=was saved as a draft")
    assert body(plan)["charges"][0]["name"] == "My calls"


@pytest.mark.parametrize("width", [320, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    live_server: Any, plan: Plan, scheme: str, width: int
) -> None:
    plans.save_draft(
        plan=plan,
        body={
            "currency": "USD",
            "charges": [
                {
                    "key": "calls",
                    "name": "Tool calls",
                    "metric": "tool_calls",
                    "filter": {"requestType": ["batch", "slow"]},
                    "price": {
                        "model": "volume",
                        "tiers": [
                            {"up_to": "1000", "unit_amount": "abc"},
                            {"up_to": None, "unit_amount": "0.01"},
                        ],
                    },
                }
            ],
        },
        limits={},
        actor=None,
    )
    size = {"width": width, "height": 900}
    url = live_server.url
    with browser_page(url, viewport=size, color_scheme=scheme) as (page, faults):
        sign_in(page, url)
        page.goto(f"{url}/plans/new")
        found = problems(page)
        page.goto(f"{url}/plans/{plan.public_id}/edit")
        found += problems(page)
        page.fill("#c1-tier-0-unit_amount", "0.02")
        page.wait_for_selector("#total data")
        found += problems(page)
    assert [*found, *faults] == []


def test_it_is_composed_and_saved_without_scripts(live_server: Any, plan: Plan) -> None:
    with browser_page(live_server.url, java_script_enabled=False) as (page, _):
        sign_in(page, live_server.url)
        page.goto(f"{live_server.url}/plans/{plan.public_id}/edit")
        page.get_by_role("button", name="Add charge").click()
        page.fill("#c1-name", "Calls")
        page.select_option("#c1-model", "graduated")
        page.select_option("#c1-metric", "tool_calls")
        page.locator("#save").click()
        page.get_by_role("button", name="Add tier").click()
        page.fill("#c1-tier-0-up_to", "100")
        page.fill("#c1-tier-0-unit_amount", "2")
        page.fill("#c1-tier-1-unit_amount", "1")
        page.locator("#save").click()
        assert "was saved as a draft" in page.content()
        assert page.locator("#total").inner_text() == "$240.00"
    tiers = body(plan)["charges"][0]["price"]["tiers"]
    assert tiers == [
        {"up_to": "100", "unit_amount": "2"},
        {"up_to": None, "unit_amount": "1"},
    ]
