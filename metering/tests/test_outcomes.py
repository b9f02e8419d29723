"""Outcomes that are confirmed and reversed: from events to the books and invoices."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing import invoicing, subscriptions
from billing.models import GroupTotal, Invoice, LedgerEntry, UsageTotal
from catalog.pricing import explain_step, unpack_steps
from catalog.starters import starters
from metering import pipeline, unrateable
from metering.models import Unrateable
from metering.tests.conftest import DjangoDoor
from tests.factories import Shop, add_cost, make_shop, make_version, store_event

pytestmark = pytest.mark.django_db
NOVEMBER = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
RESOLUTION: dict[str, Any] = {
    "key": "resolved",
    "name": "Resolutions",
    "price": {
        "model": "compound",
        "outcome": {"all": [{"event_type": "ticket.closed"}]},
        "confirm": {"event_type": "ticket.confirmed", "within_seconds": 259200},
        "reverse": {"event_type": "ticket.reopened", "within_seconds": 259200},
        "absorbs": ["input_tokens"],
        "price": {"model": "per_unit", "unit_amount": "0.99"},
    },
}
PLAN: dict[str, Any] = {"currency": "USD", "charges": [RESOLUTION]}


@pytest.fixture
def november() -> Iterator[None]:
    """It is an hour into November, and contracts began in September."""
    with clock.travel(NOVEMBER + HOUR):
        yield


def tell(shop: Shop, kind: str, *, at: dt.datetime, ticket: str = "t1") -> None:
    """Store what happened to a ticket, and rate it."""
    store_event(shop, {}, event_type=kind, at=at, correlation_id=ticket)
    pipeline.rate()


def spends(shop: Shop) -> list[Decimal]:
    """Return what the counter rows say, in the order of their periods."""
    rows = UsageTotal.objects.filter(subscription=shop.subscription)
    return list(rows.order_by("period__start_at").values_list("spend", flat=True))


def assert_clean() -> None:
    """Every invariant of the data holds."""
    assert {code: found for code, found in breaks().items() if found} == {}


def test_a_resolution_is_charged_on_confirmation_and_reversed_to_zero() -> None:
    shop = make_shop(body=PLAN)
    now = clock.now()
    tell(shop, "ticket.closed", at=now)
    assert spends(shop) == [0]
    tell(shop, "ticket.confirmed", at=now + HOUR)
    assert spends(shop) == [Decimal("0.99")]
    tell(shop, "ticket.reopened", at=now + HOUR * 2)
    assert spends(shop) == [0]
    entries = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.USAGE).order_by("id")
    assert [e.amount for e in entries] == [0, Decimal("0.99"), Decimal("-0.99")]
    last = entries[2]
    (step,) = unpack_steps(last.steps[0], last.quantities[0], last.amounts[0])
    assert explain_step(step, "USD") == "reversed: −1 × $0.99 = −$0.99"
    assert_clean()


def test_what_is_said_in_the_next_month_belongs_to_the_outcomes_own(
    november: None,
) -> None:
    shop = make_shop(body=PLAN)
    tell(shop, "ticket.closed", at=NOVEMBER - HOUR)
    tell(shop, "ticket.confirmed", at=NOVEMBER + HOUR / 2)
    assert spends(shop) == [Decimal("0.99")]
    # October's invoice is out: the next one takes it back, and names the month.
    invoicing.close_periods(NOVEMBER + HOUR / 2)
    with clock.travel(NOVEMBER + HOUR * 3):
        invoicing.close_periods(clock.now())
        assert Invoice.objects.get(state="finalised").total == Decimal("0.99")
        tell(shop, "ticket.reopened", at=NOVEMBER + HOUR * 2)
        assert spends(shop) == [0]
        entry = LedgerEntry.objects.get(event_type="ticket.reopened")
        assert entry.kind == LedgerEntry.Kind.ADJUSTMENT
        assert entry.usage_period.start_at < NOVEMBER == entry.billing_period.start_at
        assert_clean()


def test_pieces_and_confirmation_in_one_batch_meet_in_the_earlier_month(
    november: None,
) -> None:
    shop = make_shop(body=PLAN)
    for kind, at in (
        ("ticket.confirmed", NOVEMBER + HOUR / 2),
        ("ticket.closed", NOVEMBER - HOUR),
    ):
        store_event(shop, {}, event_type=kind, at=at, correlation_id="t1")
    pipeline.rate()
    assert spends(shop) == [Decimal("0.99")]
    assert_clean()


def test_a_month_with_a_piece_of_its_own_keeps_what_is_said(november: None) -> None:
    shop = make_shop(body=PLAN)
    tell(shop, "ticket.closed", at=NOVEMBER - HOUR)
    tell(shop, "ticket.closed", at=NOVEMBER + HOUR / 4)
    tell(shop, "ticket.confirmed", at=NOVEMBER + HOUR / 2)
    assert spends(shop) == [0, Decimal("0.99")]
    # Nothing is moved for a ticket that is not known.
    tell(shop, "ticket.confirmed", at=NOVEMBER + HOUR / 2, ticket="t2")
    assert spends(shop) == [0, Decimal("0.99")]
    assert_clean()


def test_what_is_said_after_a_change_of_plan_belongs_to_the_plan_before() -> None:
    shop = make_shop(body=PLAN)
    start = clock.now()
    tell(shop, "ticket.closed", at=start - HOUR)
    dearer = {**RESOLUTION["price"], "price": {"model": "per_unit", "unit_amount": "2"}}
    body = {"currency": "USD", "charges": [{**RESOLUTION, "price": dearer}]}
    subscriptions.change_plan(
        subscription=shop.subscription,
        plan_version=make_version(shop.product, body),
        at=start - HOUR / 2,
        actor=shop.owner,
    )
    tell(shop, "ticket.confirmed", at=start)
    assert sum(spends(shop)) == Decimal("0.99")
    assert_clean()


def test_an_outcome_is_reversed_though_the_plan_in_force_has_none() -> None:
    shop = make_shop(body=PLAN)
    start = clock.now()
    tell(shop, "ticket.closed", at=start - HOUR * 3)
    tell(shop, "ticket.confirmed", at=start - HOUR * 2)
    subscriptions.change_plan(
        subscription=shop.subscription,
        plan_version=make_version(shop.product),
        at=start - HOUR,
        actor=shop.owner,
    )
    tell(shop, "ticket.reopened", at=start)
    assert sum(spends(shop)) == 0
    assert_clean()


def test_an_unknown_cost_waits_until_it_is_known() -> None:
    budget = {"amount": "0.50", "overage_percent": "130"}
    price = {**RESOLUTION["price"], "cost_budget": budget}
    price.pop("confirm")
    body = {"currency": "USD", "charges": [{**RESOLUTION, "price": price}]}
    shop = make_shop(body=body)
    # What happens to a ticket costs nothing, and that is known.
    add_cost(shop.tenant, model="ticket.closed", unit="event.call", amount="0")
    store_event(
        shop,
        {"input_tokens": 1000},
        properties={"model": "m"},
        correlation_id="t1",
    )
    pipeline.rate()
    tell(shop, "ticket.closed", at=clock.now())
    assert spends(shop) == [Decimal("0.99")]
    listed = Unrateable.objects.get()
    assert (listed.reason, listed.detail) == (
        "unknown_cost",
        "resolved: the cost of the event is unknown",
    )
    add_cost(shop.tenant, model="m", unit="input_uncached_tokens", amount="0.0006")
    assert unrateable.replay([listed.pk], actor=shop.owner) == (1, 0)
    # $0.60 of cost, $0.10 of it beyond the budget, at 130 %.
    assert spends(shop) == [Decimal("1.12")]
    state = UsageTotal.objects.get().state["resolved"]
    assert state == {"n": 2, "q": "1", "beyond": "0.1"}
    assert GroupTotal.objects.get().state["cost"] == "0.6"
    assert_clean()


def test_contract_reviewed_needs_its_pieces_within_half_an_hour() -> None:
    outcome = {
        "all": [
            {"event_type": "doc.parsed"},
            {"event_type": "llm.completion", "at_least": 2},
        ],
        "within_seconds": 1800,
    }
    (review,) = starters()["contract_reviewed"].charges
    price = {**review["price"], "outcome": outcome}
    shop = make_shop(body={"currency": "USD", "charges": [{**review, "price": price}]})
    now = clock.now() - HOUR * 3
    for contract, minutes in (("near", 30), ("far", 31)):
        tell(shop, "doc.parsed", at=now, ticket=contract)
        for _ in range(2):
            later = now + dt.timedelta(minutes=minutes)
            tell(shop, "llm.completion", at=later, ticket=contract)
    assert spends(shop) == [Decimal("0.85")]
    assert_clean()


@pytest.mark.django_db(transaction=True)
def test_the_resolution_template_through_the_door(runner: Any) -> None:
    shop = make_shop(
        body={"currency": "USD", "charges": list(starters()["resolution"].charges)}
    )
    door = DjangoDoor()
    for kind, properties in (
        ("conversation.closed", {"resolved": "true"}),
        ("conversation.confirmed", {}),
        ("conversation.reopened", {}),
    ):
        body = {
            "eventId": kind,
            "eventType": kind,
            "customerId": shop.customer.external_id,
            "correlationId": "conversation-1",
            "properties": properties,
            "measurements": [{"metricKey": "input_tokens", "value": 10}],
        }
        answer = door.send(
            json.dumps(body).encode(),
            {
                "content-type": "application/json",
                "authorization": f"Bearer {shop.service_secret}",
            },
        )
        assert answer.status in (200, 202), answer.body
        pipeline.rate()
    entries = LedgerEntry.objects.filter(event_id__isnull=False).order_by("id")
    assert [e.amount for e in entries] == [0, Decimal("0.99"), Decimal("-0.99")]
    assert spends(shop) == [0]
    assert_clean()
