"""Sends the month of history through the doors, in parts that can be taken up again."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import psycopg
from django.db import InterfaceError, OperationalError, connection

from aforo.core.models import Tenant
from aforo.demo import history, scenes, stretch, traffic
from aforo.demo.calls import Call
from aforo.demo.door import Door, Stopped
from aforo.demo.progress import Progress
from aforo.demo.state import State
from aforo.lib import sql
from metering import pipeline

# Small batches: the server answers checks between them.
CHUNK = 100
THREADS = 3
# History is reported, not asked for: the guard's answer is about now. A part of it
# is asked all the same, so that holds are made and settled; see docs/demo.md.
ASK_EVERY = 10
SAVE_EVERY_S = 1.0
# The worker rates hundreds of events a second; so long without one is a fault.
RATING_PATIENCE_S = 120.0


class RatingStuck(RuntimeError):
    """Events wait and nobody rates them."""


def prefix_of(tenant: Tenant) -> str:
    """Return what the ids of the tenant's demo events begin with."""
    return f"demo:{tenant.tag}"


def plan(prefix: str, end: dt.datetime) -> list[Call]:
    """Return every call of the month before an instant, in the order of time."""
    month = stretch.month_before(end)
    middle = month.start + history.LENGTH / 2

    def clock(at_ms: int) -> dt.datetime:
        return month.at(at_ms, traffic.HOUR_MS)

    calls = [
        *traffic.conversation(prefix, clock),
        *traffic.code_completion(prefix, clock, switch_at=middle),
        *traffic.sessions(prefix, clock),
        *traffic.searches(prefix, clock),
        *scenes.every(prefix, end),
    ]
    return sorted(calls, key=lambda call: (call.at, call.id))


@dataclass(slots=True)
class Sender:
    """Sends the chunks of a history that its state does not have yet."""

    calls: Sequence[Call]
    door: Door
    state: State
    _running: dict[Future[set[int]], int] = field(default_factory=dict)
    _done: set[int] = field(default_factory=set)  # After state.chunks_done.

    @property
    def chunk_count(self) -> int:
        """How many chunks the whole history has."""
        return -(-len(self.calls) // CHUNK)

    @property
    def sent(self) -> int:
        """How many calls are done without a gap."""
        return min(self.state.chunks_done * CHUNK, len(self.calls))

    def run(self, bar: Progress) -> bool:
        """Send what is left; return whether all of it was sent.

        Stopping (door.stop, or Ctrl-C) keeps what was done: chunks that were under
        way are sent again later, and the doors know their ids.
        """
        with ThreadPoolExecutor(THREADS, thread_name_prefix="demo") as pool:
            try:
                self._work(pool, bar)
            except (KeyboardInterrupt, Stopped):
                pass
            finally:
                self.door.stop.set()
                self.state.save()
        bar.show(self.sent, last=True)
        return self.state.chunks_done == self.chunk_count

    def _work(self, pool: ThreadPoolExecutor, bar: Progress) -> None:
        """Keep the threads busy until every chunk is done."""
        waiting = iter(range(self.state.chunks_done, self.chunk_count))
        saved_at = time.monotonic()
        while True:
            for number in itertools.islice(waiting, 2 * THREADS - len(self._running)):
                self._running[pool.submit(self._send_chunk, number)] = number
            if not self._running:
                return
            finished, _ = wait(self._running, 0.2, return_when=FIRST_COMPLETED)
            for future in finished:
                self.state.denied |= future.result()
                self._done.add(self._running.pop(future))
            while self.state.chunks_done in self._done:
                self._done.remove(self.state.chunks_done)
                self.state.chunks_done += 1
            bar.show(self.sent)
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                self.state.save()
                saved_at = time.monotonic()

    def _send_chunk(self, number: int) -> set[int]:
        """Ask and report one chunk; return the places of calls that were refused."""
        made, denied = [], set()
        first = number * CHUNK
        for place in range(first, min(first + CHUNK, len(self.calls))):
            if self.door.stop.is_set():
                raise Stopped
            call = self.calls[place]
            if place in self.state.denied:
                continue
            if call.must_ask:
                if not self.door.ask(call, wait=True).passes:
                    denied.add(place)
                    continue
            elif place % ASK_EVERY == 0:
                self.door.ask(call, wait=False)
            made.append(call)
        if made:
            self.door.report(made)
        return denied


PENDING = """
SELECT COALESCE(sum(cardinality(event_ids)), 0) FROM metering_pendingevents
WHERE tenant_id = %b
"""


def wait_until_rated(
    tenant: Tenant, progress: Callable[[int], Progress], *, in_worker: bool = False
) -> None:
    """Return when every event of the tenant is rated.

    `in_worker` says that this process is one of the workers, perhaps the only one: it
    rates too. Raises RatingStuck when nothing moves.
    """
    total = left = _pending(tenant) or 0
    bar = progress(total)
    moved_at = time.monotonic()
    while left:
        if in_worker:
            pipeline.rate()
        time.sleep(0.2)
        now_left = _pending(tenant)
        if now_left is not None and now_left < left:
            moved_at = time.monotonic()
        if time.monotonic() - moved_at > RATING_PATIENCE_S:
            raise RatingStuck(f"{left:,} events wait to be rated. Does a worker run?")
        left = left if now_left is None else now_left
        bar.show(max(0, total - left))
    if total:
        bar.show(total, last=True)


def _pending(tenant: Tenant) -> int | None:
    """Return how many events wait; None while the database cannot be asked."""
    try:
        with sql.cursor() as cursor:
            row = cursor.execute(PENDING, [tenant.pk]).fetchone()
    except (OperationalError, InterfaceError, psycopg.OperationalError):
        connection.close()
        return None
    assert row is not None, "a sum has a row"
    return int(row[0])
