"""One Redis connection that many checks share, for the asyncio door.

redis.asyncio takes a connection per command and 200 µs of Python around it; here a
command is packed and written, and its answer resolves a future in the order of sending.
Commands of one turn of the loop leave in one write. Only what a check needs is here:
no pools, no retries, no cluster.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import ssl
from typing import Any, Final

import hiredis
from redis.connection import parse_url
from redis.exceptions import ConnectionError as StoreConnectionError
from redis.exceptions import NoScriptError, ResponseError, TimeoutError

# No answer at all for this long while somebody waits: the peer is gone.
SILENCE_S: Final = 1.0

Word = str | bytes | int
# Typed for floats and memoryviews too, or not at all.
_pack: Any = hiredis.pack_command
_parse_url: Any = parse_url


def _failure(reply: hiredis.ReplyError) -> ResponseError:
    """Return an error reply as an exception that keeps its first word."""
    text = str(reply)
    return NoScriptError(text) if text.startswith("NOSCRIPT") else ResponseError(text)


class Wire(asyncio.Protocol):
    """A connection; answers come in the order of what was sent.

    A command has failed when the store has had it for `timeout_s` without an answer.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=self)
        self._waiting: collections.deque[asyncio.Future[Any]] = collections.deque()
        self._out: list[bytes] = []
        self._unsent: list[asyncio.Future[Any]] = []
        self._transport: Any = None
        self._heard = self._loop.time()
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take commands from now on."""
        self._transport = transport
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever still waits."""
        self.is_open = False
        error = StoreConnectionError(str(exc or "the store closed the connection"))
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)

    def data_received(self, data: bytes) -> None:
        """Resolve the futures whose answers are whole."""
        self._heard = self._loop.time()
        self._reader.feed(data)
        while True:
            reply = self._reader.gets()
            if reply is self:
                return
            future = self._waiting.popleft()
            if future.done():
                continue  # It waited too long; the answer is nobody's.
            if isinstance(reply, hiredis.ReplyError):
                future.set_exception(_failure(reply))
            else:
                future.set_result(reply)

    def send(self, words: tuple[Word, ...]) -> asyncio.Future[Any]:
        """Send a command; the future is its answer."""
        future = self._loop.create_future()
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(_pack(words))
        self._unsent.append(future)
        self._waiting.append(future)
        return future

    def _flush(self) -> None:
        if self.is_open:
            self._transport.write(b"".join(self._out))
        # From here on the store is waited for; before, the commands waited for us.
        self._loop.call_later(self._timeout_s, self._give_up, self._unsent)
        self._out.clear()
        self._unsent = []

    def _give_up(self, sent: list[asyncio.Future[Any]]) -> None:
        """Stop waiting for answers, and close a connection that has gone silent."""
        late = [future for future in sent if not future.done()]
        for future in late:
            future.set_exception(TimeoutError("the store did not answer in time"))
        if late and self._loop.time() - self._heard > SILENCE_S:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()


class Client:
    """Connects when first used, and again after a loss."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._options: dict[str, Any] = _parse_url(url)
        self._secure = url.startswith("rediss://")
        self._timeout_s = timeout_s
        self._wire: Wire | None = None
        self._connecting: asyncio.Future[Wire] | None = None

    async def execute(self, *words: Word) -> Any:
        """Return the answer to a command.

        Raises redis.RedisError or OSError; TimeoutError after the client's patience.
        """
        wire = self._wire
        if wire is None or not wire.is_open:
            wire = await self._connect()
        return await wire.send(words)

    async def _connect(self) -> Wire:
        """Return a new connection; who comes meanwhile waits for the same one."""
        if self._connecting is not None:
            return await asyncio.shield(self._connecting)
        made = asyncio.ensure_future(self._open())
        self._connecting = made
        try:
            self._wire = await asyncio.shield(made)
            return self._wire
        finally:
            self._connecting = None

    async def _open(self) -> Wire:
        loop, options = asyncio.get_running_loop(), self._options
        new = functools.partial(Wire, self._timeout_s)
        async with asyncio.timeout(self._timeout_s):
            if "path" in options:
                _, wire = await loop.create_unix_connection(new, options["path"])
            else:
                _, wire = await loop.create_connection(
                    new,
                    options.get("host", "localhost"),
                    options.get("port", 6379),
                    ssl=ssl.create_default_context() if self._secure else None,
                )
        try:
            if options.get("password"):
                name = (options["username"],) if options.get("username") else ()
                await wire.send(("AUTH", *name, options["password"]))
            await wire.send(("SELECT", options.get("db", 0)))
        except Exception:
            wire.close()
            raise
        return wire

    async def evalsha(self, sha: str, numkeys: int, *words: Word) -> Any:
        """Run a script by its digest."""
        return await self.execute("EVALSHA", sha, numkeys, *words)

    async def eval(self, script: str, numkeys: int, *words: Word) -> Any:
        """Run a script by its text."""
        return await self.execute("EVAL", script, numkeys, *words)

    async def hmget(self, key: str, names: list[str]) -> list[bytes | None]:
        """Return fields of a hash."""
        found: list[bytes | None] = await self.execute("HMGET", key, *names)
        return found

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._wire is not None:
            self._wire.close()
