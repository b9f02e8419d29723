"""Requests at a fixed pace over a few connections, and how long the answers took."""

from __future__ import annotations

import asyncio
import collections
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.frame import percentiles
from tests import harness

TICK_S = 0.001
# Counts as a status: passed, but judged without the store (it was too slow).
DEGRADED = 0

# Finds the end of one answer in what was read: bytes taken, and its status.
Framing = Callable[[bytes], tuple[int, int] | None]


def http_answer(read: bytes) -> tuple[int, int] | None:
    """Return the length and status of the first HTTP answer, if it is whole."""
    head = read.find(b"\r\n\r\n")
    if head < 0:
        return None
    lowered = read[:head].lower()
    at = lowered.index(b"content-length: ") + 16
    end = lowered.find(b"\r\n", at)
    length = int(lowered[at : end if end > 0 else head])
    size = head + 4 + length
    if len(read) < size:
        return None
    degraded = b"x-aforo-degraded" in lowered
    return size, DEGRADED if degraded else int(read[9:12])


def http_post(path: str, body: bytes, secret: str) -> bytes:
    """Return a whole request that posts JSON with a secret."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer {secret}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def redis_answer(read: bytes) -> tuple[int, int] | None:
    """Return the length of a one-line reply (a missing key)."""
    end = read.find(b"\r\n")
    return (end + 2, 200) if end >= 0 else None


class Link(asyncio.Protocol):
    """One connection with one request under way."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.read = b""
        self.due = 0.0
        self.is_asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        self.transport: Any = transport

    def send(self, words: bytes, due: float) -> None:
        """Send a request that was due at that time."""
        self.due, self.is_asked = due, True
        self.transport.write(words)

    def data_received(self, data: bytes) -> None:
        """Note how long the answer took since its request was due."""
        self.read += data
        found = self.load.framing(self.read)
        if found is None:
            return
        size, status = found
        self.read, self.is_asked = self.read[size:], False
        self.load.done(self, time.perf_counter() - self.due, status)

    def connection_lost(self, error: Exception | None) -> None:
        """Be used no more; who waits for an answer here would wait for ever."""
        if self.is_asked:
            self.load.unanswered += 1
        elif self in self.load.idle:
            self.load.idle.remove(self)


@dataclass
class Load:
    """Requests at a fixed pace whatever the answers do, over a few connections.

    A request that finds no free connection waits, and its wait is part of its
    latency: a slow server cannot hide behind a client that stops asking.
    """

    requests: Iterator[bytes]
    framing: Framing
    seconds: list[float] = field(default_factory=list)
    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    # The longest idle is used first: none is left until the server closes it.
    idle: collections.deque[Link] = field(default_factory=collections.deque)
    unanswered: int = 0  # Requests whose connection was closed.
    # When each was due; None: as soon as there is a connection.
    waiting: collections.deque[float | None] = field(default_factory=collections.deque)

    def done(self, link: Link, seconds: float, status: int) -> None:
        """Note an answer and use the connection for who waits longest."""
        self.seconds.append(seconds)
        self.statuses[status] += 1
        if self.waiting:
            self.send_next(link)
        else:
            self.idle.append(link)

    def send_next(self, link: Link) -> None:
        """Send what has waited longest over a free connection."""
        words, due = next(self.requests), self.waiting.popleft()
        link.send(words, time.perf_counter() if due is None else due)

    async def run(self, *, rate: int, seconds: float) -> None:
        """Send at a pace; return when everything is answered."""
        start = time.perf_counter()
        total, sent = int(rate * seconds), 0
        while sent < total:
            now = time.perf_counter()
            while sent < total and start + sent / rate <= now:
                due = start + sent / rate
                if self.idle:
                    self.idle.popleft().send(next(self.requests), due)
                else:
                    self.waiting.append(due)
                sent += 1
            await asyncio.sleep(TICK_S)
        await self.answered(total)

    async def answered(self, total: int) -> None:
        """Wait for so many answers; raises RuntimeError when one cannot come."""
        while len(self.seconds) < total:
            if self.unanswered:
                raise RuntimeError(f"{self.unanswered} requests were cut off")
            await asyncio.sleep(TICK_S)

    async def saturate(self, *, total: int) -> float:
        """Send as fast as answers come; return requests per second.

        A request is due when its connection is free: nobody waits for that.
        """
        start = time.perf_counter()
        self.waiting.extend(None for _ in range(total))
        while self.idle and self.waiting:
            self.send_next(self.idle.popleft())
        await self.answered(total)
        return total / (time.perf_counter() - start)

    def figures(self) -> dict[str, float]:
        """Return p50, p99 and the longest, in milliseconds."""
        return percentiles(self.seconds, places=3)


async def http_load(url: str, requests: Iterator[bytes], connections: int) -> Load:
    """Return a load with connections to a web server."""
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    load = Load(requests, http_answer)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        made = await loop.create_connection(lambda: Link(load), host, port)
        load.idle.append(made[1])
    return load


async def redis_load(url: str, connections: int) -> Load:
    """Return a load of GETs with connections to a Redis socket."""
    path = urllib.parse.urlsplit(url).path
    get = b"*2\r\n$3\r\nGET\r\n$6\r\nabsent\r\n"
    load = Load(iter(lambda: get, b""), redis_answer)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        link = (await loop.create_unix_connection(lambda: Link(load), path))[1]
        load.idle.append(link)
    return load


def close(load: Load) -> None:
    """Close a load's connections."""
    for link in load.idle:
        link.transport.close()


def held(
    running: harness.Instance,
    wanted: Iterator[bytes],
    *,
    rate: float,
    seconds: float,
    connections: int,
) -> Load:
    """Send requests at a pace for so long; at rate 0 so many, as fast as they go.

    Raises RuntimeError when one is not accepted.
    """

    async def send() -> Load:
        load = await http_load(running.url, wanted, connections)
        if rate:
            await load.run(rate=int(rate), seconds=seconds)
        else:
            await load.saturate(total=int(seconds))
        close(load)
        return load

    done = asyncio.run(send())
    if set(done.statuses) != {200}:
        raise RuntimeError(f"answers: {dict(done.statuses)}")
    return done
