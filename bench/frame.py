"""What the benchmarks share: a private instance, its meters, how figures are told."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil
import psycopg

from tests import harness

PATIENCE_S = 180
Figures = dict[str, Any]
Measure = Callable[[harness.Instance, argparse.Namespace], Figures]


def parser(doc: str | None, **numbers: int) -> argparse.ArgumentParser:
    """Return the options of a benchmark: whole numbers with what they are unless told.

    `doc` is its module's; the first line describes it.
    """
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    for name, usual in numbers.items():
        made.add_argument(f"--{name}", type=int, default=usual)
    return made


def run(
    options: argparse.Namespace, measure: Measure, tell: Callable[[Figures], None]
) -> None:
    """Measure a private instance and print the figures; the last line is JSON."""
    with harness.short_folder() as folder:
        running = harness.Instance(folder / "data")
        running.start()
        try:
            speak_to(str(running.data_dir))
            figures = measure(running, options)
        finally:
            # What was measured stands, however long the instance takes to stop.
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.stop()
    tell(figures)
    print(json.dumps(figures))


def speak_to(data_dir: str | None = None) -> None:
    """Let this process use the product's own functions on an instance.

    Without a folder it is the one that AFORO_DATA_DIR names.
    """
    if data_dir is not None:
        os.environ["AFORO_DATA_DIR"] = data_dir
    os.environ["DJANGO_SETTINGS_MODULE"] = "aforo.settings"
    importlib.import_module("django").setup()


def percentiles(seconds: Sequence[float], *, places: int = 1) -> dict[str, float]:
    """Return p50, p99 and the longest, in milliseconds."""
    ordered = sorted(seconds)
    found = {
        "p50_ms": ordered[len(ordered) // 2],
        "p99_ms": ordered[len(ordered) * 99 // 100],
        "max_ms": ordered[-1],
    }
    return {name: round(value * 1000, places) for name, value in found.items()}


def one(link: psycopg.Connection[Any], query: str) -> int:
    """Return one number."""
    row = link.execute(query).fetchone()
    assert row is not None
    return int(row[0] or 0)


def wait_until_rated(link: psycopg.Connection[Any], events: int) -> None:
    """Return when every event has its ledger entry.

    Raises RuntimeError when they do not come.
    """
    deadline = time.monotonic() + PATIENCE_S
    waiting = "SELECT EXISTS (SELECT FROM metering_pendingevents)"
    while one(link, f"SELECT ({waiting})::int"):
        if time.monotonic() > deadline:
            left = one(link, "SELECT count(*) FROM metering_pendingevents")
            raise RuntimeError(f"{left} still wait")
        time.sleep(0.01)
    rated = one(
        link, "SELECT count(*) FROM billing_ledgerentry WHERE event_id IS NOT NULL"
    )
    if rated != events:
        raise RuntimeError(f"{events} events have {rated} ledger entries")


def rows_written(link: psycopg.Connection[Any]) -> dict[str, int]:
    """Return the rows inserted and updated so far, by table."""
    link.execute("SELECT pg_stat_clear_snapshot()")
    found = link.execute(
        "SELECT relname, n_tup_ins + n_tup_upd FROM pg_stat_user_tables"
    ).fetchall()
    return {name: int(rows) for name, rows in found}


def cpu_seconds(running: harness.Instance) -> dict[str, float]:
    """Return the CPU time used so far by each part, this client among them.

    It says what the wall clock cannot on a machine that has other work.
    """
    used = {"client": time.process_time()}
    for part in ("web", "worker", "postgres", "redis"):
        used[part] = 0.0
        for process in running.tree(part):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used[part] += times.user + times.system
    return used


def cpu_us_since(
    running: harness.Instance, before: dict[str, float], count: int
) -> dict[str, int]:
    """Return the CPU time of each part since then, in microseconds for each of many."""
    return {
        part: round((seconds - before[part]) / count * 1e6)
        for part, seconds in cpu_seconds(running).items()
    }
