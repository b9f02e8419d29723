"""Once for ever: duplicates, conflicts, races and faults of the store."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection

from aforo.lib import clock
from billing import accounts
from metering import directory, queue
from metering.models import EventConflict, PendingEvents, UsageEvent
from metering.tests.conftest import DjangoDoor, Door, Reply, Seller, call_bare


def headers_of(seller: Seller) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "authorization": seller.authorization,
    }


def test_the_same_event_again_is_a_duplicate_with_the_first_answer(
    door: Door, seller: Seller
) -> None:
    event = seller.event(eventId="e-1")
    first, again = door.post(seller, event), door.post(seller, event)
    assert first.code == (200, "accepted")
    assert again.json == first.json | {"status": "duplicate"}
    assert len(seller.stored()) == 1
    assert EventConflict.objects.count() == 0


def test_the_same_meaning_in_other_words_is_a_duplicate(
    door: Door, seller: Seller
) -> None:
    noon = clock.now().replace(microsecond=0)
    east = noon.astimezone(dt.timezone(dt.timedelta(hours=5)))
    event = seller.event(
        eventId="e-1",
        timestamp=noon.isoformat(),
        properties={"model": "m", "n": 1},
        measurements=[
            {"metricKey": "input_tokens", "value": 1},
            {"metricKey": "audio_seconds", "value": 0.5},
        ],
    )
    words = [
        event,
        dict(reversed(event.items())),
        event | {"timestamp": east.isoformat()},
        event | {"properties": {"n": "1", "model": "m", "x": None}},
        event | {"measurements": event["measurements"][::-1]},
        event | {"customerId": seller.customer.public_id},
        event | {"sessionId": None, "tenantId": seller.tenant.public_id},
        json.dumps(event, indent=3).replace('value": 1', 'value": 1.0').encode(),
        json.dumps(event).replace("0.5", '"0.50"').encode(),
    ]
    answers = [door.post(seller, words_).code for words_ in words]
    assert answers == [(200, "accepted")] + [(200, "duplicate")] * 8


def test_another_event_under_a_known_id_is_refused_and_kept_to_be_seen(
    door: Door, seller: Seller
) -> None:
    accounts.create_customer(
        tenant=seller.tenant, name="Rival", actor=None, external_id="cust_rival"
    )
    event = seller.event(eventId="e-1", timestamp=clock.now().isoformat())
    measured = [{"metricKey": "input_tokens", "value": 10}]
    more = [*measured, {"metricKey": "output_tokens", "value": 1}]
    earlier = clock.now() - dt.timedelta(seconds=5)
    others: dict[str, dict[str, Any]] = {
        "quantity": {"measurements": [{"metricKey": "input_tokens", "value": 11}]},
        "superset": {"measurements": more},
        "customer": {"customerId": "cust_rival"},
        "time": {"timestamp": earlier.isoformat()},
        "no time": {"timestamp": None},
        "type": {"eventType": "llm.chat"},
        "correlation": {"correlationId": "c-2"},
        "request": {"requestId": "r-2"},
        "session": {"sessionId": "s-2"},
        "agent": {"agentId": "agent-7"},
        "property": {"properties": {"model": "m"}},
        "product": {"productId": "toolkit"},
    }
    assert door.post(seller, event).code == (200, "accepted")
    [first] = seller.stored()
    for change in others.values():
        reply = door.post(seller, event | change)
        assert reply.code == (422, "event_conflict")
        assert reply.json["first_seen"] == first.received_at.isoformat()
    assert seller.stored() == [first]
    assert EventConflict.objects.filter(first_event=first).count() == len(others)
    door.post(seller, event | others["type"])
    attempts = EventConflict.objects.order_by("attempts").values_list("attempts")
    assert [count for (count,) in attempts] == [1] * (len(others) - 1) + [2]


def test_an_id_that_comes_twice_in_a_batch_counts_once(
    door: Door, seller: Seller
) -> None:
    a, b = seller.event(eventId="a"), seller.event(eventId="b")
    other = seller.event(eventId="a", correlationId="other")
    items = door.post(seller, [a, b, a, other, b]).json["items"]
    assert [item.get("code", item["status"]) for item in items] == [
        "accepted",
        "accepted",
        "duplicate",
        "event_conflict",
        "duplicate",
    ]
    assert items[0]["id"] == items[2]["id"]
    # Against what is stored, not against the first in the batch.
    again = door.post(seller, [other, a]).json["items"]
    assert [item.get("code", item["status"]) for item in again] == [
        "event_conflict",
        "duplicate",
    ]
    assert len(seller.stored()) == 2


def test_ids_differ_by_case_and_space(door: Door, seller: Seller) -> None:
    for event_id in ("a", "A", "a ", " a"):
        reply = door.post(seller, seller.event(eventId=event_id))
        assert reply.code == (200, "accepted")
    assert len(seller.stored()) == 4


def test_another_tenant_may_use_the_same_id(
    door: Door, seller: Seller, make_seller: Callable[..., Seller]
) -> None:
    other = make_seller()
    assert door.post(seller, seller.event(eventId="a")).code == (200, "accepted")
    assert door.post(other, other.event(eventId="a")).code == (200, "accepted")
    assert len(seller.stored()) == len(other.stored()) == 1


def test_new_events_are_queued_once_per_shard(door: Door, seller: Seller) -> None:
    accounts.create_customer(
        tenant=seller.tenant, name="Rival", actor=None, external_id="cust_rival"
    )
    batch = [seller.event(eventId=f"a-{n}") for n in range(3)]
    batch += [seller.event(eventId=f"b-{n}", customerId="cust_rival") for n in range(2)]
    door.post(seller, batch)
    door.post(seller, batch)
    wanted: dict[int, tuple[set[uuid.UUID], list[uuid.UUID]]] = {}
    for event in sorted(seller.stored(), key=lambda e: e.pk):
        shard = queue.shard_of(event.customer_id)
        customers, events = wanted.setdefault(shard, (set(), []))
        customers.add(event.customer_id)
        events.append(event.pk)
    # Once: the second time all were known.
    rows = PendingEvents.objects.all()
    assert len(rows) == len(wanted)
    assert {row.shard: (set(row.customer_ids), row.event_ids) for row in rows} == wanted
    assert {row.tenant for row in rows} == {seller.tenant}


def test_the_row_holds_what_was_sent(door: Door, seller: Seller) -> None:
    event = seller.event(
        eventId="e-1",
        agentId="agent-7",
        productId="toolkit",
        requestId="r-1",
        sessionId="s-1",
        parentId="p-1",
        outcome="resolved",
        cost={"amount": "0.00120", "currency": "USD"},
        usage={"input_tokens": 10, "output_tokens": 2, "share": 0.25},
        properties={"model": "m", "tool": "s3.put", "status": "FAILED"},
        measurements=[{"metricKey": "bytes_written", "value": "4.2e6"}],
        degraded=True,
    )
    assert door.post(seller, event).status == 200
    [row] = seller.stored()
    assert row.body == {
        "cost": {"amount": "0.0012", "currency": "USD"},
        "measurements": {
            "bytes_written": "4200000",
            "input_tokens": "10",
            "output_tokens": "2",
        },
        "reading": {
            "api": "tokens",
            "provider": "",
            "sent": {"bytes_written": "4200000"},
        },
        "outcome": "resolved",
        "parent_id": "p-1",
        "product": "toolkit",
        "properties": {"model": "m", "status": "FAILED", "tool": "s3.put"},
        "usage": {"input_tokens": 10, "output_tokens": 2, "share": Decimal("0.25")},
    }
    assert (row.agent, row.team) == (seller.agent, seller.team)
    assert (row.request_id, row.session_key, row.correlation_id) == (
        "r-1",
        "s-1",
        "c-1",
    )
    assert (row.tool_name, row.status, row.product) == (
        "s3.put",
        "FAILED",
        seller.product,
    )
    assert row.flags == ["degraded", "time_defaulted"]
    assert row.occurred_at == row.received_at
    assert len(row.body_hash) == 32


def test_of_32_connections_with_one_event_one_is_accepted(
    runner: asyncio.Runner, seller: Seller
) -> None:
    body = json.dumps(seller.event(eventId="e-1")).encode()

    async def all_at_once() -> list[Reply]:
        headers = headers_of(seller)
        return await asyncio.gather(*[call_bare(body, headers) for _ in range(32)])

    replies = runner.run(all_at_once())
    statuses = sorted(reply.json["status"] for reply in replies)
    assert statuses == ["accepted"] + ["duplicate"] * 31
    assert len({reply.json["id"] for reply in replies}) == 1
    assert len(seller.stored()) == PendingEvents.objects.count() == 1


def test_of_32_threads_with_one_event_one_is_accepted(
    runner: asyncio.Runner, seller: Seller
) -> None:
    door, event = DjangoDoor(), seller.event(eventId="e-1")
    barrier = threading.Barrier(32)
    replies: list[Reply] = []

    def post() -> None:
        barrier.wait()
        replies.append(door.post(seller, event))
        connection.close()

    threads = [threading.Thread(target=post) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(reply.json["status"] for reply in replies)
    assert statuses == ["accepted"] + ["duplicate"] * 31
    assert len(seller.stored()) == PendingEvents.objects.count() == 1


def test_shuffled_batches_of_the_same_events_do_not_deadlock(
    runner: asyncio.Runner, seller: Seller
) -> None:
    events = [seller.event(eventId=f"e-{n}") for n in range(100)]
    shuffled = [random.Random(seed).sample(events, 100) for seed in range(16)]

    async def all_at_once() -> list[Reply]:
        headers = headers_of(seller)
        bodies = [json.dumps(batch).encode() for batch in shuffled]
        return await asyncio.gather(*[call_bare(body, headers) for body in bodies])

    answers = [reply.json for reply in runner.run(all_at_once())]
    assert sum(answer["accepted"] for answer in answers) == 100
    assert sum(answer["duplicates"] for answer in answers) == 1500
    assert len(seller.stored()) == 100


def test_idempotency_keys_hold_between_connections(
    runner: asyncio.Runner, seller: Seller
) -> None:
    """A tool event without id would be new each time, were it not for the key."""
    body = json.dumps(seller.tool()).encode()

    async def all_at_once() -> list[Reply]:
        headers = headers_of(seller) | {"idempotency-key": "k"}
        return await asyncio.gather(*[call_bare(body, headers) for _ in range(8)])

    replies = runner.run(all_at_once())
    assert len({reply.json["id"] for reply in replies}) == 1
    assert len(seller.stored()) == 1


def _insert_uncommitted(
    link: psycopg.Connection[Any], seller: Seller, event_id: str
) -> None:
    """Store an event by another connection, and leave it in flight."""
    now = clock.now()
    link.execute(
        "INSERT INTO metering_usageevent (id, tenant_id, event_id, body_hash,"
        " customer_id, event_type, tool_name, status, request_id, correlation_id,"
        " session_key, occurred_at, received_at, flags, body)"
        " VALUES (gen_random_uuid(), %s, %s, '', %s, '', '', '', '', '', '',"
        " %s, %s, '{}', '{}')",
        [seller.tenant.pk, event_id, seller.customer.pk, now, now],
    )


@pytest.fixture
def other_connection(transactional_db: None) -> Any:
    params = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    with psycopg.connect(**{n: params[n] for n in names if params.get(n)}) as link:
        yield link
        link.rollback()


def test_an_event_in_flight_elsewhere_is_waited_for_2_seconds(
    door: Door, seller: Seller, other_connection: psycopg.Connection[Any]
) -> None:
    _insert_uncommitted(other_connection, seller, "e-1")
    started = clock.now()
    reply = door.post(seller, seller.event(eventId="e-1"))
    assert reply.code == (409, "in_flight")
    assert reply.headers["retry-after"] == "1"
    assert clock.now() - started >= dt.timedelta(seconds=2)
    other_connection.rollback()
    reply = door.post(seller, seller.event(eventId="e-1"))
    assert reply.code == (200, "accepted")


def test_a_deadlock_is_tried_again(
    runner: asyncio.Runner, seller: Seller, superuser_url: str
) -> None:
    """The other side holds `e-1` and waits for `e-0`, which the request holds."""
    database = connection.get_connection_params()["dbname"]
    batch = [seller.event(eventId="e-0"), seller.event(eventId="e-1")]
    body = json.dumps(batch).encode()

    async def meet(link: psycopg.Connection[Any]) -> Reply:
        # The request notices the deadlock first, and is the one that gives way.
        link.execute("SET deadlock_timeout = '20s'")
        _insert_uncommitted(link, seller, "e-1")
        request = asyncio.create_task(call_bare(body, headers_of(seller)))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(_insert_uncommitted, link, seller, "e-0")
        assert not request.done()
        link.rollback()
        return await request

    with psycopg.connect(superuser_url, dbname=database) as link:
        assert runner.run(meet(link)).json["accepted"] == 2
    assert len(seller.stored()) == 2


def _forbid(url: str, database: str, allowed: bool) -> None:
    """Let nobody, or everybody, connect to a database."""
    with psycopg.connect(url, autocommit=True, dbname="postgres") as link:
        link.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS {allowed}")
        if not allowed:
            link.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'aforo-ingest'"
            )


def test_without_postgres_nothing_is_accepted_and_callers_come_back(
    door: Door, seller: Seller, superuser_url: str
) -> None:
    database = connection.get_connection_params()["dbname"]
    event = seller.event(eventId="e-1")
    assert door.post(seller, seller.event(eventId="e-0")).status == 200
    _forbid(superuser_url, database, False)
    try:
        reply = door.post(seller, event)
    finally:
        _forbid(superuser_url, database, True)
    assert reply.code == (503, "store_unavailable")
    assert reply.headers["retry-after"] == "1"
    directory.forget()
    while (again := door.post(seller, event)).status == 503:
        pass
    assert again.code == (200, "accepted")
    assert UsageEvent.objects.filter(tenant=seller.tenant).count() == 2


def test_a_connection_that_died_while_idle_is_not_noticed(
    door: Door, seller: Seller, superuser_url: str
) -> None:
    assert door.post(seller, seller.event(eventId="e-0")).status == 200
    with psycopg.connect(superuser_url, autocommit=True) as link:
        link.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'aforo-ingest'"
        )
    reply = door.post(seller, seller.event(eventId="e-1"))
    assert reply.code == (200, "accepted")
