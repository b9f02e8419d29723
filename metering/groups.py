"""Doing once, for many, what requests of the same moment each need done."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key")
Request = TypeVar("Request")
Result = TypeVar("Result")
Loop = asyncio.AbstractEventLoop

# Groups of one key that are under way at once: one fills while another is flushed.
UNDER_WAY_MAX = 2
# Requests in a group: its transaction must stay short.
REQUESTS_MAX = 200


class _Turn(Generic[Request, Result]):
    """The requests of one key that wait, and how many groups are under way."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Request, asyncio.Future[Result]]] = []
        self.under_way = 0
        # The loop holds its tasks weakly.
        self.tasks: set[asyncio.Task[None]] = set()


class Groups(Generic[Key, Request, Result]):
    """Group commit: a request that finds others under way shares the next turn.

    The first request of a quiet moment is done at once and waits for nobody. While
    groups are under way the next requests gather, and one call does them all. When a
    group fails its requests are done apart, so that none suffers from another.
    """

    def __init__(
        self,
        together: Callable[[Key, Sequence[Request]], Awaitable[Sequence[Result]]],
        alone: Callable[[Key, Request], Awaitable[Result]],
        *,
        of_all: Callable[[Exception], bool],
    ) -> None:
        """Do several requests of a key by `together`, a lone one by `alone`.

        `of_all` says of a fault that trying apart would only meet it again.
        """
        self._together = together
        self._alone = alone
        self._of_all = of_all
        self._loops: weakref.WeakKeyDictionary[
            Loop, dict[Key, _Turn[Request, Result]]
        ] = weakref.WeakKeyDictionary()

    async def join(self, key: Key, request: Request) -> Result:
        """Return the result of the request, done alone or in a group.

        Raises what doing it alone raises. Who goes away leaves the others their turn.
        """
        loop = asyncio.get_running_loop()
        turns = self._loops.setdefault(loop, {})
        turn = turns.setdefault(key, _Turn())
        future: asyncio.Future[Result] = loop.create_future()
        turn.waiting.append((request, future))
        if turn.under_way < UNDER_WAY_MAX:
            turn.under_way += 1
            task = loop.create_task(self._run(key, turn, turns))
            turn.tasks.add(task)
            task.add_done_callback(turn.tasks.discard)
        return await future

    async def _run(
        self,
        key: Key,
        turn: _Turn[Request, Result],
        turns: dict[Key, _Turn[Request, Result]],
    ) -> None:
        """Do what waits until nothing does."""
        try:
            while turn.waiting:
                group = turn.waiting[:REQUESTS_MAX]
                del turn.waiting[:REQUESTS_MAX]
                if len(group) > 1:
                    await self._do(key, group)
                else:
                    await self._do_alone(key, *group[0])
        finally:
            # Without a pause since nothing waited: nobody can have come meanwhile.
            turn.under_way -= 1
            if not turn.under_way and turns.get(key) is turn:
                del turns[key]

    async def _do(
        self, key: Key, group: Sequence[tuple[Request, asyncio.Future[Result]]]
    ) -> None:
        """Do a group; after the fault of one each of its requests apart."""
        try:
            results = await self._together(key, [request for request, _ in group])
        except Exception as error:
            if self._of_all(error):
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
                return
            await asyncio.gather(*(self._do_alone(key, *one) for one in group))
            return
        for (_, future), result in zip(group, results, strict=True):
            if not future.done():
                future.set_result(result)

    async def _do_alone(
        self, key: Key, request: Request, future: asyncio.Future[Result]
    ) -> None:
        """Do one request."""
        try:
            result = await self._alone(key, request)
        except Exception as error:
            if not future.done():
                future.set_exception(error)
            return
        if not future.done():
            future.set_result(result)
