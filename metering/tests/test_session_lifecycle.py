"""Every step of a session's life, by event and by beat."""

from __future__ import annotations

import datetime as dt
import threading
from decimal import Decimal

import pytest
from django.db import connection

from aforo.lib import clock
from aforo.management.commands.verify import breaks
from metering import pipeline, sessions
from metering.models import Session
from tests.factories import Shop, make_shop, store_event

MINUTE = dt.timedelta(minutes=1)


def say(shop: Shop, kind: str = "", key: str = "s") -> Session:
    """Store an event of the session, rate it, and return the session."""
    event_type = f"session.{kind}" if kind else "llm.completion"
    measured = {} if kind else {"input_tokens": 1}
    store_event(shop, measured, event_type=event_type, session_key=key)
    pipeline.rate()
    return Session.objects.get(key=key)


def beat(minutes: int) -> int:
    """Let the beat look at sessions so much later."""
    return sessions.expire(clock.now() + minutes * MINUTE)


def state() -> str:
    """Return where the session stands."""
    return Session.objects.get(key="s").state


@pytest.mark.django_db
def test_active_idle_and_expired_by_the_intervals_of_the_product() -> None:
    shop = make_shop()
    shop.product.session_idle_s, shop.product.session_expire_s = 120, 600
    shop.product.save()
    assert say(shop).state == "active"
    assert (beat(1), state()) == (0, "active")
    assert (beat(3), state()) == (1, "idle")
    assert (beat(9), state()) == (0, "idle")
    assert say(shop).state == "active"  # It went on.
    assert (beat(11), state()) == (1, "expired")
    assert Session.objects.get().ended_at == Session.objects.get().last_event_at
    assert beat(60) == 0
    # It was no end that anybody said: an event goes on with it.
    gone_on = say(shop)
    assert (gone_on.state, gone_on.ended_at, gone_on.event_count) == ("active", None, 3)


@pytest.mark.django_db
def test_late_events_are_attached_to_what_has_ended() -> None:
    shop = make_shop()
    say(shop)
    assert say(shop, "failed").state == "failed"
    assert say(shop, "completed").state == "failed"
    assert say(shop).event_count == 4


@pytest.mark.django_db
def test_a_pause_holds_until_somebody_says_otherwise() -> None:
    shop = make_shop()
    say(shop)
    assert say(shop, "paused").state == "paused"
    assert say(shop).state == "paused"
    assert (beat(600), state()) == (0, "paused")
    assert say(shop, "resumed").state == "active"
    assert say(shop, "completed").state == "completed"
    assert say(shop, "resumed").state == "completed"


@pytest.mark.django_db
def test_the_first_end_holds_within_a_batch_too() -> None:
    shop = make_shop()
    for kind in ("session.completed", "session.paused", "session.failed"):
        store_event(shop, {}, event_type=kind, session_key="s")
    pipeline.rate()
    assert state() == "completed"


@pytest.mark.django_db
def test_a_failed_session_and_its_retry_are_both_billed() -> None:
    shop = make_shop()
    first, second = (say(shop, key=key) for key in ("s", "s-retry"))
    assert first.price == second.price > Decimal(0)
    say(shop, "failed")
    say(shop, "completed", key="s-retry")
    assert [(x.state, x.price) for x in Session.objects.order_by("key")] == [
        ("failed", first.price),
        ("completed", first.price),
    ]
    assert {c: found for c, found in breaks().items() if found} == {}


@pytest.mark.django_db(transaction=True)
def test_two_workers_expire_each_session_once() -> None:
    shop = make_shop()
    for number in range(30):
        store_event(shop, {"input_tokens": 1}, session_key=f"s{number}")
    pipeline.rate()
    later = clock.now() + 61 * MINUTE
    start, counts = threading.Barrier(2), []

    def work() -> None:
        try:
            start.wait()
            counts.append(sessions.expire(later))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sessions.expire(later)  # What one of them had locked while the other looked.
    assert sum(counts) <= 30
    assert set(Session.objects.values_list("state", flat=True)) == {"expired"}
