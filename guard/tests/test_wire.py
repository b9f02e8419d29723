"""The client of the store, on a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from django.conf import settings
from redis.exceptions import TimeoutError

from guard.wire import Client

TIMEOUT_S = 0.05
Run = Callable[[Coroutine[Any, Any, Any]], Any]
runners = pytest.mark.parametrize(
    "run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"]
)


@runners
def test_the_time_in_which_the_loop_was_busy_is_not_the_stores(run: Run) -> None:
    async def ask() -> Any:
        client = Client(settings.GUARD_REDIS_URL, timeout_s=TIMEOUT_S)
        try:
            await client.execute("PING")
            asked = asyncio.ensure_future(client.execute("ECHO", "here"))
            # The command is made, and the loop has no time to send it …
            await asyncio.sleep(0)
            time.sleep(3 * TIMEOUT_S)
            await asyncio.sleep(0)
            time.sleep(3 * TIMEOUT_S)  # … nor then to listen.
            return await asked
        finally:
            client.close()

    assert run(ask()) == b"here"


@runners
def test_a_store_that_says_nothing_is_given_up(run: Run) -> None:
    async def ask() -> float:
        client = Client(settings.GUARD_REDIS_URL, timeout_s=TIMEOUT_S)
        try:
            await client.execute("DEL", "nobody")
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                await client.execute("BLPOP", "nobody", 1)
            return time.monotonic() - started
        finally:
            client.close()

    # A loop's timer may be a tick of its clock early: uvloop counts in whole ms.
    assert TIMEOUT_S - 0.002 <= run(ask()) < 0.9
