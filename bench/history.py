"""Does an event cost more when many are stored already?

The same paced load of events with random ids on an empty Aforo and on one that holds
millions: processor time of Postgres and bytes of WAL an event. The law: both hardly
grow, also when the indexes are much larger than Postgres' own memory.

    make bench-history args="--events 10000000 --rate 2000 --seconds 120"
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg

from aforo.embedded import services
from bench import frame, usage
from bench.load import held
from tests import harness

CUSTOMERS = 200
CONNECTIONS = 8
SEED = 200  # Batches that are sent, and then copied until there are enough.
WAITING = "SELECT coalesce(sum(cardinality(event_ids)), 0) FROM metering_pendingevents"
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"

# A copy's ids are of its own earlier time, and the same wherever a row names the event.
MADE_ID = (
    "(lpad(to_hex(1700000000000 + {copy}::bigint * 100000 + o.place), 12, '0') || '7'"
    " || substr(md5({old}::text || {copy}), 1, 3) || '8'"
    " || substr(md5({old}::text || {copy}), 4, 15))::uuid"
)
ORIGINALS = """
CREATE TEMP TABLE original AS
SELECT e.id, row_number() OVER (ORDER BY e.id)::int AS place
FROM metering_usageevent e JOIN billing_ledgerentry l ON l.event_id = e.id
"""
INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid),
  (SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
   WHERE k.conindid = i.indexrelid AND k.contype IN ('u', 'p'))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %b::regclass
"""


def event(number: int) -> dict[str, Any]:
    """Return an event with a random id, as most senders' have."""
    made = usage.event(number, customers=CUSTOMERS)
    return made | {"eventId": str(uuid.uuid4())}


def requests(numbers: Iterator[int], key: str) -> Iterator[bytes]:
    """Yield batches of such events."""
    return usage.requests(numbers, event, key=key, size=usage.BATCH)


def drained(link: psycopg.Connection[Any]) -> None:
    """Return when no event waits for its price."""
    while frame.one(link, WAITING):
        time.sleep(0.05)


def paced(
    running: harness.Instance, key: str, options: argparse.Namespace
) -> dict[str, float]:
    """Send the load and return what one event of it took."""
    numbers = itertools.count(uuid.uuid4().int % 10**9 * 1000)
    wanted = requests(numbers, key)
    events = options.rate * options.seconds
    with psycopg.connect(running.database_url, autocommit=True) as link:
        held(running, wanted, rate=5, seconds=4, connections=CONNECTIONS)
        drained(link)
        superuser(running, "CHECKPOINT")  # Each run pays for its own page images.
        wal, cpu = frame.one(link, WAL), frame.cpu_seconds(running)
        load = held(
            running,
            wanted,
            rate=options.rate / usage.BATCH,
            seconds=options.seconds,
            connections=CONNECTIONS,
        )
        backlog = frame.one(link, WAITING)
        drained(link)
        used = frame.cpu_us_since(running, cpu, events)
        return {
            "postgres_cpu_us": used["postgres"],
            "worker_cpu_us": used["worker"],
            "wal_bytes": round((frame.one(link, WAL) - wal) / events),
            "backlog": backlog,
            "request_p99_ms": load.figures()["p99_ms"],
        }


def superuser(running: harness.Instance, *statements: str) -> None:
    """Run statements as the one who may change append-only tables."""
    url = services.open_services(running.data_dir).superuser_url
    with psycopg.connect(url.replace("/postgres?", "/aforo?"), autocommit=True) as link:
        for statement in statements:
            link.execute(statement.encode())


def grow(running: harness.Instance, wanted: int) -> int:
    """Copy what is stored until that many events are; return how many there are.

    Indexes are dropped and made again: a tenth of the time of keeping them.
    """
    url = services.open_services(running.data_dir).superuser_url
    with psycopg.connect(url.replace("/postgres?", "/aforo?"), autocommit=True) as link:
        for setting in (
            "session_replication_role = replica",
            "synchronous_commit = off",
            "maintenance_work_mem = '1GB'",
        ):
            link.execute(f"SET {setting}".encode())
        link.execute(ORIGINALS)
        copies = wanted // frame.one(link, "SELECT count(*) FROM original")
        for table in usage.TABLES:
            _multiply(link, table, copies)
            link.execute(f"VACUUM ANALYZE {table}".encode())
        return frame.one(link, "SELECT count(*) FROM metering_usageevent")


def _multiply(link: psycopg.Connection[Any], table: str, copies: int) -> None:
    """Insert copies of a table's rows, without its indexes meanwhile."""
    names = [
        row[0]
        for row in link.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %b::regclass"
            " AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [table],
        ).fetchall()
    ]
    is_event = table == usage.TABLES[0]
    new = {
        "id": MADE_ID.replace("{old}", "t.id"),
        # The reporter's id is anything; elsewhere it names the event's row.
        "event_id": "gen_random_uuid()::text"
        if is_event
        else MADE_ID.replace("{old}", "o.id"),
    }
    chosen = ", ".join(new.get(name, f"t.{name}") for name in names)
    named = "id" if is_event else "event_id"
    again = []
    for index, definition, constraint in link.execute(INDEXES, [table]).fetchall():
        if constraint:
            drop = f"ALTER TABLE {table} DROP CONSTRAINT {index} CASCADE"
            definition = f"ALTER TABLE {table} ADD CONSTRAINT {index} {constraint}"
        else:
            drop = f"DROP INDEX {index}"
        link.execute(drop.encode())
        again.append(definition)
    # A table that grows is not read again for every copy.
    link.execute(
        f"CREATE TEMP TABLE first AS SELECT t.* FROM {table} t"
        f" WHERE {named} IN (SELECT id FROM original)".encode()
    )
    for copy in range(1, copies):
        statement = (
            f"INSERT INTO {table} SELECT {chosen.replace('{copy}', str(copy))}"
            f" FROM original o JOIN first t ON t.{named} = o.id ORDER BY o.place"
        )
        link.execute(statement.encode())
    link.execute("DROP TABLE first")
    for definition in again:
        link.execute(definition.encode())


def measure(options: argparse.Namespace, folder: Any) -> dict[str, Any]:
    """Return the figures: empty, full, and full with little memory."""
    running = harness.Instance(folder / "data")
    found: dict[str, Any] = {}
    running.start()
    try:
        frame.speak_to(str(running.data_dir))
        world = importlib.import_module("bench.world")
        key = world.make(customers=CUSTOMERS)
        wanted = requests(itertools.count(), key)
        held(running, wanted, rate=20, seconds=SEED // 20, connections=CONNECTIONS)
        with psycopg.connect(running.database_url, autocommit=True) as link:
            frame.wait_until_rated(link, SEED * usage.BATCH)
        found["empty"] = paced(running, key, options)
        started = time.monotonic()
        found["stored"] = grow(running, options.events)
        found["grown_in_s"] = round(time.monotonic() - started)
        found["full"] = paced(running, key, options)
    finally:
        running.stop()
    running.args = (*running.args, "--postgres", "shared_buffers=128MB")
    running.start()
    try:
        found["full_128mb"] = paced(running, key, options)
    finally:
        running.stop()
    return found


def main() -> None:
    """Run the benchmark and print its figures; the last line is JSON."""
    parser = frame.parser(__doc__, events=10_000_000, rate=2000, seconds=120)
    options = parser.parse_args()
    with harness.short_folder() as folder:
        found = measure(options, folder)
    print(f"{found['stored']:,} events stored, {options.rate:,}/s of new ones")
    for name in ("empty", "full", "full_128mb"):
        figures = found[name]
        for kind in ("postgres_cpu_us", "wal_bytes"):
            figures[f"{kind}_ratio"] = round(figures[kind] / found["empty"][kind], 2)
        print(f"  {name:<11} Postgres {figures['postgres_cpu_us']:>6} µs", end="")
        print(f" ({figures['postgres_cpu_us_ratio']}), WAL {figures['wal_bytes']:,} B")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
