from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import current_app
from celery.app.amqp import AMQP
from django.conf import settings

from metering import wake
from metering.tests.conftest import Door, Seller

QUEUE = "aforo"


@pytest.fixture
def broker() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.delete(QUEUE, wake.MARK)
        yield client
        client.delete(QUEUE, wake.MARK)


def next_task(broker: redis.Redis) -> str:
    """Return the name of the task in the next message."""
    item: Any = broker.blpop([QUEUE], timeout=10)
    assert item is not None, "no message came"
    return str(json.loads(item[1])["headers"]["task"])


def test_new_events_wake_a_worker_and_duplicates_do_not(
    door: Door, seller: Seller, broker: redis.Redis
) -> None:
    event = seller.event(eventId="a")
    door.post(seller, event)
    assert next_task(broker) == wake.TASK
    wake.taken()
    door.post(seller, event)
    time.sleep(10 * wake.BUSY_PAUSE_S)
    assert broker.llen(QUEUE) == 0


def test_one_message_waits_however_much_comes(broker: redis.Redis) -> None:
    wakers = [wake.Waker(), wake.Waker()]  # As in two processes.
    for _ in range(5):
        for waker in wakers:
            waker.notify()
        time.sleep(2 * wake.BUSY_PAUSE_S)
    assert broker.llen(QUEUE) == 1


def test_what_comes_after_a_message_was_taken_sends_another(
    broker: redis.Redis,
) -> None:
    waker = wake.Waker()
    waker.notify()
    assert next_task(broker) == wake.TASK
    wake.taken()
    waker.notify()
    assert next_task(broker) == wake.TASK


def test_a_lost_message_silences_the_others_for_a_moment_only(
    broker: redis.Redis,
) -> None:
    waker = wake.Waker()
    waker.notify()
    assert next_task(broker) == wake.TASK  # And nobody says that it was taken.
    left = broker.pttl(wake.MARK)
    assert isinstance(left, int)
    assert 0 < left <= wake.MARK_MS


def test_a_broker_that_is_away_fails_no_request(
    door: Door,
    seller: Seller,
    broker: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The sweep finds the events; here nobody listens at the broker's address."""
    monkeypatch.setitem(current_app.conf, "broker_url", "redis://127.0.0.1:1/0")
    # The producers keep their connections: this one starts with none.
    monkeypatch.setattr(current_app, "amqp", AMQP(current_app))
    assert door.post(seller, seller.event()).code == (200, "accepted")
    deadline = time.monotonic() + 10
    while "workers were not woken" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
