"""Outcomes in a real browser: built by keyboard, and counted as they are saved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from aforo.core.models import Tenant
from aforo.lib import clock
from billing import accounts
from catalog.models import Plan
from metering.models import UsageEvent
from portal.tests.test_browser import browser_page, problems, sign_in
from portal.tests.test_composer_browser import (
    body,
    choose,
    page,
    plan,
    saved,
    tab_to,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
__all__ = ["page", "plan"]


def price(plan: Plan) -> Any:
    """Return the price of the draft's only charge."""
    return body(plan)["charges"][0]["price"]


def put(page: Page, **texts: str) -> None:
    """Type into boxes of the first charge, reached by Tab alone."""
    for name, text in texts.items():
        tab_to(page, f"c1-{name}".replace("__", "-"))
        page.keyboard.type(text)


def store(plan: Plan) -> None:
    """Store a ticket that was closed and confirmed, and one that was not."""
    try:
        tenant = Tenant.objects.get(pk=plan.tenant_id)
        customer = accounts.create_customer(tenant=tenant, name="Acme", actor=None)
        for ticket, kinds in (
            ("t-1", ("ticket.closed", "ticket.confirmed")),
            ("t-2", ("ticket.closed",)),
        ):
            for kind in kinds:
                UsageEvent.objects.create(
                    tenant=tenant,
                    customer=customer,
                    product=plan.product,
                    event_id=f"{ticket}-{kind}",
                    body_hash=b"",
                    event_type=kind,
                    correlation_id=ticket,
                    occurred_at=clock.now(),
                    received_at=clock.now(),
                    body={"properties": {}, "measurements": {}},
                )
    finally:
        connection.close()


def test_an_outcome_is_built_by_keyboard_and_counted(page: Page, plan: Plan) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(store, plan).result()
    keys = page.keyboard
    keys.press("Alt+n")
    page.wait_for_selector("#c1-name:focus")
    keys.type("Resolutions")
    tab_to(page, "c1-model")
    choose(page, "c1-model", "Out")
    page.wait_for_selector("#c1-requirements-0-event_type")
    page.wait_for_selector("#c1-model:focus")
    put(page, requirements__0__event_type="ticket.closed")
    put(page, confirm__0__event_type="ticket.confirmed")
    put(page, confirm__0__within_seconds="3 days")
    put(page, reverse__0__event_type="ticket.reopened", reverse__0__where="by = user")
    put(page, absorbs__0__name="input_tokens")
    keys.press("Enter")
    keys.type("output_tokens")
    put(page, budget="0.50", overage_percent="130", **{"o-unit_amount": "0.99"})
    saved(page, lambda: keys.press("Control+s"))
    assert price(plan) == {
        "model": "compound",
        "outcome": {"all": [{"event_type": "ticket.closed"}]},
        "price": {"model": "per_unit", "unit_amount": "0.99"},
        "absorbs": ["input_tokens", "output_tokens"],
        "confirm": {"event_type": "ticket.confirmed", "within_seconds": 259200},
        "reverse": {"event_type": "ticket.reopened", "where": {"by": "user"}},
        "cost_budget": {"amount": "0.50", "overage_percent": "130"},
    }
    line = page.get_by_text("Last 24 h: 1 matched · 0 incomplete · 1 not confirmed")
    expect(line).to_be_visible()
    page.fill("#c1-confirm-0-within_seconds", "soon")
    told = page.locator("#c1-confirm-0-within_seconds-error")
    expect(told).to_contain_text("a time such as 30 min or 3 days; you entered soon")
    page.fill("#c1-confirm-0-within_seconds", "2 h")
    expect(told).to_have_count(0)
    saved(page, lambda: keys.press("Control+s"))
    page.reload()
    assert page.input_value("#c1-confirm-0-within_seconds") == "2 hours"
    assert problems(page) == []
    page.get_by_role("link", name="see them").click()
    expect(page.get_by_text("no ticket.confirmed within 2 hours")).to_be_visible()
    expect(page.get_by_role("link", name="t-2")).to_be_visible()
    assert problems(page) == []


def test_an_outcome_is_written_without_scripts(live_server: Any, plan: Plan) -> None:
    with browser_page(live_server.url, java_script_enabled=False) as (page, _):
        sign_in(page, live_server.url)
        page.goto(f"{live_server.url}/plans/{plan.public_id}/edit")
        page.get_by_role("button", name="Add charge").click()
        page.fill("#c1-name", "Reviews")
        page.select_option("#c1-model", "compound")
        page.locator("#save").click()
        page.fill("#c1-requirements-0-event_type", "doc.parsed")
        page.locator("button[value='c1.rows.requirements.add']").click()
        page.fill("#c1-requirements-1-event_type", "llm.completion")
        page.fill("#c1-requirements-1-at_least", "2")
        page.fill("#c1-within", "30 min")
        page.fill("#c1-o-unit_amount", "0.85")
        page.locator("#save").click()
        assert "was saved as a draft" in page.content()
        page.get_by_role("link", name="See what the last 24 hours").click()
        assert "No event in this time" in page.content()
    assert price(plan)["outcome"] == {
        "all": [
            {"event_type": "doc.parsed"},
            {"event_type": "llm.completion", "at_least": 2},
        ],
        "within_seconds": 1800,
    }
