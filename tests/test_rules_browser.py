"""A rule in a running Aforo: saved in shadow, met, enforced, in a real browser."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from portal.tests.test_browser import browser_page
from tests import harness
from tests.test_pages_browser import (
    first_link,
    make_service_key,
    problems,
    sign_in,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
PATIENCE_S = 60


@pytest.fixture(scope="module")
def shop() -> Iterator[harness.Instance]:
    """A private Aforo with the demo's tenant and a little of its history."""
    with harness.short_folder() as folder:
        running = harness.Instance(folder)
        running.start()
        try:
            ran = running.manage("demo", "--history-only", "--slice", "40")
            assert ran.returncode == 0, ran.stdout + ran.stderr
            yield running
        finally:
            running.stop()


def check(url: str, key: str) -> int:
    """Return the status of a check that the edge itself judged."""
    body = {"customer_id": "quillstack", "product_id": "code-completion"}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{url}/v1/check", json.dumps(body).encode(), headers
    )
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                if not json.load(answer)["degraded"]:
                    return int(answer.status)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                return error.code
        time.sleep(0.2)
    raise AssertionError("the edge did not judge")


def contract_of(page: Page, url: str) -> str:
    """Return the contract of the demo's Quillstack for code completion."""
    page.goto(f"{url}/customers?q=quill")
    page.goto(url + first_link(page, "/customers/"))
    found = re.search(r"/subscriptions/(sub_\w+)", page.content())
    assert found is not None
    return found[1]


def wait_for(page: Page, address: str, words: str) -> None:
    """Read a page until it says the words."""
    deadline = time.monotonic() + PATIENCE_S
    while words not in page.locator("main").inner_text():
        assert time.monotonic() < deadline, page.locator("main").inner_text()
        time.sleep(0.5)
        page.goto(address)


def test_a_rule_in_shadow_tells_what_it_would_block_and_then_blocks(
    shop: harness.Instance,
) -> None:
    with browser_page(shop.url) as (page, faults):
        sign_in(page, shop)
        key = make_service_key(page, shop.url)
        rule = f"{shop.url}/guard/rules/{contract_of(page, shop.url)}"
        rule += ":requests_per_minute"
        page.goto(f"{rule}/shadow")
        page.fill("[name=limit]", "1")
        page.fill("[name=reason]", "before it is enforced")
        page.get_by_role("button", name="Save as shadow").click()
        page.wait_for_url(rule)
        assert [check(shop.url, key) for _ in range(3)] == [200] * 3
        wait_for(page, rule, "would have blocked 2 requests of 1 customer")
        assert problems(page) == []
        page.goto(f"{shop.url}/guard/rules")
        assert "1 in shadow" in page.content()
        page.goto(f"{rule}/enforce")
        page.get_by_role("button", name="Enforce").click()
        page.wait_for_url(rule)
        assert "Enforced" in page.locator("main").inner_text()
        assert check(shop.url, key) == 429
        wait_for(page, rule, "Blocked")
        page.goto(f"{shop.url}/audit")
        assert "before it is enforced" in page.content()
    assert faults == []
