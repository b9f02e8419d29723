"""Single-event requests per second: 64 connections, one event each, one at a time.

What it tests: requests of one moment share a transaction, so that a gateway that
reports every call by itself costs little more than one that batches.

    make bench-singles args="--requests 20000 --connections 64"
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import psycopg

from bench.ingest import cpu_seconds, rows_written, wait_until_rated
from bench.load import http_answer
from tests import harness

WARM_UP = 500
TRANSACTIONS = "SELECT count(DISTINCT xmin::text) FROM metering_usageevent"


def requests(numbers: range, *, key: str, host: str, customers: int) -> Iterator[bytes]:
    """Return whole HTTP requests, each with one compound event."""
    for number in numbers:
        who = number % customers
        event = {
            "eventId": f"single-{number:09d}",
            "eventType": "llm.completion",
            "customerId": f"customer-{who}",
            "agentId": f"agent-{who}",
            "productId": "llm",
            "sessionId": f"session-{who}-{number // 500}",
            "properties": {"model": "gpt-4o", "provider": "openai"},
            "measurements": [
                {"metricKey": "input_tokens", "value": 1500 + number % 50},
                {"metricKey": "output_tokens", "value": 800},
            ],
            "correlationId": f"work-{number // 3}",
        }
        body = json.dumps(event).encode()
        head = (
            f"POST /v1/events HTTP/1.1\r\nHost: {host}\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


async def send(waiting: Iterator[bytes], host: str, port: int) -> list[float]:
    """Send requests over one connection until none is left; return their seconds."""
    reader, writer = await asyncio.open_connection(host, port)
    seconds: list[float] = []
    for request in waiting:
        started = time.perf_counter()
        writer.write(request)
        read = b""
        while (found := http_answer(read)) is None:
            chunk = await reader.read(65536)
            if not chunk:
                raise RuntimeError("the connection was closed")
            read += chunk
        if found[1] != 200:
            raise RuntimeError(read[:300].decode())
        seconds.append(time.perf_counter() - started)
    writer.close()
    return seconds


async def send_all(
    bodies: list[bytes], host: str, port: int, connections: int
) -> list[float]:
    """Send requests over several connections; return how long each took."""
    waiting = iter(bodies)
    found = await asyncio.gather(
        *(send(waiting, host, port) for _ in range(connections))
    )
    return [second for seconds in found for second in seconds]


def measure(running: harness.Instance, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one run against a private instance."""
    os.environ["AFORO_DATA_DIR"] = str(running.data_dir)
    os.environ["DJANGO_SETTINGS_MODULE"] = "aforo.settings"
    importlib.import_module("django").setup()
    key = importlib.import_module("bench.world").make(customers=options.customers)
    parts = urllib.parse.urlsplit(running.url)
    host, port = parts.hostname or "", parts.port or 0
    total = WARM_UP + options.requests
    bodies = list(
        requests(range(total), key=key, host=host, customers=options.customers)
    )
    with psycopg.connect(running.database_url, autocommit=True) as link:
        asyncio.run(send_all(bodies[:WARM_UP], host, port, options.connections))
        wait_until_rated(link, WARM_UP)
        time.sleep(3)
        before = link.execute(TRANSACTIONS).fetchone()
        rows, used = rows_written(link), cpu_seconds(running)
        started = time.perf_counter()
        work = send_all(bodies[WARM_UP:], host, port, options.connections)
        latencies = sorted(asyncio.run(work))
        stored_s = time.perf_counter() - started
        wait_until_rated(link, total)
        rated_s = time.perf_counter() - started
        cpu = cpu_seconds(running)
        after = link.execute(TRANSACTIONS).fetchone()
        time.sleep(2)
        queued = rows_written(link).get("metering_pendingevents", 0)
    assert before is not None
    assert after is not None
    count = options.requests
    return {
        "requests": count,
        "connections": options.connections,
        "stored_per_s": round(count / stored_s),
        "rated_per_s": round(count / rated_s),
        "p50_ms": round(latencies[count // 2] * 1000, 1),
        "p99_ms": round(latencies[count * 99 // 100] * 1000, 1),
        "requests_per_transaction": round(count / (after[0] - before[0]), 1),
        "queue_rows_per_request": round(
            (queued - rows.get("metering_pendingevents", 0)) / count, 3
        ),
        "cpu_us_per_request": {
            part: round((seconds - used[part]) / count * 1e6)
            for part, seconds in cpu.items()
        },
    }


def main() -> None:
    """Run the benchmark and print its figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--customers", type=int, default=8)
    options = parser.parse_args()
    with harness.short_folder() as folder:
        running = harness.Instance(folder / "data")
        running.start()
        try:
            figures = measure(running, options)
        finally:
            running.stop()
    print(f"{figures['requests']:,} requests of one event, {figures['connections']} at")
    print(f"a time: {figures['stored_per_s']:,}/s stored, ", end="")
    print(f"{figures['rated_per_s']:,}/s in the ledger; p50 {figures['p50_ms']} ms,")
    print(f"p99 {figures['p99_ms']} ms; {figures['requests_per_transaction']} requests")
    print("share a transaction")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
