"""The console's own pages in a real browser: both themes, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

from aforo.core.models import User
from portal.tests.conftest import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PAGES = (
    "/profile",
    "/profile/password",
    "/profile/second-step",
    "/settings/team",
    "/audit",
    "/audit?action=nothing",
    "/search?q=a",
    "/dev/ui",
)


@contextmanager
def browser_page(url: str, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """Yield a page of Debian's Chromium and what goes wrong in it."""
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=FLAGS
        )
        page = browser.new_context(**options).new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda said: (
                faults.append(said.text) if "Security Policy" in said.text else None
            ),
        )
        page.on(
            "request",
            lambda sent: (
                faults.append(sent.url)
                if not sent.url.startswith((url, url.replace("http", "ws"), "data:"))
                else None
            ),
        )
        try:
            yield page, faults
        finally:
            browser.close()


def sign_in(page: Page, url: str) -> None:
    """Sign the owner in as a person does."""
    page.goto(f"{url}/login?next=/profile")
    page.fill("[name=email]", "olga@acme.test")
    page.fill("[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/profile")


def problems(page: Page) -> list[str]:
    """Return what axe finds, and whether the page scrolls sideways."""
    found = [
        f"{page.url} {rule['id']}: {rule['nodes'][0]['html'][:120]}"
        for rule in Axe().run(page).response["violations"]
    ]
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return [*found, *([f"{page.url} scrolls by {width}"] if width > 0 else [])]


@pytest.mark.parametrize("width", [320, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_no_page_scrolls_sideways(
    live_server: Any, olga: User, scheme: str, width: int
) -> None:
    url = live_server.url
    size = {"width": width, "height": 900}
    with browser_page(url, viewport=size, color_scheme=scheme) as (page, faults):
        page.goto(f"{url}/login")
        found = problems(page)
        sign_in(page, url)
        for path in PAGES:
            page.goto(f"{url}{path}")
            found += problems(page)
        page.goto(f"{url}/no/such/page")
        found += problems(page)
    assert [*found, *faults] == []


EDGE = """frame => [frame.scrollLeft, frame.scrollWidth > frame.clientWidth,
  getComputedStyle(frame).backgroundAttachment]"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_is_cut_off_shows_it_and_scrolls_by_keys(
    live_server: Any, olga: User, scheme: str
) -> None:
    url = live_server.url
    size = {"width": 320, "height": 900}
    with browser_page(url, viewport=size, color_scheme=scheme) as (page, faults):
        sign_in(page, url)
        page.goto(f"{url}/audit")
        frame = page.locator(".table-wrap").first
        # What covers the shades moves with the table; the shades stay at the edges.
        shades = "local, local, scroll, scroll"
        assert frame.evaluate(EDGE) == [0, True, shades]
        with_shade = frame.screenshot()
        frame.evaluate("frame => { frame.style.background = 'none'; }")
        assert frame.screenshot() != with_shade
        frame.focus()
        page.keyboard.press("ArrowRight")
        expect(frame).not_to_have_js_property("scrollLeft", 0)
    assert faults == []


def test_keys_find_a_page_and_give_the_focus_back(live_server: Any, olga: User) -> None:
    url = live_server.url
    with browser_page(url) as (page, _):
        sign_in(page, url)
        page.focus("[name=name]")
        page.keyboard.press("Control+k")
        page.wait_for_selector("#palette [role=option]")
        assert problems(page) == []
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.name") == "name"
        page.keyboard.press("Control+k")
        page.keyboard.type("aud")
        page.wait_for_selector("#palette [aria-selected=true][href='/audit']")
        page.keyboard.press("Enter")
        page.wait_for_url("**/audit")
        page.keyboard.press("g")
        page.keyboard.press("t")
        page.wait_for_url("**/settings/team")
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()


def test_letters_typed_into_a_field_are_no_shortcuts(
    live_server: Any, olga: User
) -> None:
    url = live_server.url
    with browser_page(url) as (page, _):
        sign_in(page, url)
        page.focus("[name=name]")
        page.keyboard.type("ga?")
        assert page.url.endswith("/profile")
        assert not page.locator("#help").is_visible()


def test_the_theme_is_in_the_page_before_any_script(
    live_server: Any, olga: User
) -> None:
    url = live_server.url
    with browser_page(url, color_scheme="light") as (page, _):
        sign_in(page, url)
        page.locator("main").get_by_role("button", name="Dark").click()
        page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
        page.wait_for_load_state("networkidle")
        html = page.request.get(f"{url}/audit").text()
    assert '<html lang="en" data-theme="dark">' in html


def test_reading_and_saving_work_without_scripts(live_server: Any, olga: User) -> None:
    url = live_server.url
    with browser_page(url, java_script_enabled=False) as (page, _):
        sign_in(page, url)
        page.fill("[name=name]", "Olga R.")
        page.get_by_role("button", name="Save").click()
        assert "Your profile was saved." in page.content()
        page.get_by_role("button", name="Help").click()
        assert page.locator("#help").is_visible()


def test_a_problem_in_a_form_takes_the_focus(live_server: Any, olga: User) -> None:
    url = live_server.url
    with browser_page(url) as (page, _):
        page.goto(f"{url}/login")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_selector("[data-error-summary]:focus")
        page.get_by_role("link", name="E-mail: This field is required.").click()
        assert page.evaluate("document.activeElement.name") == "email"
