"""Compound events per second, from HTTP to the committed ledger.

The law it tests: storing an event, costing it, rating its five measurements and
writing ledger, counters, rollups and outbox stays within a small multiple of copying
the finished rows into the same database.

    make bench-ingest args="--batches 300 --connections 3 --customers 8"
"""

from __future__ import annotations

import argparse
import http.client
import importlib
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from bench.frame import (
    Figures,
    cpu_seconds,
    cpu_us_since,
    parser,
    percentiles,
    rows_written,
    run,
    wait_until_rated,
)
from bench.usage import BATCH, TABLES, event
from tests import harness

WARM_UP = 10  # Batches before the clock starts.
PER_SESSION = 500


def body(batch: int, *, customers: int) -> bytes:
    """Return a batch as a gateway sends it: events of several customers, mixed."""
    numbers = range(batch * BATCH, (batch + 1) * BATCH)
    return json.dumps(
        [event(n, customers=customers, per_session=PER_SESSION) for n in numbers]
    ).encode()


@dataclass
class Load:
    """What the connections share: the batches left to send, and how long each took."""

    bodies: Iterator[bytes]
    url: str
    key: str
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def post_all(self) -> None:
        """Send batches over one connection until none is left."""
        parts = urllib.parse.urlsplit(self.url)
        link = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": "application/json",
        }
        while True:
            with self.lock:
                batch = next(self.bodies, None)
            if batch is None:
                return
            started = time.perf_counter()
            link.request("POST", "/v1/events", batch, headers)
            answer = link.getresponse()
            read = answer.read()
            self.seconds.append(time.perf_counter() - started)
            if answer.status != 200 or json.loads(read)["accepted"] != BATCH:
                self.faults.append(f"{answer.status}: {read[:300]!r}")
                return

    def run(self, connections: int) -> None:
        """Send everything over several connections at once."""
        threads = [threading.Thread(target=self.post_all) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.faults:
            raise RuntimeError(self.faults[0])


def copy_again(link: psycopg.Connection[Any]) -> float:
    """Copy the finished rows into new tables with the same indexes; return seconds.

    One transaction for each hundred events would be closer to what the product does;
    one for all is the most that the database gives.
    """
    data = {}
    for table in TABLES:
        with link.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)") as out:
            data[table] = b"".join(bytes(chunk) for chunk in out)
        link.execute(f"CREATE TABLE bench_{table} (LIKE {table} INCLUDING ALL)")
    started = time.perf_counter()
    with link.transaction():
        for table in TABLES:
            statement = f"COPY bench_{table} FROM STDIN (FORMAT binary)"
            with link.cursor().copy(statement) as into:
                into.write(data[table])
    return time.perf_counter() - started


def measure(running: harness.Instance, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one run against a private instance."""
    key = importlib.import_module("bench.world").make(customers=options.customers)
    total = WARM_UP + options.batches
    bodies = [body(number, customers=options.customers) for number in range(total)]
    with psycopg.connect(running.database_url, autocommit=True) as link:
        Load(iter(bodies[:WARM_UP]), running.url, key).run(options.connections)
        wait_until_rated(link, WARM_UP * BATCH)
        time.sleep(5)  # The statistics of the warm-up arrive late.
        before, used = rows_written(link), cpu_seconds(running)
        load = Load(iter(bodies[WARM_UP:]), running.url, key)
        started = time.perf_counter()
        load.run(options.connections)
        stored_s = time.perf_counter() - started
        wait_until_rated(link, total * BATCH)
        rated_s = time.perf_counter() - started
        events = options.batches * BATCH
        cpu = cpu_us_since(running, used, events)
        time.sleep(2)
        written = {
            name: round((rows - before.get(name, 0)) / events, 3)
            for name, rows in rows_written(link).items()
            if rows - before.get(name, 0) >= events / 1000
        }
        copy_s = copy_again(link) * options.batches / total
    taken = percentiles(load.seconds)
    return {
        "events": events,
        "events_per_s": round(events / rated_s),
        "stored_per_s": round(events / stored_s),
        "batch_p50_ms": taken["p50_ms"],
        "batch_p99_ms": taken["p99_ms"],
        "copy_rows_per_s": round(events / copy_s),
        "copy_ratio": round(rated_s / copy_s, 1),
        "cpu_us_per_event": cpu,
        "rows_per_event": round(sum(written.values()), 2),
        "rows_by_table": dict(sorted(written.items(), key=lambda kv: -kv[1])),
    }


def tell(figures: Figures) -> None:
    """Say the figures in words."""
    print(f"{figures['events']:,} events of 5 measurements in batches of {BATCH}")
    print(f"  HTTP to committed ledger  {figures['events_per_s']:>8,} events/s")
    print(f"  HTTP to stored            {figures['stored_per_s']:>8,} events/s")
    print(f"  COPY of the same rows     {figures['copy_rows_per_s']:>8,} events/s")
    print(f"  a batch takes p50 {figures['batch_p50_ms']} ms", end="")
    print(f", p99 {figures['batch_p99_ms']} ms")
    cpu = figures["cpu_us_per_event"]
    parts = ", ".join(f"{part} {us}" for part, us in cpu.items())
    print(f"  CPU µs per event: {sum(cpu.values())} ({parts})")
    print(f"  rows written per event    {figures['rows_per_event']:>8}")
    for table, rows in figures["rows_by_table"].items():
        print(f"    {table:<28} {rows}")


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__, batches=300, connections=3, customers=8).parse_args()
    run(options, measure, tell)


if __name__ == "__main__":
    main()
