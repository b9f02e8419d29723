from __future__ import annotations

import base64
import json
import time
import uuid
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
        client.delete(QUEUE)
        yield client
        client.delete(QUEUE)


def woken(broker: redis.Redis, *, customers: int) -> list[str]:
    """Return the customers named by messages, once there are so many."""
    named: list[str] = []
    deadline = time.monotonic() + 10
    while len(named) < customers and time.monotonic() < deadline:
        item: Any = broker.blpop([QUEUE], timeout=1)
        if item is not None:
            message = json.loads(item[1])
            assert message["headers"]["task"] == "metering.rate"
            named += json.loads(base64.b64decode(message["body"]))[0][0]
    return named


def test_new_events_wake_the_workers_and_duplicates_do_not(
    door: Door, seller: Seller, broker: redis.Redis
) -> None:
    event = seller.event(eventId="a")
    door.post(seller, event)
    assert woken(broker, customers=1) == [str(seller.customer.pk)]
    door.post(seller, event)
    time.sleep(10 * wake.INTERVAL_S)
    assert broker.llen(QUEUE) == 0


def test_what_is_added_at_once_shares_messages(broker: redis.Redis) -> None:
    waker = wake.Waker()
    first = uuid.uuid4()
    waker.add([first])
    assert woken(broker, customers=1) == [str(first)]
    many = [uuid.uuid4() for _ in range(120)]
    for key in many * 3:
        waker.add([key])
    assert sorted(woken(broker, customers=120)) == sorted(map(str, many))
    assert broker.llen(QUEUE) == 0


def test_a_broker_that_is_away_fails_no_request(
    door: Door,
    seller: Seller,
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
