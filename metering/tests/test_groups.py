"""Group commit: requests of one moment share a transaction and nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Sequence

import psycopg
import pytest
from django.db import connection

from aforo.lib.errors import AforoError
from metering import groups, ingest
from metering.groups import Groups
from metering.tests.conftest import Reply, Seller, call_bare


class Store:
    """Remembers how it was asked, and refuses `bad`."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    async def together(self, key: str, requests: Sequence[str]) -> list[str]:
        self.calls.append(list(requests))
        await asyncio.sleep(0.01)
        if "bad" in requests:
            raise ValueError("one of them")
        if "away" in requests:
            raise ConnectionError
        return [r.upper() for r in requests]

    async def alone(self, key: str, request: str) -> str:
        [result] = await self.together(key, [request])
        return result

    def groups(self) -> Groups[str, str, str]:
        """Return groups that are done by this store."""
        return Groups(
            self.together, self.alone, of_all=lambda e: isinstance(e, ConnectionError)
        )


def test_the_first_go_at_once_and_the_others_share_a_turn() -> None:
    store = Store()

    async def burst() -> list[str]:
        shared = store.groups()
        # What starts in one step of the loop is one group already.
        first = asyncio.create_task(shared.join("t", "a"))
        await asyncio.sleep(0.001)
        second = asyncio.create_task(shared.join("t", "b"))
        await asyncio.sleep(0.001)
        others = [shared.join("t", f"c{n}") for n in range(50)]
        return [await first, await second, *await asyncio.gather(*others)]

    assert asyncio.run(burst()) == ["A", "B", *(f"C{n}" for n in range(50))]
    assert [len(call) for call in store.calls] == [1, 1, 50]


def test_a_fault_of_one_is_its_own() -> None:
    store = Store()

    async def burst() -> list[str | BaseException]:
        shared = store.groups()
        asked = [shared.join("t", r) for r in ("a", "bad", "b", "c")]
        return await asyncio.gather(*asked, return_exceptions=True)

    a, fault, b, c = asyncio.run(burst())
    assert (a, b, c) == ("A", "B", "C")
    assert isinstance(fault, ValueError)


def test_a_fault_of_all_is_not_tried_again() -> None:
    store = Store()

    async def burst() -> list[str | BaseException]:
        shared = store.groups()
        asked = [shared.join("t", r) for r in ("a", "away", "b")]
        return await asyncio.gather(*asked, return_exceptions=True)

    assert all(isinstance(r, ConnectionError) for r in asyncio.run(burst()))
    assert len(store.calls) <= groups.UNDER_WAY_MAX


def test_one_who_goes_away_ends_nothing_and_nobody_is_forgotten() -> None:
    store = Store()

    async def leave() -> list[str]:
        shared = store.groups()
        leaver = asyncio.create_task(shared.join("t", "gone"))
        await asyncio.sleep(0.001)
        leaver.cancel()
        found = []
        for n in range(20):  # Each comes when the one before has just ended.
            found.append(await asyncio.wait_for(shared.join("t", f"r{n}"), 5))
        assert not shared._loops[asyncio.get_running_loop()]
        return found

    assert asyncio.run(leave()) == [f"R{n}" for n in range(20)]


def _send_together(
    runner: asyncio.Runner, seller: Seller, bodies: list[bytes]
) -> list[Reply]:
    headers = {
        "content-type": "application/json",
        "authorization": seller.authorization,
    }

    async def all_at_once() -> list[Reply]:
        return await asyncio.gather(*(call_bare(body, headers) for body in bodies))

    return runner.run(all_at_once(), context=contextvars.copy_context())


def test_single_events_of_one_moment_need_few_transactions(
    runner: asyncio.Runner, seller: Seller
) -> None:
    def event(number: int) -> bytes:
        return json.dumps(seller.event(eventId=f"e-{number}")).encode()

    _send_together(runner, seller, [event(0)])
    bodies = [event(n % 100) for n in range(200)]
    bodies.append(json.dumps(seller.event(eventId="e-0", correlationId="x")).encode())
    bodies.append(b'{"eventType": "x"}')
    replies = _send_together(runner, seller, bodies)
    told = [r.code for r in replies]
    assert told[-2:] == [(422, "event_conflict"), (400, "missing_field")]
    assert told[:-2].count((200, "accepted")) == 99
    assert told[:-2].count((200, "duplicate")) == 101
    assert len(seller.stored()) == 100
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM metering_usageevent")
        [transactions] = cursor.fetchone()
    assert transactions <= 12
    # One queue row for each transaction, not for each request.
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), sum(cardinality(event_ids))"
                       " FROM metering_pendingevents")  # fmt: skip
        rows, events = cursor.fetchone()
    assert (rows, events) == (transactions, 100)


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (AforoError("store_unavailable", 503, "x"), True),
        (psycopg.OperationalError(), True),
        (AforoError("in_flight", 409, "x"), False),
        (psycopg.DataError(), False),
    ],
)
def test_which_faults_are_the_stores_own(error: Exception, away: bool) -> None:
    assert ingest._is_away(error) is away
