"""Charges by the day, hour, session or event, from stored events to the books."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing import preview
from billing.bill import BillLine
from billing.models import GroupTotal, LedgerEntry, UsageTotal
from catalog.pricing import explain_step, unpack_steps
from metering import pipeline, settling
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 10, 15, 12, tzinfo=dt.UTC)

VOLUME = {
    "model": "volume",
    "tiers": [
        {"up_to": "10", "unit_amount": "0.10"},
        {"up_to": "20", "unit_amount": "0.05"},
        {"up_to": None, "unit_amount": "0.02"},
    ],
}


def body(window: str, aggregation: str = "max", **more: Any) -> dict[str, Any]:
    """Return a plan of one charge on tool calls."""
    metric = {
        "key": "tool_calls",
        "aggregation": aggregation,
        "measurement": "tool_calls",
        "window": window,
    }
    charge = {"key": "peak", "name": "Peak", "unit": "call", "metric": metric}
    return {"currency": "USD", "charges": [{**charge, "price": VOLUME, **more}]}


@pytest.fixture(autouse=True)
def october() -> Iterator[None]:
    """It is the middle of October."""
    with clock.travel(NOW):
        yield


def use(shop: Shop, calls: int, **more: Any) -> None:
    """Store and rate an event, in a batch of its own."""
    store_event(shop, {"tool_calls": calls}, **more)
    pipeline.rate()


def spend() -> Decimal:
    """Return what the counter row says."""
    return UsageTotal.objects.get().spend


def only_line(shop: Shop) -> BillLine:
    """Return the line of the invoice as it would be now."""
    bill = preview.preview(customer=shop.customer, currency="USD")
    assert bill is not None
    (line,) = bill.lines
    return line


def assert_clean() -> None:
    """Every invariant of the data holds."""
    assert {code: found for code, found in breaks().items() if found} == {}


def test_hours_are_priced_by_themselves_across_batches_and_onto_the_invoice() -> None:
    shop = make_shop(body=body("hour"))
    first, second = NOW - dt.timedelta(hours=25), NOW - dt.timedelta(hours=24)
    for at, calls in [(first, 9), (second, 15), (first, 4), (second, 3)]:
        use(shop, calls, at=at)
    assert spend() == Decimal("1.65")
    # A counter row does not grow with the number of windows, and none waits.
    assert set(UsageTotal.objects.get().state) == {"peak"}
    assert GroupTotal.objects.count() == 2
    assert not GroupTotal.objects.filter(settled_at=None).exists()
    entry = LedgerEntry.objects.filter(kind="usage").order_by("id").first()
    assert entry is not None
    (steps,) = entry.steps
    (step,) = unpack_steps(steps, entry.quantities[0], entry.amounts[0])
    assert explain_step(step, "USD") == "9 in hours up to 10 × $0.10 = $0.90"
    line = only_line(shop)
    assert line.exact_amount == Decimal("1.65")
    assert [step["label"] for step in line.steps] == [
        "9 in hours up to 10 × $0.10",
        "15 in hours above 10 up to 20 × $0.05",
    ]
    assert_clean()


def test_a_session_is_a_window_and_nothing_is_settled_at_its_end() -> None:
    shop = make_shop(body=body("session", "sum"))
    for session, calls in [("s", 9), ("t", 9), ("s", 6), ("", 9)]:
        use(shop, calls, session_key=session)
    assert spend() == Decimal("0.75") + Decimal("0.9") + Decimal("0.9")
    assert GroupTotal.objects.count() == 2
    store_event(shop, {}, event_type="session.completed", session_key="s")
    pipeline.rate()
    assert settling.settle() == 0
    use(shop, 6, session_key="s")
    assert spend() == Decimal("0.42") + Decimal("1.8")
    assert_clean()


def test_a_window_of_one_event_leaves_no_row_of_its_own() -> None:
    shop = make_shop(body=body("event", "sum"))
    for calls in (9, 15, 9):
        use(shop, calls)
    assert spend() == Decimal("2.55")
    assert not GroupTotal.objects.exists()
    assert_clean()


def test_a_minimum_and_a_maximum_stay_those_of_the_period() -> None:
    shop = make_shop(body=body("event", "sum", minimum="5", maximum="20"))
    use(shop, 9)
    assert only_line(shop).amount == Decimal("5")
    for _ in range(3):
        use(shop, 1000)
    assert spend() == Decimal("20")
    assert_clean()
