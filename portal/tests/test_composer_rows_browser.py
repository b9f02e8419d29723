"""Tables of rows in a real browser: keyboard, pasting, parts that do not apply."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from catalog.models import Plan
from portal.tests.test_browser import browser_page, problems, sign_in
from portal.tests.test_composer_browser import (
    body,
    choose,
    compose_by_keyboard,
    page,
    plan,
    saved,
    tab_to,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
__all__ = ["page", "plan"]
PASTE = (
    "(box, text) => { const data = new DataTransfer();"
    " data.setData('text/plain', text);"
    " box.dispatchEvent(new ClipboardEvent('paste',"
    " {clipboardData: data, bubbles: true, cancelable: true})); }"
)


def begin(page: Page) -> None:
    """Add a charge by dimensions with the keyboard."""
    page.keyboard.press("Alt+n")
    page.wait_for_selector("#c1-name:focus")
    page.keyboard.type("Agents")
    tab_to(page, "c1-model")
    choose(page, "c1-model", "Dim")
    page.wait_for_selector("#c1-tool_invocations-0-name")
    page.wait_for_selector("#c1-model:focus")


def cells(page: Page, *texts: str) -> None:
    """Type into a box and those that Tab reaches after it."""
    page.keyboard.type(texts[0])
    for text in texts[1:]:
        page.keyboard.press("Tab")
        page.keyboard.type(text)


def unfold(page: Page, section: str) -> None:
    """Open a section that is not in use, by keyboard."""
    for _ in range(120):
        if page.evaluate("document.activeElement.textContent").strip() == section:
            page.keyboard.press("Enter")
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{section} is not reached")


def price(plan: Plan) -> Any:
    """Return the price of the draft's only charge."""
    return body(plan)["charges"][0]["price"]


def test_rates_are_typed_by_keyboard_alone(page: Page, plan: Plan) -> None:
    begin(page)
    keys = page.keyboard
    tab_to(page, "c1-tool_invocations-0-name")
    cells(page, "search", "0.10")
    keys.press("Enter")
    cells(page, "write", "0.05")
    tab_to(page, "c1-tool_invocations-2-rate")
    keys.type("0.002")
    unfold(page, "Duration")
    tab_to(page, "c1-duration_buckets-0-max_seconds")
    cells(page, "60", "0.5")
    keys.press("Enter")
    cells(page, "300", "2")
    unfold(page, "Discounts")
    tab_to(page, "c1-volume_discounts-0-min_invocations")
    cells(page, "1,000", "10")
    keys.press("Enter")
    cells(page, "10000", "25")
    saved(page, lambda: keys.press("Control+s"))
    assert price(plan) == {
        "model": "dimensions",
        "tool_invocations": {"search": "0.10", "write": "0.05", "*": "0.002"},
        "duration_buckets": [
            {"max_seconds": "60", "rate": "0.5"},
            {"max_seconds": "300", "rate": "2"},
        ],
        "volume_discounts": [
            {"min_invocations": 1000, "percent": "10"},
            {"min_invocations": 10000, "percent": "25"},
        ],
    }
    derived = page.locator("#c1-volume_discounts [data-derived]")
    assert derived.all_inner_texts() == ["10000", "∞"]
    derived = page.locator("#c1-duration_buckets [data-derived]")
    assert derived.all_inner_texts() == ["0", "60"]
    page.wait_for_selector("#total data")
    page.reload()
    assert page.input_value("#c1-tool_invocations-1-name") == "write"
    assert page.input_value("#c1-volume_discounts-1-min_invocations") == "10,000"
    assert problems(page) == []


def test_columns_of_a_spreadsheet_fill_rows(page: Page, plan: Plan) -> None:
    begin(page)
    text = "read_cache\t0.001\nwrite_cache\t0.003\n\n*\t0.01\nrun\t1\n"
    page.locator("#c1-tool_invocations-0-name").evaluate(PASTE, text)
    page.locator("#c1-volume_tiers-0-rate").evaluate(PASTE, "0.1\n0.08\n")
    assert page.input_value("#c1-volume_tiers-1-rate") == "0.08"
    page.fill("#c1-volume_tiers-1-min_invocations", "500")
    saved(page, lambda: page.keyboard.press("Control+s"))
    assert price(plan) == {
        "model": "dimensions",
        "tool_invocations": {
            "read_cache": "0.001",
            "write_cache": "0.003",
            "run": "1",
            "*": "0.01",
        },
        "volume_tiers": [
            {"min_invocations": 0, "rate": "0.1"},
            {"min_invocations": 500, "rate": "0.08"},
        ],
    }
    page.locator("#c1-volume_tiers [data-row-remove]").first.click()
    first = page.locator("#c1-volume_tiers-0-min_invocations")
    assert first.input_value() == "0"
    assert first.get_attribute("readonly") is not None
    assert page.locator("#c1-volume_tiers [data-row]").count() == 1
    saved(page, lambda: page.keyboard.press("Control+s"))
    assert price(plan)["volume_tiers"] == [{"min_invocations": 0, "rate": "0.08"}]


def test_a_wrong_cell_is_told_and_a_removed_row_takes_its_error_along(
    page: Page, plan: Plan
) -> None:
    begin(page)
    page.fill("#c1-tool_invocations-0-name", "search")
    page.fill("#c1-tool_invocations-0-rate", "free")
    told = "Rate of a call in row 1 “free” is no number."
    expect(page.locator("#c1-tool_invocations-0-rate-error")).to_contain_text(told)
    page.locator("#c1-tool_invocations [data-row-remove]").first.click()
    expect(page.locator("#c1-tool_invocations-0-rate-error")).to_have_count(0)
    assert page.input_value("#c1-tool_invocations-0-rate") == ""
    assert page.evaluate("document.activeElement.id") == "c1-tool_invocations-0-name"


def test_parts_turn_on_when_they_apply_and_keep_what_they_hold(page: Page) -> None:
    begin(page)
    page.get_by_text("Tokens", exact=True).click()
    factors = page.locator("#c1-tool_multipliers-0-factor")
    why = page.locator("#c1-tool_multipliers-off")
    expect(factors).to_be_disabled()
    expect(why).to_have_text(
        "Off: it multiplies the rate of a token, and there is none."
    )
    page.fill("#c1-token_multipliers-0-name", "output_tokens")
    expect(factors).to_be_enabled()
    expect(why).to_be_hidden()
    factors.fill("2")
    page.fill("#c1-token_multipliers-0-name", "")
    expect(factors).to_be_enabled()
    expect(why).to_be_visible()


def test_rows_are_typed_and_saved_without_scripts(live_server: Any, plan: Plan) -> None:
    with browser_page(live_server.url, java_script_enabled=False) as (page, _):
        sign_in(page, live_server.url)
        page.goto(f"{live_server.url}/plans/{plan.public_id}/edit")
        page.get_by_role("button", name="Add charge").click()
        page.fill("#c1-name", "Agents")
        page.select_option("#c1-model", "dimensions")
        page.locator("#save").click()
        page.fill("#c1-tool_invocations-0-name", "search")
        page.fill("#c1-tool_invocations-0-rate", "0.1")
        page.locator("button[value='c1.rows.tool_invocations.add']").click()
        page.fill("#c1-tool_invocations-1-name", "write")
        page.fill("#c1-tool_invocations-1-rate", "0.2")
        page.locator("#save").click()
        assert "was saved as a draft" in page.content()
    assert price(plan)["tool_invocations"] == {"search": "0.1", "write": "0.2"}


def test_a_scenario_is_saved_and_chosen_again(page: Page, plan: Plan) -> None:
    compose_by_keyboard(page)
    page.wait_for_selector("#total data")
    page.wait_for_selector("#problems [data-problem]", state="detached")
    page.fill("[id^=q-]", "20,000")
    page.fill("#scenario-name", "Growth month")
    page.get_by_role("button", name="Save scenario").click()
    expect(page.locator("#usage [role=status]")).to_have_text(
        "Scenario Growth month was saved."
    )
    assert page.input_value("[id^=q-]") == "20,000"
    assert problems(page) == []
    page.get_by_role("button", name="Save as new").click()
    expect(page.locator("#scenario-name-error")).to_contain_text("Type a name")
    with page.expect_response("**/simulate"):
        page.fill("[id^=q-]", "20,000")
    expect(page.locator("#scenario-name-error")).to_be_visible()
    page.select_option("#customer", "sample")
    expect(page.locator("[id^=q-]").first).not_to_have_value("20,000")
    page.select_option("#customer", label="Growth month")
    expect(page.locator("[id^=q-]").first).to_have_value("20,000")
    page.wait_for_function("document.querySelector('#total data').value === '82.025'")
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete scenario").click()
    expect(page.locator("#usage [role=status]")).to_contain_text("was deleted")
    assert page.input_value("[id^=q-]") == "20,000"
