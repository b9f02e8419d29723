"""What the machine itself does to a server that works as long per request.

One process works for a given processor time at a fixed pace, with no socket, no store
and no other program: what its latencies exceed that time by is the machine's doing
(a host that takes the processor away). No server with one process can stay below it.

    python -m bench.machine RATE MICROSECONDS SECONDS
"""

from __future__ import annotations

import json
import sys
import time


def work(seconds: float) -> None:
    """Use processor time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def latencies(*, rate: int, work_s: float, seconds: float) -> list[float]:
    """Return how long after it was due each piece of work was done, sorted."""
    start, found = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        due = start + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        work(work_s)
        found.append(time.perf_counter() - due)
    return sorted(found)


def main() -> None:
    """Print p50 and p99 in milliseconds as JSON."""
    rate, micros, seconds = map(float, sys.argv[1:])
    found = latencies(rate=int(rate), work_s=micros / 1e6, seconds=seconds)
    print(
        json.dumps(
            {
                "p50_ms": round(found[len(found) // 2] * 1000, 3),
                "p99_ms": round(found[len(found) * 99 // 100] * 1000, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
