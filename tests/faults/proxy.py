"""A network between Aforo and its Redis that can be cut, slowed and made to lie."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from guard.tests.broken_store import COMMAND, GREETINGS

T = TypeVar("T")


class Proxy:
    """Listens on a unix socket and forwards to another that may change.

    One fault at a time, for connections that exist and for new ones; `heal` ends it.
    """

    def __init__(self, path: Path, upstream: Path) -> None:
        self.path, self.upstream = path, upstream
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._delay_s = 0.0
        self._refusing = self._dropping = False
        self._reply: bytes | None = None
        self._generation = self._dead_before = 0
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._flowing.set()
        starting = asyncio.start_unix_server(self._serve, str(self.path))
        self._listener = self._run(starting)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _end(self) -> None:
        """End every connection and all that waits."""
        self._listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._abort()
        await asyncio.sleep(0)  # Transports close in the loop's next turn.

    async def _abort(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _flow(self, *, on: bool) -> None:
        (self._flowing.set if on else self._flowing.clear)()

    # Faults.

    def blackhole(self) -> None:
        """Hold everything back, as a cut cable does, until it is healed."""
        self._run(self._flow(on=False))

    def delay(self, seconds: float) -> None:
        """Hand on what is asked only after a while."""
        self._delay_s = seconds

    def answer(self, reply: bytes) -> None:
        """Answer every command but greetings with these bytes."""
        self._reply = reply

    def reset(self) -> None:
        """Break every connection, and each new one too."""
        self._refusing = True
        self.cut()

    def drop_replies(self) -> None:
        """Let commands take effect and nobody hear of it."""
        self._dropping = True

    def strand(self) -> None:
        """Leave the open connections without a peer; new ones work."""
        self._dead_before = self._generation

    def cut(self) -> None:
        """Break every connection once."""
        self._run(self._abort())

    def heal(self) -> None:
        """End the fault."""
        self._delay_s, self._reply = 0.0, None
        if self._dropping:
            # What waits for a lost answer would take the next one for its own.
            self.cut()
        self._refusing = self._dropping = False
        self._run(self._flow(on=True))

    # Forwarding.

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._generation += 1
        number = self._generation
        if self._refusing:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):
                await self._forward(reader, writer, number)
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        far_reader, far = await asyncio.open_unix_connection(str(self.upstream))
        self._open.add(far)
        back = asyncio.create_task(self._answers(far_reader, writer, number))
        try:
            await self._questions(reader, far, writer, number)
        finally:
            back.cancel()
            self._open.discard(far)
            far.transport.abort()

    async def _questions(
        self,
        reader: asyncio.StreamReader,
        far: asyncio.StreamWriter,
        near: asyncio.StreamWriter,
        number: int,
    ) -> None:
        while words := await reader.read(65536):
            await self._flowing.wait()
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            if number <= self._dead_before:
                continue
            if self._reply is None:
                far.write(words)
                continue
            for command in COMMAND.findall(words):
                near.write(GREETINGS.get(command, self._reply))

    async def _answers(
        self, reader: asyncio.StreamReader, near: asyncio.StreamWriter, number: int
    ) -> None:
        with contextlib.suppress(OSError):
            while words := await reader.read(65536):
                await self._flowing.wait()
                if not self._dropping and number > self._dead_before:
                    near.write(words)
            near.transport.abort()

    @contextlib.contextmanager
    def suffering(self, harm: Callable[[Proxy], None]) -> Iterator[None]:
        """Do harm for the block."""
        harm(self)
        try:
            yield
        finally:
            self.heal()
