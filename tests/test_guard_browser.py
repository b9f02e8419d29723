"""The control room of a whole Aforo in a real browser: live, deeds, and no Redis."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, expect

from portal.tests.test_browser import browser_page
from tests import harness
from tests.test_pages_browser import problems, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

CUSTOMER = "quillstack"
PRODUCT = "search-api"
CAP = "spend_cap.customer.period"
# Sets the cap as its page does, through the product's own function.
SET_CAP = (
    "from decimal import Decimal; from billing import accounts;"
    " from billing.models import Customer;"
    f" c = Customer.objects.get(external_id='{CUSTOMER}');"
    " accounts.set_spend_cap(customer=c, amount=Decimal('{cap}'), actor=None)"
)


@pytest.fixture(scope="module")
def shop() -> Iterator[harness.Instance]:
    """A private Aforo with the demo's tenant."""
    with harness.short_folder() as folder:
        running = harness.Instance(folder)
        running.start()
        try:
            ran = running.manage("demo", "--history-only", "--slice", "200")
            assert ran.returncode == 0, ran.stdout + ran.stderr
            yield running
        finally:
            running.stop()


def set_cap(shop: harness.Instance, amount: str) -> None:
    """Cap what the customer may use in a period."""
    ran = shop.manage("shell", "-c", SET_CAP.format(cap=amount))
    assert ran.returncode == 0, ran.stderr


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def check(shop: harness.Instance, **members: Any) -> tuple[int, dict[str, str], Any]:
    """Ask /v1/check as the demo's gateway; return status, headers and body."""
    asked = {"customer_id": CUSTOMER, "product_id": PRODUCT, **members}
    request = urllib.request.Request(
        f"{shop.url}/v1/check",
        data=json.dumps(asked).encode(),
        headers={
            "Authorization": f"Bearer {shop.run['demo_service_key']}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, _lower(answer.headers), json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, _lower(error.headers), json.load(error)


def confirm(page: Page, button: str, **given: str) -> None:
    """Fill the page that asks, confirm it, and wait for the control room."""
    for name, value in given.items():
        page.fill(f"[name={name}]", value)
    page.locator("main").get_by_role("button", name=button, exact=True).click()
    page.wait_for_selector("h1:has-text('Guard')")


def open_room(page: Page, shop: harness.Instance) -> None:
    """Sign in and open the control room, its socket live."""
    sign_in(page, shop)
    page.goto(f"{shop.url}/guard")
    page.wait_for_selector("[data-live-state][data-state=live]")


def test_a_refusal_reads_the_same_everywhere_and_appears_within_two_seconds(
    shop: harness.Instance,
) -> None:
    set_cap(shop, "0")
    with browser_page(shop.url) as (page, faults):
        open_room(page, shop)
        status, headers, problem = check(shop, request_id="browser-cap")
        asked = time.monotonic()
        assert (status, problem["reason_code"]) == (429, CAP)
        pill = page.locator(".new-pill:visible").first
        expect(pill).to_contain_text("new", timeout=2_000)
        assert time.monotonic() - asked < 2
        pill.click()
        expect(page.locator("[data-live='guard.limited']")).to_contain_text(CAP)
        page.locator(f"[data-id='{problem['decision_id']}'] a").click()
        said = page.locator("main").inner_text()
        # The sentence ends with the time that was left then.
        assert problem["detail"] in said
        assert CAP in said
        reset = problem["limit"]["reset_s"]
        assert abs(int(headers["retry-after"]) - reset) <= 1
        page.get_by_role("link", name="Replay now").click()
        expect(page.locator("main")).to_contain_text("The same call now")
        page.get_by_role("link", name="Invoice so far").click()
        assert page.url.endswith("/upcoming")
    assert faults == []


def test_a_release_is_met_by_the_next_call_and_seen_by_others_and_the_audit(
    shop: harness.Instance,
) -> None:
    set_cap(shop, "0")
    assert check(shop)[0] == 429
    with browser_page(shop.url) as (page, faults):
        open_room(page, shop)
        watcher = page.context.new_page()
        watcher.goto(f"{shop.url}/guard")
        watcher.wait_for_selector("[data-live-state][data-state=live]")
        page.get_by_role("link", name="Release 1 h").first.click()
        confirm(page, "Release", reason="agreed on the phone")
        assert check(shop)[0] == 200
        people = watcher.locator("[data-live='guard.people']")
        expect(people).to_contain_text("agreed on the phone", timeout=2_000)
        page.goto(f"{shop.url}/audit")
        assert "guard.released" in page.content()
        page.goto(f"{shop.url}/guard")
        page.get_by_role("link", name="Undo").first.click()
        confirm(page, "Undo")
        assert check(shop)[0] == 429
    assert faults == []


def test_allow_once_lets_one_call_pass(shop: harness.Instance) -> None:
    set_cap(shop, "0")
    _, _, problem = check(shop)
    with browser_page(shop.url) as (page, faults):
        open_room(page, shop)
        path = f"{shop.url}/guard/decisions/{problem['decision_id']}"
        expect(page.locator("main")).to_contain_text(CAP, timeout=5_000)
        page.goto(path)
        page.get_by_role("link", name="Allow once").click()
        page.fill("[name=reason]", "just this one")
        page.locator("main").get_by_role("button", name="Allow once").click()
        page.wait_for_selector("text=passes the limit")
        assert [check(shop)[0] for _ in range(2)] == [200, 429]
    assert faults == []


def test_the_panic_switch_is_met_at_once_and_taken_back(
    shop: harness.Instance,
) -> None:
    set_cap(shop, "0")
    assert check(shop)[0] == 429
    with browser_page(shop.url) as (page, faults):
        open_room(page, shop)
        page.get_by_role("link", name="Guard to observe-only").click()
        name = page.locator("main .hint").first.inner_text().strip()
        confirm(page, "Observe only", typed=name, reason="a release goes wrong")
        status, headers, body = check(shop)
        assert (status, body["observe_only"]) == (200, True)
        assert body["would"]["reason_code"] == CAP
        assert headers["x-aforo-observe-only"] == "true"
        page.goto(f"{shop.url}/customers")
        expect(page.locator(".banner")).to_contain_text("Guard is observe-only.")
        page.goto(f"{shop.url}/guard")
        page.get_by_role("link", name="Enforce again").click()
        confirm(page, "Enforce")
        assert check(shop)[0] == 429
        assert page.locator(".banner").count() == 0
    assert faults == []


def test_a_block_and_an_unblock_are_met_by_the_next_call(
    shop: harness.Instance,
) -> None:
    set_cap(shop, "0")
    assert check(shop)[0] == 429
    with browser_page(shop.url) as (page, faults):
        open_room(page, shop)
        limited = page.locator("[data-live='guard.limited']")
        expect(limited).to_contain_text(CAP, timeout=5_000)
        limited.get_by_role("link", name="Block").first.click()
        confirm(page, "Block", reason="runs away")
        assert check(shop)[2]["code"] == "suspended"
        limited = page.locator("[data-live='guard.limited']")
        expect(limited).to_contain_text("Unblock", timeout=5_000)
        limited.get_by_role("link", name="Unblock").first.click()
        confirm(page, "Unblock")
        assert check(shop)[2]["reason_code"] == CAP
    assert faults == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 320)])
def test_axe_finds_nothing_and_the_room_does_not_scroll_sideways(
    shop: harness.Instance, scheme: str, width: int
) -> None:
    set_cap(shop, "0")
    _, _, problem = check(shop, tool_name="search_flights")
    size = {"width": width, "height": 900}
    with browser_page(shop.url, viewport=size, color_scheme=scheme) as (page, faults):
        open_room(page, shop)
        expect(page.locator("main")).to_contain_text(CAP, timeout=5_000)
        found = problems(page)
        decision = f"/guard/decisions/{problem['decision_id']}"
        for path in (
            f"/guard?reason={CAP}",
            "/guard/ask?customer=nobody",
            f"/guard/ask?customer={CUSTOMER}&product={PRODUCT}",
            "/guard/observe-only",
            "/guard/snooze?key=x",
            f"{decision}?replay=1",
            f"{decision}/allow-once",
        ):
            page.goto(shop.url + path)
            found += problems(page)
    assert [*found, *faults] == []


def test_the_room_is_read_and_used_without_scripts(shop: harness.Instance) -> None:
    set_cap(shop, "0")
    assert check(shop)[0] == 429
    with browser_page(shop.url, java_script_enabled=False) as (page, _):
        sign_in(page, shop)
        page.goto(f"{shop.url}/guard")
        page.fill("#ask [name=customer]", CUSTOMER)
        page.fill("#ask [name=product]", PRODUCT)
        page.locator("#ask").get_by_role("button", name="Ask").click()
        assert "Blocked: customer spend cap." in page.locator("main").inner_text()


def test_a_redis_that_is_gone_is_seen_within_five_seconds_and_recovers(
    shop: harness.Instance,
) -> None:
    set_cap(shop, "100000")
    assert check(shop)[0] == 200
    with browser_page(shop.url) as (page, _):
        open_room(page, shop)
        expect(page.locator("[data-live='guard.state']")).to_contain_text("Enforcing")
        store = psutil.Process(shop.pids["redis"])
        store.suspend()
        try:
            assert check(shop)[2]["degraded"] is True
            state = page.locator("[data-live='guard.state']")
            expect(state).to_contain_text("Fail-open", timeout=5_000)
            passed = sum(check(shop)[2]["degraded"] for _ in range(4))
            assert passed == 4
            counted = page.locator("[data-live='guard.open'] .bad").first
            expect(counted).to_contain_text("5", timeout=5_000)
        finally:
            store.resume()
        expect(state).to_contain_text("Enforcing", timeout=20_000)
        # Stored once, not lost and not twice.
        page.wait_for_timeout(3_000)
        expect(page.locator("[data-live='guard.open'] .bad").first).to_contain_text("5")
