"""Single-event requests per second: 64 connections, one event each, one at a time.

What it tests: requests of one moment share a transaction, so that a gateway that
reports every call by itself costs little more than one that batches.

    make bench-singles args="--requests 20000 --connections 64"
"""

from __future__ import annotations

import argparse
import importlib
import time
from typing import Any

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
from bench.usage import event, requests
from tests import harness

WARM_UP = 500
MEASURED = {"input_tokens": 1500, "output_tokens": 800}
PER_SESSION = 500
TRANSACTIONS = "SELECT count(DISTINCT xmin::text) FROM metering_usageevent"


def measure(running: harness.Instance, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one run against a private instance."""
    customers = options.customers
    key = importlib.import_module("bench.world").make(customers=customers)

    def make(number: int) -> dict[str, Any]:
        return event(
            number, customers=customers, measured=MEASURED, per_session=PER_SESSION
        )

    total = WARM_UP + options.requests
    # Made before the clock starts: what is measured is not this client's JSON.
    waiting = iter(list(requests(iter(range(total)), make, key=key, size=1)))

    def send(many: int) -> list[float]:
        return held(
            running, waiting, rate=0, seconds=many, connections=options.connections
        ).seconds

    with psycopg.connect(running.database_url, autocommit=True) as link:
        send(WARM_UP)
        wait_until_rated(link, WARM_UP)
        time.sleep(3)
        before = one(link, TRANSACTIONS)
        rows, used = rows_written(link), cpu_seconds(running)
        started = time.perf_counter()
        taken = percentiles(send(options.requests))
        stored_s = time.perf_counter() - started
        wait_until_rated(link, total)
        rated_s = time.perf_counter() - started
        cpu = cpu_us_since(running, used, options.requests)
        after = one(link, TRANSACTIONS)
        time.sleep(2)
        queued = rows_written(link).get("metering_pendingevents", 0)
    count = options.requests
    return {
        "requests": count,
        "connections": options.connections,
        "stored_per_s": round(count / stored_s),
        "rated_per_s": round(count / rated_s),
        "p50_ms": taken["p50_ms"],
        "p99_ms": taken["p99_ms"],
        "requests_per_transaction": round(count / (after - before), 1),
        "queue_rows_per_request": round(
            (queued - rows.get("metering_pendingevents", 0)) / count, 3
        ),
        "cpu_us_per_request": cpu,
    }


def tell(figures: Figures) -> None:
    """Say the figures in words."""
    print(f"{figures['requests']:,} requests of one event, {figures['connections']} at")
    print(f"a time: {figures['stored_per_s']:,}/s stored, ", end="")
    print(f"{figures['rated_per_s']:,}/s in the ledger; p50 {figures['p50_ms']} ms,")
    print(f"p99 {figures['p99_ms']} ms; {figures['requests_per_transaction']} requests")
    print("share a transaction")


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__, requests=20_000, connections=64, customers=8)
    run(options.parse_args(), measure, tell)


if __name__ == "__main__":
    main()
