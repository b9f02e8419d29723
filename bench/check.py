"""Latency of /v1/check over HTTP, beside a bare Redis round trip in the same run.

The law it tests: a decision costs one Redis round trip and little more, it never
admits one request too many, and its script is not much dearer than reading its keys.

    make bench-check args="--seconds 60 --rates 500 1000"
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import importlib
import json
import os
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import redis
import uvloop

from bench.ingest import cpu_seconds
from tests import harness

CONNECTIONS = 32
CLIENTS = 64
CUSTOMERS = 8
EXACT_LIMIT = 500
SCRIPT_CALLS = 4000
PIPELINE = 200
TICK_S = 0.001
# Counts as a status: passed, but judged without the store (it was too slow).
DEGRADED = 0
LIMITS: dict[str, Any] = {
    "requests_per_minute": 100_000_000,
    "tokens_per_minute": 10_000_000_000,
    "quotas": [{"metric": "tokens", "limit": 10**12, "on_exceed": "deny"}],
    "spend_cap": "1000000.00",
    "estimate": {"input_tokens": "0.000003", "output_tokens": "0.000015"},
    "default_estimate": "0.01",
}
ESTIMATE = {"units": {"input_tokens": 1800, "output_tokens": 600}}

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        self.transport: Any = transport

    def send(self, words: bytes, due: float) -> None:
        """Send a request that was due at that time."""
        self.due = due
        self.transport.write(words)

    def data_received(self, data: bytes) -> None:
        """Note how long the answer took since its request was due."""
        self.read += data
        found = self.load.framing(self.read)
        if found is None:
            return
        size, status = found
        self.read = self.read[size:]
        self.load.done(self, time.perf_counter() - self.due, status)


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
    idle: list[Link] = field(default_factory=list)
    waiting: collections.deque[float] = field(default_factory=collections.deque)

    def done(self, link: Link, seconds: float, status: int) -> None:
        """Note an answer and use the connection for who waits longest."""
        self.seconds.append(seconds)
        self.statuses[status] += 1
        if self.waiting:
            link.send(next(self.requests), self.waiting.popleft())
        else:
            self.idle.append(link)

    async def run(self, *, rate: int, seconds: float) -> None:
        """Send at a pace; return when everything is answered."""
        start = time.perf_counter()
        total, sent = int(rate * seconds), 0
        while sent < total:
            now = time.perf_counter()
            while sent < total and start + sent / rate <= now:
                due = start + sent / rate
                if self.idle:
                    self.idle.pop().send(next(self.requests), due)
                else:
                    self.waiting.append(due)
                sent += 1
            await asyncio.sleep(TICK_S)
        while len(self.seconds) < total:
            await asyncio.sleep(TICK_S)

    async def saturate(self, *, total: int) -> float:
        """Send as fast as answers come; return requests per second."""
        start = time.perf_counter()
        for _ in range(total):
            self.waiting.append(start)
        while self.idle and self.waiting:
            self.idle.pop().send(next(self.requests), self.waiting.popleft())
        while len(self.seconds) < total:
            await asyncio.sleep(TICK_S)
        return total / (time.perf_counter() - start)

    def figures(self) -> dict[str, float]:
        """Return p50, p99 and the longest, in milliseconds."""
        ordered = sorted(self.seconds)
        return {
            "p50_ms": round(ordered[len(ordered) // 2] * 1000, 3),
            "p99_ms": round(ordered[len(ordered) * 99 // 100] * 1000, 3),
            "max_ms": round(ordered[-1] * 1000, 3),
        }


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


def asks(secrets: list[str], name: str) -> Iterator[bytes]:
    """Yield requests of several callers in turn, each with its own request_id."""
    number = 0
    while True:
        body = json.dumps(
            {
                "request_id": f"{name}-{number}",
                "tool_name": "search",
                "model": "gpt-4o",
                "estimate": ESTIMATE,
            }
        ).encode()
        yield (
            b"POST /v1/check HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nAuthorization: Bearer "
            + secrets[number % len(secrets)].encode()
            + b"\r\nContent-Length: "
            + str(len(body)).encode()
            + b"\r\n\r\n"
            + body
        )
        number += 1


async def paced(
    url: str, redis_url: str, secrets: list[str], *, rate: int, seconds: int
) -> dict[str, Any]:
    """Return latencies at one rate: of the door, and of a bare GET before it."""
    bare = await redis_load(redis_url, CONNECTIONS)
    await bare.run(rate=rate, seconds=min(seconds, 5))
    close(bare)
    door = await http_load(url, asks(secrets, f"paced-{rate}"), CONNECTIONS)
    await door.run(rate=rate, seconds=seconds)
    close(door)
    if set(door.statuses) - {200, DEGRADED}:
        raise RuntimeError(f"not everything passed: {dict(door.statuses)}")
    check, get = door.figures(), bare.figures()
    return {
        "rate": rate,
        **check,
        "redis_p50_ms": get["p50_ms"],
        "redis_p99_ms": get["p99_ms"],
        "p50_ratio": round(check["p50_ms"] / get["p50_ms"], 1),
        "degraded": door.statuses[DEGRADED],
    }


async def exact(url: str, secret: str) -> tuple[int, int]:
    """Return how many of many clients' requests passed a limit of EXACT_LIMIT.

    Apart from them, how many passed while the store was too slow to be asked.
    """
    load = await http_load(url, asks([secret], "exact"), CLIENTS)
    await load.saturate(total=EXACT_LIMIT * 3)
    close(load)
    return load.statuses[200], load.statuses[DEGRADED]


async def saturated(url: str, secrets: list[str]) -> float:
    """Return the checks per second that the door answers at most."""
    load = await http_load(url, asks(secrets, "full"), CLIENTS)
    rate = await load.saturate(total=10_000)
    close(load)
    return rate


def _redis_cpu_s(client: redis.Redis) -> float:
    """Return the CPU seconds that the server's main thread has used."""
    used: Any = client.info("cpu")
    return float(used["used_cpu_user_main_thread"] + used["used_cpu_sys_main_thread"])


def script_against_reads(redis_url: str, digest: str, tag: str) -> dict[str, Any]:
    """Return the script's calls per second beside one that only reads its keys."""
    engine = importlib.import_module("guard.engine.check")
    keys = importlib.import_module("guard.engine.keys")
    decision = importlib.import_module("guard.engine.decision")
    client = redis.Redis.from_url(redis_url)
    reads = client.script_load(
        "#!lua\nredis.call('TIME')\n"
        "redis.call('HMGET', KEYS[1], 'v', 'cust', ARGV[1])\n"
        "redis.call('HMGET', KEYS[2], 'v', 'cust')\n"
        "redis.call('HMGET', KEYS[3], 'p')\n"
        "redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', 0, 'LIMIT', 0, 1)\n"
        "redis.call('HMGET', KEYS[5], 'r', 't')\nreturn 1"
    )
    names = keys.customer_keys(tag)

    def rate(send: Callable[[Any, int], Any]) -> float:
        spent = 0.0
        for first in range(0, SCRIPT_CALLS, PIPELINE):
            with client.pipeline(transaction=False) as pipe:
                for number in range(first, first + PIPELINE):
                    send(pipe, number)
                started = time.perf_counter()
                pipe.execute()
                spent += time.perf_counter() - started
        return SCRIPT_CALLS / spent

    def check(pipe: Any, number: int) -> None:
        request = decision.CheckRequest(
            tag, f"script-{number}", "dec", digest=digest, units=ESTIMATE["units"]
        )
        call = engine.prepare(request)
        pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)

    read = rate(lambda pipe, _: pipe.evalsha(reads, 5, *names, f"c:{digest}"))
    before = _redis_cpu_s(client)
    full = rate(check)
    cpu_us = (_redis_cpu_s(client) - before) / SCRIPT_CALLS * 1e6
    client.close()
    return {
        "script_per_s": round(full),
        "reads_per_s": round(read),
        "script_share": round(full / read, 2),
        "script_cpu_us": round(cpu_us, 1),
    }


async def _measure(
    running: harness.Instance, options: argparse.Namespace, shops: list[Any], one: Any
) -> dict[str, Any]:
    """Return the figures of the doors."""
    secrets = [shop.secret for shop in shops]
    url, redis_url = running.url, running.redis_url
    warm = await http_load(url, asks([*secrets, one.secret], "warm"), CONNECTIONS)
    await warm.run(rate=200, seconds=1)
    close(warm)
    await asyncio.sleep(61)  # The small limit forgets its warm-up.
    before = cpu_seconds(running)
    figures: dict[str, Any] = {"exact_limit": EXACT_LIMIT}
    figures["paced"] = [
        await paced(url, redis_url, secrets, rate=rate, seconds=options.seconds)
        for rate in options.rates
    ]
    checks = sum(rate * options.seconds for rate in options.rates)
    figures["cpu_us_per_check"] = {
        part: round((used - before[part]) / checks * 1e6)
        for part, used in cpu_seconds(running).items()
    }
    admitted, degraded = await exact(url, one.secret)
    figures["exact_admitted"], figures["exact_degraded"] = admitted, degraded
    figures["saturation_per_s"] = round(await saturated(url, secrets))
    return figures


def measure(running: harness.Instance, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one run against a private instance."""
    os.environ["AFORO_DATA_DIR"] = str(running.data_dir)
    os.environ["DJANGO_SETTINGS_MODULE"] = "aforo.settings"
    importlib.import_module("django").setup()
    factories = importlib.import_module("tests.factories")
    shops = [factories.make_shop(limits=LIMITS) for _ in range(CUSTOMERS)]
    one = factories.make_shop(limits={**LIMITS, "requests_per_minute": EXACT_LIMIT})
    figures = uvloop.run(_measure(running, options, shops, one))
    first = shops[0]
    return {
        **figures,
        **script_against_reads(
            running.redis_url, first.credential.digest, first.customer.tag
        ),
    }


def main() -> None:
    """Run the benchmark and print its figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rates", type=int, nargs="+", default=[500, 1000])
    options = parser.parse_args()
    with harness.short_folder() as folder:
        running = harness.Instance(folder / "data")
        running.start()
        try:
            figures = measure(running, options)
        finally:
            running.stop()
    for row in figures["paced"]:
        print(f"{row['rate']:,} checks/s for {options.seconds} s, client included")
        print(f"  /v1/check        p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms")
        print(
            f"  bare Redis GET   p50 {row['redis_p50_ms']} ms,"
            f" p99 {row['redis_p99_ms']} ms; a check takes {row['p50_ratio']} × as long"
        )
    print(f"at most {figures['saturation_per_s']:,} checks/s")
    print(
        f"{CLIENTS} clients against a limit of {EXACT_LIMIT}:"
        f" {figures['exact_admitted']} admitted,"
        f" {figures['exact_degraded']} passed degraded"
    )
    print(
        f"the script {figures['script_per_s']:,}/s, {figures['script_cpu_us']} µs of"
        f" CPU each; only reading its keys {figures['reads_per_s']:,}/s"
    )
    cpu = figures["cpu_us_per_check"]
    print(f"  CPU µs per check: {sum(cpu.values())} ({cpu})")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
