"""The data pages of a whole Aforo in a real browser, on demo data and live usage."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from portal.tests.test_browser import browser_page
from tests import harness

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

# Calls of the demo's history: enough for every page to have rows.
CALLS = 600
# The history begins in an earlier month, whose invoices are drafted with it.
CLOSE = (
    "from aforo.lib import clock; from billing import invoicing;"
    " invoicing.close_periods(clock.now())"
)
LISTS = (
    "/",
    "/customers",
    "/customers?q=nobody",
    "/products",
    "/plans",
    "/plans?q=nothing",
    "/plans/new",
    "/simulator",
    "/metrics",
    "/metrics/new",
    "/guard/rules",
    "/sessions",
    "/events",
    "/events?status=unrateable",
    "/guard",
    "/guard?reason=spend_cap.customer.period&customer=nobody",
    "/guard/ask?customer=quillstack",
    "/guard/observe-only",
    "/invoices",
    "/analytics/usage?period=90",
    "/analytics/usage?period=90&by=agent&chart=lines&measure=tokens",
    "/analytics/usage?period=90&by=metric",
    "/analytics/usage?model=nothing",
    "/analytics/cogs?period=90",
    "/analytics/cogs?period=90&by=agent",
    "/analytics/billed",
    "/analytics/billed?q=nobody",
    "/tiers",
    "/analytics/migration",
    "/analytics/views",
    "/analytics/views/new?by=model",
    "/events/backfill",
    "/alerts",
    "/alerts/new",
    "/webhooks",
    "/webhooks/new",
    "/admin/",
    "/admin/billing/customer/",
    "/admin/billing/customer/add/",
    "/admin/catalog/planversion/add/",
    "/admin/billing/subscription/add/",
    "/admin/billing/ledgerentry/",
)
# Axe would copy imported style sheets into inline ones, which our policy refuses.
QUIETLY = {"preload": False}
TABS = ("overview", "wallet", "invoices", "sessions", "activity")


@pytest.fixture(scope="module")
def shop() -> Iterator[harness.Instance]:
    """A private Aforo with the demo's tenant and a slice of its history."""
    with harness.short_folder() as folder:
        running = harness.Instance(folder)
        running.start()
        try:
            ran = running.manage("demo", "--history-only", "--slice", str(CALLS))
            assert ran.returncode == 0, ran.stdout + ran.stderr
            closed = running.manage("shell", "-c", CLOSE)
            assert closed.returncode == 0, closed.stdout + closed.stderr
            yield running
        finally:
            running.stop()


def sign_in(page: Page, shop: harness.Instance) -> None:
    """Sign the demo's owner in."""
    login = next(
        entry for entry in shop.run["demo_logins"] if entry["role"].lower() == "owner"
    )
    page.goto(f"{shop.url}/login")
    page.fill("[name=email]", login["email"])
    page.fill("[name=password]", login["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{shop.url}/")


def problems(page: Page) -> list[str]:
    """Return what keeps people out, and whether the page scrolls sideways."""
    found = [
        f"{page.url} {rule['id']}: {rule['nodes'][0]['html'][:120]}"
        for rule in Axe().run(page, options=QUIETLY).response["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return [*found, *([f"{page.url} scrolls by {width}"] if width > 0 else [])]


def first_link(page: Page, path: str) -> str:
    """Return where the first link below a path leads, without the host."""
    found = page.locator(f"main a[href^='{path}']").first.get_attribute("href")
    assert found is not None
    return found


def details(page: Page, url: str) -> list[str]:
    """Return a page of each kind that shows one thing, found as a person would."""
    found = []
    for path in ("/customers/", "/products/", "/sessions/", "/events/evt_"):
        page.goto(url + path.removesuffix("evt_").rstrip("/"))
        found.append(first_link(page, path))
    customer, product, event = found[0], found[1], found[3]
    found += [f"{event}/amend", f"{event}/void"]
    found += [f"{product}?tab=tools", f"{product}/tools/new", f"{found[2]}/end"]
    page.goto(f"{url}/plans")
    plan = first_link(page, "/plans/pln_")
    found.append(plan)
    found += [f"{plan}?tab={tab}" for tab in ("subscriptions", "audit")]
    found += [f"{plan}/{page_of}" for page_of in ("import", "impact", "edit")]
    found += [f"{customer}?tab={tab}" for tab in TABS]
    deeds = ("hierarchy", "teams/new", "upcoming", "top-up", "suspend", "subscribe")
    found += [f"{customer}/{deed}" for deed in deeds]
    found += [f"{plan}/subscribe", f"{customer}/subscribe?plan={plan.split('/')[-1]}"]
    page.goto(f"{url}{customer}")
    found.append(first_link(page, "/subscriptions/"))
    page.goto(f"{url}{customer}/hierarchy")
    found.append(first_link(page, "/teams/"))
    page.goto(f"{url}{customer}/upcoming")
    line = page.locator("a.opener").last.get_attribute("href")
    assert line is not None
    found.append(f"{customer}/upcoming{line}")
    return found


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 320)])
def test_axe_finds_nothing_and_no_page_scrolls_sideways(
    shop: harness.Instance, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 900}
    with browser_page(shop.url, viewport=size, color_scheme=scheme) as (page, faults):
        sign_in(page, shop)
        found: list[str] = []
        for path in [*LISTS, *details(page, shop.url)]:
            answer = page.goto(shop.url + path)
            assert answer is not None
            assert answer.status == 200, path
            found += problems(page)
    assert [*found, *faults] == []


def test_an_invoice_line_leads_to_one_request_and_back(
    shop: harness.Instance,
) -> None:
    with browser_page(shop.url) as (page, _):
        sign_in(page, shop)
        open_line_with_events(page, shop.url)
        page.wait_for_selector("text=Sum of the ledger")
        page.locator("a[href*='day=']").first.click()
        page.wait_for_selector("#day")
        day = page.url
        page.locator("#day a[href^='/events/']").first.click()
        page.wait_for_selector("text=Rating trace")
        page.go_back()
        assert page.url == day


def open_line_with_events(page: Page, url: str) -> None:
    """Open the first invoice line that events made, not a fee."""
    page.goto(f"{url}/invoices")
    found = page.locator("main tbody th a")
    invoices = [found.nth(n).get_attribute("href") for n in range(found.count())]
    for invoice in invoices:
        page.goto(f"{url}{invoice}")
        for number in range(page.locator("a.opener").count()):
            page.locator("a.opener").nth(number).click()
            page.wait_for_selector("tr.detail")
            if page.locator("a[href*='day=']").count():
                return
    raise AssertionError(f"none of {len(invoices)} invoices has a line with events")


def test_an_event_is_amended_on_its_page(shop: harness.Instance) -> None:
    """The web server is no owner of the tables: it has to say for whom it asks."""
    with browser_page(shop.url) as (page, faults):
        sign_in(page, shop)
        page.goto(f"{shop.url}/events?status=rated")
        event = first_link(page, "/events/evt_")
        page.goto(f"{shop.url}{event}/amend")
        page.fill("[name='property-0-name']", "note")
        page.fill("[name='property-0-value']", "put right")
        page.fill("[name=reason]", "a trial of the page")
        page.get_by_role("button", name="Show what it changes").last.click()
        page.wait_for_selector("#review")
        page.fill("[name=typed]", "amend")
        page.get_by_role("button", name="Amend the event").click()
        page.wait_for_selector("text=The event is amended.")
        assert event not in page.url
        assert "put right" in page.content()
        page.goto(shop.url + event)
        assert "This event is void" in page.content()
    assert faults == []


def make_service_key(page: Page, url: str) -> str:
    """Make a service key in the back office and return what is shown once."""
    page.goto(f"{url}/admin/core/servicekey/add/")
    page.fill("[name=name]", "browser test")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url(f"{url}/credentials/secret")
    secret = page.locator("pre code").last.inner_text().strip()
    page.reload()
    assert secret not in page.content()
    return secret


def send(url: str, key: str, event: dict[str, Any]) -> None:
    """Send one event as a gateway does."""
    request = urllib.request.Request(
        f"{url}/v1/events",
        data=json.dumps(event).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status in (200, 202)


def test_usage_appears_on_an_open_page_by_itself(shop: harness.Instance) -> None:
    with browser_page(shop.url) as (page, faults):
        sign_in(page, shop)
        key = make_service_key(page, shop.url)
        page.goto(f"{shop.url}/")
        page.wait_for_selector("[data-live-state][data-state=live]")
        counted = page.locator("[data-live='mtd.events']").inner_text()
        send(
            shop.url,
            key,
            {
                "eventType": "api.request",
                "customerId": "quillstack",
                "correlationId": "browser-1",
                "productId": "search-api",
                "properties": {},
                "measurements": [{"metricKey": "requests", "value": 1}],
            },
        )
        page.locator(".new-pill:visible").first.click(timeout=20_000)
        newest = page.locator("[data-feed=usage] li").first
        assert "api.request" in newest.inner_text()
        page.wait_for_function(
            "before => document.querySelector(\"[data-live='mtd.events']\")"
            ".innerText !== before",
            arg=counted,
            timeout=20_000,
        )
    assert faults == []


def test_pages_are_read_and_filtered_without_scripts(shop: harness.Instance) -> None:
    with browser_page(shop.url, java_script_enabled=False) as (page, _):
        sign_in(page, shop)
        page.goto(f"{shop.url}/customers")
        page.fill("main [name=q]", "quill")
        page.locator("main").get_by_role("button", name="Filter").click()
        assert page.locator("main tbody tr").count() == 1
        page.goto(shop.url + first_link(page, "/customers/") + "/top-up")
        page.fill("[name=amount]", "12.5")
        page.get_by_role("button", name="Add credit").click()
        assert "$12.50 added to the wallet" in page.content()
