"""Reading once what many requests need at the same moment."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")
Loop = asyncio.AbstractEventLoop


class Flights(Generic[Key, Result]):
    """Shares reads among the requests of one event loop.

    While a read of a key is under way, what others want of that key is gathered; the
    next read brings it for all of them. So a burst after a cache ran out costs two
    reads, not one for each request.
    """

    def __init__(
        self, read: Callable[[Key, dict[str, set[str]]], Awaitable[Result]]
    ) -> None:
        """Share calls of `read(key, names by kind)`."""
        self._read = read
        # Flights that have not begun, and who flies now, by key.
        self._loops: weakref.WeakKeyDictionary[
            Loop, tuple[dict[Key, _Flight], dict[Key, asyncio.Lock]]
        ] = weakref.WeakKeyDictionary()

    async def join(self, key: Key, wanted: dict[str, set[str]]) -> Result:
        """Return what a read brought that began after this call, and has the names."""
        loop = asyncio.get_running_loop()
        waiting, locks = self._loops.setdefault(loop, ({}, {}))
        flight = waiting.get(key)
        if flight is None:
            flight = waiting[key] = _Flight()
            lock = locks.setdefault(key, asyncio.Lock())
            flight.task = loop.create_task(self._fly(key, flight, lock, waiting))
            flight.task.add_done_callback(lambda _: _land(key, waiting, locks))
        for kind, names in wanted.items():
            flight.wanted.setdefault(kind, set()).update(names)
        assert flight.task is not None
        # One request that goes away must not end the read of the others.
        result: Result = await asyncio.shield(flight.task)
        return result

    async def _fly(
        self,
        key: Key,
        flight: _Flight,
        lock: asyncio.Lock,
        waiting: dict[Key, _Flight],
    ) -> Result:
        async with lock:
            del waiting[key]  # Who comes now takes the next one.
            return await self._read(key, flight.wanted)


class _Flight:
    """A read that gathers what is wanted until it begins."""

    def __init__(self) -> None:
        self.wanted: dict[str, set[str]] = {}
        self.task: asyncio.Task[Any] | None = None


def _land(
    key: Any, waiting: dict[Any, _Flight], locks: dict[Any, asyncio.Lock]
) -> None:
    """Forget the lock of a key that nobody waits for."""
    if key not in waiting:
        locks.pop(key, None)
