"""Moves between spend levels: once, at once, with what caused them."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from aforo.core.models import AuditEntry
from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing import periods, spend_levels, subscriptions, wallets
from billing.models import LevelChange
from guard import facts, standing_facts
from metering import pipeline
from tests.factories import Shop, make_shop, store_event

OCTOBER = dt.datetime(2026, 10, 15, 12, tzinfo=dt.UTC)
NOVEMBER = dt.datetime(2026, 11, 10, 12, tzinfo=dt.UTC)
BODY: dict[str, Any] = {
    "currency": "USD",
    "levels": [
        {"key": "free", "name": "Free"},
        {
            "key": "build",
            "name": "Build",
            "credits_from": "5",
            "limits_multiplier": "2",
        },
        {"key": "scale", "name": "Scale", "spend_from": "50", "limits_multiplier": "4"},
        {"key": "enterprise", "name": "Enterprise", "limits_multiplier": "10"},
    ],
    "charges": [
        {
            "key": "calls",
            "name": "Calls",
            "metric": "tool_calls",
            "price": {"model": "per_unit", "unit_amount": "1"},
        },
        {
            "key": "fee",
            "name": "Fee",
            "price": {"model": "flat", "amount": "100", "due": "advance"},
        },
    ],
}
LIMITS = {"requests_per_minute": 60}


@pytest.fixture(autouse=True)
def october() -> Iterator[None]:
    with clock.travel(OCTOBER):
        yield


def moves(shop: Shop) -> list[tuple[str, str, str]]:
    rows = LevelChange.objects.filter(subscription=shop.subscription)
    return list(rows.order_by("number").values_list("before", "after", "cause"))


def at_edge(shop: Shop) -> tuple[int, str, int, str]:
    """Return what the edge would be told of the contract's level."""
    asked = {"ids": [shop.customer.pk], "now": clock.now()}
    found = standing_facts.read(facts.query, asked, set())
    return found.levels[shop.customer.pk][shop.subscription.public_id]


@pytest.mark.django_db
def test_the_cent_that_reaches_a_level_moves_the_contract_once() -> None:
    shop = make_shop(body=BODY, limits=LIMITS)
    store_event(shop, {"tool_calls": "49.99"})
    pipeline.rate()
    # Fees are no spend.
    assert (moves(shop), at_edge(shop)[0]) == ([], 1_000)
    event = store_event(shop, {"tool_calls": "0.01"})
    store_event(shop, {"tool_calls": "1"})
    pipeline.rate()
    assert moves(shop) == [("free", "scale", "spend")]
    assert at_edge(shop) == (4_000, "scale", 1_000, "free")
    store_event(shop, {"tool_calls": "1"})
    pipeline.rate()
    change = LevelChange.objects.get()
    assert (change.event_id, change.spend) == (event.pk, 51)
    row = AuditEntry.objects.get(action="spend_level.changed")
    assert row.changes["level"] == ["Free", "Scale"]
    assert row.changes["caused_by"] == [None, f"spend {event.pk}"]
    assert not {k: v for k, v in breaks().items() if v}


@pytest.mark.django_db
def test_bought_credits_and_a_hand_move_it_too() -> None:
    shop = make_shop(body=BODY, limits=LIMITS)
    bought = wallets.top_up(
        customer=shop.customer, currency="USD", amount=Decimal(5), actor=shop.owner
    )
    assert at_edge(shop) == (2_000, "build", 2_000, "build")
    subscriptions.change_plan(
        subscription=shop.subscription,
        plan_version=shop.version,
        at=clock.now(),
        actor=shop.owner,
        overrides={"level": "enterprise"},
    )
    assert moves(shop) == [
        ("free", "build", "credits"),
        ("build", "enterprise", "hand"),
    ]
    assert LevelChange.objects.get(number=1).grant_id == bought.pk
    assert {
        row.actor for row in AuditEntry.objects.filter(action="spend_level.changed")
    } == {shop.owner}


@pytest.mark.django_db
def test_at_the_periods_end_the_level_follows_its_trigger() -> None:
    shop = make_shop(body=BODY, limits=LIMITS)
    wallets.top_up(
        customer=shop.customer, currency="USD", amount=Decimal(5), actor=None
    )
    store_event(shop, {"tool_calls": "60"})
    pipeline.rate()
    assert spend_levels.settle_due(clock.now()) == 0
    with clock.travel(NOVEMBER):
        periods.period_at(shop.customer.pk, clock.now())
        assert at_edge(shop)[:2] == (2_000, "build")
        assert spend_levels.settle_due(clock.now()) == 1
        assert spend_levels.settle_due(clock.now()) == 0
        assert moves(shop)[-1] == ("scale", "build", "period")
        # Late usage of October moves nobody in November.
        store_event(shop, {"tool_calls": "90"}, at=OCTOBER)
        pipeline.rate()
        assert len(moves(shop)) == 3


@pytest.mark.django_db(transaction=True)
def test_two_workers_move_a_contract_once() -> None:
    shop = make_shop(body=BODY, limits=LIMITS)
    for _ in range(80):
        store_event(shop, {"tool_calls": "1"})
    start = threading.Barrier(2)

    def work() -> None:
        start.wait()
        with clock.travel(OCTOBER):
            while pipeline.rate():
                pass
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    while pipeline.rate():
        pass
    assert moves(shop) == [("free", "scale", "spend")]
    assert AuditEntry.objects.filter(action="spend_level.changed").count() == 1
    change = LevelChange.objects.get()
    assert shop.customer.ledger.filter(event_id=change.event_id).exists()
