"""Amending an event in a real browser: with the keyboard, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import expect

from aforo.core.models import Tenant, User
from aforo.lib import clock
from billing import accounts
from metering import pool
from metering.background import background
from metering.models import EventVoid, UsageEvent
from portal.tests.scene import event_path
from portal.tests.test_browser import browser_page, problems, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _no_connections_left() -> Iterator[None]:
    """Close what the event loop holds, so that the database can be emptied."""
    yield
    background.run(pool.close())


@pytest.fixture
def event(tenant: Tenant, olga: User) -> UsageEvent:
    """An event of a customer that waits to be rated."""
    customer = accounts.create_customer(tenant=tenant, name="Northwind", actor=olga)
    return UsageEvent.objects.create(
        tenant=tenant,
        event_id="call-7",
        body_hash=b"7",
        customer=customer,
        event_type="llm.completion",
        correlation_id="work-1",
        occurred_at=clock.now(),
        received_at=clock.now(),
        body={
            "measurements": {"cache_read_tokens": "512", "input_tokens": "2400"},
            "properties": {"model": "gpt-4o", "region": "eu-west-1"},
        },
    )


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 320)])
def test_an_event_is_amended_with_the_keyboard(
    live_server: Any, event: UsageEvent, scheme: str, width: int
) -> None:
    url, path = live_server.url, event_path(event)
    size = {"width": width, "height": 900}
    with browser_page(url, viewport=size, color_scheme=scheme) as (page, faults):
        sign_in(page, url)
        page.goto(f"{url}{path}")
        page.get_by_role("link", name="Amend").click()
        found = problems(page)
        page.get_by_label("Measurement 2, value").fill("24x")
        page.get_by_label("Reason").fill("a digit too many")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("is not a number")
        found += problems(page)
        page.get_by_label("Measurement 2, value").fill("240")
        page.keyboard.press("Enter")
        expect(page.locator("#review")).to_be_focused()
        expect(page.locator("#review")).to_contain_text("240")
        found += problems(page)
        page.get_by_label("Type “amend”").fill("amend")
        page.get_by_role("button", name="Amend the event").click()
        expect(page.get_by_role("status").first).to_contain_text("is amended")
    assert [*found, *faults] == []
    connection.close()
    void = EventVoid.objects.get()
    assert void.replaced_by is not None
    assert void.replaced_by.body["measurements"]["input_tokens"] == "240"
