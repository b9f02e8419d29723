"""The three topics, on a real Redis, read by the consumer of docs/topics.md."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection

from aforo.core.models import OutboxMessage
from aforo.lib import clock
from metering import pipeline, relay, sessions, settling, topics
from metering.models import CostFact, Session
from tests.factories import add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "topics.md").read_text()
RESP = 2  # In which XREAD answers a list, as the example reads it.


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    """The topics, emptied before and after."""
    with redis.Redis.from_url(settings.TOPICS_REDIS_URL, protocol=RESP) as found:
        found.flushdb()
        yield found
        found.flushdb()


def consumer(client: redis.Redis, state: dict[str, Any], key: str = "usage") -> Any:
    """Return the consumer of the documentation, on a topic."""
    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    topic = topics.TOPICS[key]
    return made["Consumer"](client, state, topic.stream, topic.member.encode())


def heard(client: redis.Redis, key: str) -> list[dict[str, Any]]:
    """Return all messages of a topic."""
    found: list[dict[str, Any]] = []
    state: dict[str, Any] = {}
    while consumer(client, state, key).poll(found.append, wait_ms=1):
        pass
    return found


def test_a_consumer_drops_what_it_has_seen_and_resumes(client: redis.Redis) -> None:
    shop = make_shop()
    seen: list[str] = []
    state: dict[str, Any] = {}

    def poll() -> int:
        reader = consumer(client, state)  # Always a new one: it has only its state.
        return int(reader.poll(lambda m: seen.append(m["event_id"]), wait_ms=1))

    for name in ("one", "two"):
        store_event(shop, {"input_tokens": 1}, event_id=name)
        pipeline.rate()
    relay.run()
    assert poll() >= 2
    assert seen == ["one", "two"]
    # As after a crash between publishing and marking.
    OutboxMessage.objects.update(published_at=None)
    store_event(shop, {"input_tokens": 1}, event_id="three")
    pipeline.rate()
    relay.run()
    assert poll() >= 3
    assert poll() == 0
    assert seen == ["one", "two", "three"]


def test_versions_of_a_customer_are_in_order_on_every_topic(
    client: Any,
) -> None:
    shops = [make_shop(), make_shop()]
    for number in range(6):
        shop = shops[number % 2]
        store_event(shop, {"input_tokens": 1}, session_key=f"s-{number}")
        pipeline.rate()
    relay.run()
    for topic in topics.TOPICS.values():
        versions: dict[bytes, list[int]] = {}
        for _, fields in client.xrange(topic.stream):
            versions.setdefault(fields[b"customer"], []).append(int(fields[b"version"]))
        assert len(versions) == 2
        assert all(v == sorted(set(v)) for v in versions.values())


def test_a_session_tells_of_its_life_and_closes_with_a_summary(
    client: redis.Redis,
) -> None:
    shop = make_shop()
    at = clock.now()

    def call(status: str = "SUCCESS") -> None:
        store_event(
            shop,
            {"tool_calls": 1, "tool_duration_ms": 100, "input_tokens": 5},
            event_type="mcp.tool_invoked",
            tool_name="search",
            status=status,
            session_key="run",
        )
        pipeline.rate()

    call()
    call("FAILED")
    for hours in (0.5, 2):  # Idle first, then expired.
        assert sessions.expire(at + dt.timedelta(hours=hours)) == 1
    relay.run()
    told = heard(client, "sessions")
    states = [(m["previous_state"], m["state"]) for m in told]
    assert states == [(None, "active"), ("active", "idle"), ("idle", "expired")]
    summary = told[-1]
    session = Session.objects.get()
    assert summary["closed"] is True
    assert summary["session_id"] == session.id.hex
    assert summary["tool_invocation_count"] == 2
    assert summary["error_count"] == 1
    assert summary["avg_tool_duration_ms"] == 100
    assert summary["total_tokens"] == 10
    assert Decimal(summary["price"]) == session.price


def test_a_closed_session_is_told_of_again_when_its_figures_change(
    client: redis.Redis,
) -> None:
    shop = make_shop()
    store_event(shop, {"input_tokens": 1}, session_key="run")
    store_event(shop, {}, event_type="session.completed", session_key="run")
    pipeline.rate()
    store_event(shop, {"input_tokens": 2}, session_key="run")
    pipeline.rate()
    assert settling.settle() == 0
    relay.run()
    told = heard(client, "sessions")
    assert [(m["previous_state"], m["state"]) for m in told] == [
        (None, "completed"),
        ("completed", "completed"),
    ]
    assert [m["input_tokens"] for m in told] == [1, 3]


def test_cost_facts_are_published_the_unknown_as_null(client: redis.Redis) -> None:
    shop = make_shop()
    add_cost(shop.tenant, model="m", unit="input_uncached_tokens", amount="0.001")
    for model in ("m", "mystery"):
        store_event(shop, {"input_tokens": 7}, properties={"model": model})
    pipeline.rate()
    relay.run()
    told = {m["model"]: m for m in heard(client, "costs")}
    assert told["m"]["amount"] == "0.007"
    assert told["mystery"]["amount"] is None
    assert "mystery" in told["mystery"]["unknown"]
    facts = {f.event_id.hex: f for f in CostFact.objects.all()}
    assert facts.keys() == {m["event"] for m in told.values()}
    assert {m["kind"] for m in told.values()} == {"original"}


def _crashing_relay() -> int:
    """Run the relay in a process that is killed between publishing and marking."""
    name = connection.settings_dict["NAME"]
    code = (
        "import django; django.setup();"
        "from django.conf import settings;"
        f"settings.DATABASES['default']['NAME'] = {name!r};"
        "from metering import relay; relay.run()"
    )
    env = os.environ | {"AFORO_CRASH": "relay.published:1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, check=False, timeout=120
    )
    return done.returncode


@pytest.mark.django_db(transaction=True)
def test_a_relay_killed_between_publishing_and_marking_doubles_nothing(
    client: redis.Redis,
) -> None:
    shop = make_shop()
    store_event(shop, {"input_tokens": 1}, event_id="one", session_key="run")
    pipeline.rate()
    assert _crashing_relay() == -signal.SIGKILL
    assert OutboxMessage.objects.filter(published_at=None).exists()
    once = {t.stream: client.xlen(t.stream) for t in topics.TOPICS.values()}
    assert all(once.values())
    relay.run()
    assert not OutboxMessage.objects.filter(published_at=None).exists()
    for stream, length in once.items():
        assert client.xlen(stream) == 2 * length
    assert [m["event_id"] for m in heard(client, "usage")] == ["one"]
    assert len(heard(client, "sessions")) == len(heard(client, "costs")) == 1


def test_every_member_is_documented(client: redis.Redis) -> None:
    shop = make_shop()
    store_event(shop, {"input_tokens": 1}, session_key="run")
    pipeline.rate()
    relay.run()
    for key, topic in topics.TOPICS.items():
        assert f"`{topic.stream}`" in TEXT
        [message] = heard(client, key)
        assert [m for m in message if f"`{m}`" not in TEXT] == []
