"""Ingest at a fixed pace: does the backlog stay empty, and how late is the ledger?

Three loads on one private instance, client included: batches of a hundred compound
events at a pace that must be held, single events at a slow pace (what a quiet seller
waits), and single events as fast as they are answered. The law: the ledger follows
at once while the pace is held, whatever the history.

    make bench-paced args="--rate 6000 --seconds 300 --customers 200"
"""

from __future__ import annotations

import argparse
import collections
import importlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import psycopg

from bench.frame import (
    Figures,
    cpu_seconds,
    cpu_us_since,
    one,
    parser,
    percentiles,
    rows_written,
    run,
    wait_until_rated,
)
from bench.load import held
from bench.usage import BATCH, TABLES, event, requests
from tests import harness

POLL_S = 0.004
COPIED = 100  # Batches that the reference copies.
SINGLES_PER_S = 50
CONNECTIONS = 64
KINDS = ("web", "worker", "postgres", "redis")


class Watch(threading.Thread):
    """Looks when the last event of each request has its ledger entry."""

    def __init__(self, database_url: str) -> None:
        """Watch one database."""
        super().__init__(daemon=True)
        self.url = database_url
        self.sent: collections.deque[tuple[float, str]] = collections.deque()
        self.seconds: list[float] = []
        self.is_done = False

    def run(self) -> None:
        """Take what was sent, in order, and note when it is in the ledger."""
        found = (
            "SELECT EXISTS (SELECT FROM metering_usageevent e"
            " JOIN billing_ledgerentry l ON l.event_id = e.id AND l.kind = 'usage'"
            " WHERE e.tenant_id = (SELECT id FROM core_tenant LIMIT 1)"
            " AND e.event_id = %b)"
        )
        # A plan made while the tables were small would read all of them.
        plans = "-c plan_cache_mode=force_custom_plan -c enable_seqscan=off"
        with psycopg.connect(self.url, autocommit=True, options=plans) as link:
            while self.sent or not self.is_done:
                if not self.sent:
                    time.sleep(POLL_S)
                    continue
                started, event_id = self.sent.popleft()
                while link.execute(found, [event_id]).fetchone() != (True,):
                    time.sleep(POLL_S)
                self.seconds.append(time.perf_counter() - started)

    def finish(self) -> dict[str, float]:
        """Return p50, p99 and the longest wait in milliseconds, when all is there."""
        self.is_done = True
        self.join()
        return percentiles(self.seconds)


def sent(
    numbers: Iterator[int], key: str, customers: int, size: int, watch: Watch | None
) -> Iterator[bytes]:
    """Yield requests of `size` events; the watch is told of each as it is sent."""

    def told(last: dict[str, Any]) -> None:
        if watch is not None:
            watch.sent.append((time.perf_counter(), last["eventId"]))

    def make(number: int) -> dict[str, Any]:
        return event(number, customers=customers)

    return requests(numbers, make, key=key, size=size, told=told)


def memory_mb(running: harness.Instance) -> dict[str, int]:
    """Return the resident memory of each part; shared pages count in each process."""
    found = {}
    for kind in KINDS:
        sizes = []
        for process in running.tree(kind):
            try:
                sizes.append(process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        found[kind] = round(max(sizes, default=0) / 1e6)
    return found


SIZE = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
DEAD = "SELECT sum(n_dead_tup) FROM pg_stat_user_tables"
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
WAITING = "SELECT coalesce(sum(cardinality(event_ids)), 0) FROM metering_pendingevents"


def reference(link: psycopg.Connection[Any]) -> float:
    """Copy the same rows into tables without indexes, a transaction per batch.

    Returns events per second: what the same database does with no work at all.
    """
    chunks: list[dict[str, bytes]] = []
    for table in TABLES:
        link.execute(f"CREATE TABLE IF NOT EXISTS ref_{table} (LIKE {table})")
    for number in range(COPIED):
        chunk = {}
        for table in TABLES:
            rows = f"SELECT * FROM {table} ORDER BY id LIMIT {BATCH} OFFSET %s"
            statement = f"COPY ({rows % (number * BATCH)}) TO STDOUT (FORMAT binary)"
            with link.cursor().copy(statement) as out:
                chunk[table] = b"".join(bytes(part) for part in out)
        chunks.append(chunk)
    started = time.perf_counter()
    for chunk in chunks:
        with link.transaction():
            for table, data in chunk.items():
                copying = f"COPY ref_{table} FROM STDIN (FORMAT binary)"
                with link.cursor().copy(copying) as into:
                    into.write(data)
    return COPIED * BATCH / (time.perf_counter() - started)


def paced(
    running: harness.Instance,
    link: psycopg.Connection[Any],
    key: str,
    numbers: Iterator[int],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Hold the pace with batches and return what it took."""
    events = int(options.rate * options.seconds)
    link.execute("SELECT pg_stat_clear_snapshot()")
    rows, used = rows_written(link), cpu_seconds(running)
    size, wal, memory = one(link, SIZE), one(link, WAL), memory_mb(running)
    watch = Watch(running.database_url)
    watch.start()
    wanted = sent(numbers, key, options.customers, BATCH, watch)
    load = held(
        running,
        wanted,
        rate=options.rate / BATCH,
        seconds=options.seconds,
        connections=options.connections,
    )
    backlog = one(link, WAITING)
    late = watch.finish()
    cpu = cpu_us_since(running, used, events)
    time.sleep(2)
    link.execute("SELECT pg_stat_clear_snapshot()")
    written = sum(rows_written(link).values()) - sum(rows.values())
    return {
        "events": events,
        "rate": options.rate,
        "backlog_at_end": backlog,
        "ledger": late,
        "request": load.figures(),
        "cpu_us_per_event": cpu,
        "rows_per_event": round(written / events, 2),
        "bytes_per_event": round((one(link, SIZE) - size) / events),
        "wal_per_event": round((one(link, WAL) - wal) / events),
        "dead_rows": one(link, DEAD),
        "memory_mb": {"before": memory, "after": memory_mb(running)},
    }


def singles(
    running: harness.Instance, key: str, numbers: Iterator[int], customers: int
) -> dict[str, Any]:
    """Send single events, first slowly and then as fast as they are answered."""
    watch = Watch(running.database_url)
    watch.start()
    wanted = sent(numbers, key, customers, 1, watch)
    slow = held(running, wanted, rate=SINGLES_PER_S, seconds=20, connections=8)
    late = watch.finish()
    wanted = sent(numbers, key, customers, 1, None)
    started = time.perf_counter()
    held(running, wanted, rate=0, seconds=10_000, connections=CONNECTIONS)
    return {
        "slow_request": slow.figures(),
        "slow_ledger": late,
        "singles_per_s": round(10_000 / (time.perf_counter() - started)),
    }


def measure(running: harness.Instance, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one run against a private instance."""
    key = importlib.import_module("bench.world").make(customers=options.customers)
    numbers = itertools.count()
    with psycopg.connect(running.database_url, autocommit=True) as link:
        warm = sent(numbers, key, options.customers, BATCH, None)
        held(running, warm, rate=10, seconds=3, connections=options.connections)
        wait_until_rated(link, 30 * BATCH)
        figures = paced(running, link, key, numbers, options)
        figures |= singles(running, key, numbers, options.customers)
        wait_until_rated(link, next(numbers))
        figures["reference_per_s"] = round(reference(link))
    figures["reference_ratio"] = round(options.rate / figures["reference_per_s"], 3)
    hits, misses = importlib.import_module("metering.enrichment").figures(
        importlib.import_module("metering.relay").streams(),
        importlib.import_module("aforo.lib.clock").now().date(),
    )
    figures["from_memory"] = round(hits / (hits + misses), 4) if hits else 0
    return figures


def tell(found: Figures) -> None:
    """Say the figures in words."""
    late, slow = found["ledger"], found["slow_ledger"]
    print(f"{found['events']:,} events at {found['rate']:,}/s in batches of {BATCH}")
    print(f"  waiting at the end        {found['backlog_at_end']:>8,}")
    print(f"  sent to ledger            p50 {late['p50_ms']}, p99 {late['p99_ms']} ms")
    print(f"  rows, bytes, WAL an event {found['rows_per_event']}", end=", ")
    print(f"{found['bytes_per_event']}, {found['wal_per_event']}")
    print(f"  CPU µs per event          {found['cpu_us_per_event']}")
    print(f"  memory in MB              {found['memory_mb']}")
    print(f"  look-ups from memory      {found['from_memory']:.2%}")
    print(f"  {SINGLES_PER_S} single events a second: sent to ledger", end=" ")
    print(f"p50 {slow['p50_ms']}, p99 {slow['p99_ms']} ms")
    print(f"  single events at most     {found['singles_per_s']:>8,} /s")
    print(f"  COPY, no index, by 100    {found['reference_per_s']:>8,} events/s")
    print(f"  pace ÷ COPY               {found['reference_ratio']:>8}")


def main() -> None:
    """Run the benchmark."""
    options = parser(
        __doc__, rate=6000, seconds=300, connections=8, customers=200
    ).parse_args()
    run(options, measure, tell)


if __name__ == "__main__":
    main()
