"""The page of an event says what is free, and rates as people read them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from aforo.core.models import Role
from billing.models import LedgerEntry
from catalog.cost_lines import CostLine
from metering import pipeline, voiding
from metering.models import CostFact, UsageEvent
from portal.selectors import event_notes
from portal.tests.scene import MODEL, Scene, event_path, sign_in

pytestmark = pytest.mark.django_db
FREE = "not charged by the plan"


def use(scene: Scene, measurements: dict[str, Any], **more: Any) -> UsageEvent:
    """Store and rate a call of the scene's model."""
    event = scene.store(measurements, properties={"model": MODEL}, **more)
    pipeline.rate()
    return event


def page_of(scene: Scene, event: UsageEvent) -> Any:
    """Return the page of an event as a viewer sees it."""
    return sign_in(scene, Role.VIEWER).get(event_path(event))


def marked(page: Any) -> list[str]:
    """Return the measurements that the page marks."""
    found = page.context["measurements"]
    assert page.content.decode().count(FREE) == sum(free for *_, free in found)
    return [name for name, _, free in found if free]


def test_what_no_charge_of_the_plan_counts_is_marked(scene: Scene) -> None:
    event = use(
        scene,
        {
            "input_tokens": 9_550,
            "cache_read_tokens": 8_000,
            "output_tokens": 420,
            "reasoning_tokens": 20,
            "web_searches": 2,
            "latency_ms": 800,
        },
    )
    # The plan has prices for input, output and calls; parts go with their whole.
    assert marked(page_of(scene, event)) == ["latency_ms", "web_searches"]


def test_what_has_no_price_or_is_void_is_not_marked(scene: Scene) -> None:
    listed = use(scene, {"strange_units": 3, "web_searches": 1})
    assert marked(page_of(scene, listed)) == []
    waiting = scene.store({"web_searches": 1})
    assert marked(page_of(scene, waiting)) == []
    gone = use(scene, {"web_searches": 1})
    assert LedgerEntry.objects.get(event_id=gone.pk).amount == 0
    assert marked(page_of(scene, gone)) == ["web_searches"]
    voiding.void(gone, reason="a test")
    assert marked(page_of(scene, gone)) == []


def test_rates_of_tokens_are_told_for_a_million(scene: Scene) -> None:
    event = use(scene, {"input_tokens": 1_000, "cache_read_tokens": 200})
    text = page_of(scene, event).content.decode()
    rates = dict(
        re.findall(r'<th scope="row">([a-z_]+)</th>.*?each">([^<]+)</data>', text)
    )
    assert rates == {
        "cache_read_tokens": "$0.40 per 1M",
        "input_uncached_tokens": "$1.10 per 1M",
    }
    assert "&lt;$0.000001" not in text


def test_other_rates_are_told_for_one() -> None:
    line = CostLine("tool.call", Decimal(1), Decimal("0.0021"), Decimal("0.0021"), "")
    assert event_notes.rate_words(line, "USD") == "$0.0021"
    tiny = CostLine("input_tokens", Decimal(1), Decimal("0.00000003"), Decimal(0), "")
    assert event_notes.rate_words(tiny, "EUR") == "€0.03 per 1M"


@pytest.mark.parametrize(
    ("change", "told"), [("0.00244", "+$0.00244"), ("-1", "−$1.00")]
)
def test_a_correction_of_the_cost_is_told_as_a_change(
    scene: Scene, change: str, told: str
) -> None:
    event = use(scene, {"input_tokens": 1_000})
    CostFact.objects.create(
        tenant=scene.tenant,
        customer=scene.customer,
        event=event,
        kind="recost",
        amount=Decimal(change),
        currency="USD",
        occurred_at=event.occurred_at,
    )
    text = " ".join(strip_tags(page_of(scene, event).content.decode()).split())
    assert f"Corrected ratethe cost changed by {told}" in text


def test_an_event_takes_few_statements(scene: Scene) -> None:
    event = use(scene, {"tool_calls": 1, "web_searches": 1}, tool_name="search")
    client = sign_in(scene, Role.VIEWER)
    client.get(event_path(event))
    with CaptureQueriesContext(connection) as few:
        client.get(event_path(event))
    assert len(few) <= 30
