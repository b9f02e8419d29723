"""Sends the recorded hour again and again as traffic of now, at a chosen speed."""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

from aforo.core.models import Tenant
from aforo.demo import replay, traffic
from aforo.demo.calls import Call, stamp
from aforo.demo.door import Door, Stopped
from aforo.demo.replay import THREADS
from aforo.demo.state import State
from aforo.lib import clock

# Small, so that nothing waits for company: what is due goes.
CHUNK = 40
SAY_EVERY_S = 5.0
# Further behind than this, the replay gives up its schedule and says so.
BEHIND_MS_MAX = 60_000
PASSED = ("allow", "allow unseen", "throttle", "request_id_used")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


Timed = tuple[int, Call]  # Ms into the recording, and what is called then.


def lap(tenant: Tenant, number: int) -> list[Timed]:
    """Return the calls of the recorded hour, with the ids of one lap."""
    prefix = f"{replay.prefix_of(tenant)}:live:{number}"

    def at(ms: int) -> dt.datetime:
        return EPOCH + dt.timedelta(milliseconds=ms)

    calls = [
        *traffic.conversation(prefix, at),
        *traffic.code_completion(prefix, at, switch_at=EPOCH),
        *traffic.sessions(prefix, at, suffix=f"-live-{number}"),
        *traffic.searches(prefix, at),
    ]
    millisecond = dt.timedelta(milliseconds=1)
    timed = [((call.at - EPOCH) // millisecond, call) for call in calls]
    return sorted(timed, key=lambda pair: (pair[0], pair[1].id))


def _now(call: Call) -> Call:
    """Return the call as one that is made at this moment."""
    at = clock.now()
    field_name = "timestamp" if "timestamp" in call.event else "recorded_timestamp"
    event: dict[str, Any] = {**call.event, field_name: stamp(at)}
    return replace(call, at=at, event=event)


@dataclass(slots=True)
class Schedule:
    """Which part of the recording is due now."""

    speed: int
    offset_ms: int  # Where it began.
    started: float = field(default_factory=time.monotonic)

    def due_ms(self, next_ms: int) -> int:
        """Return how far the recording is; far behind, it goes on from `next_ms`."""
        passed_ms = int((time.monotonic() - self.started) * 1_000)
        due_ms = self.offset_ms + passed_ms * self.speed
        if due_ms - next_ms > BEHIND_MS_MAX * self.speed:
            self.started, self.offset_ms = time.monotonic(), next_ms
            return next_ms
        return due_ms


@dataclass(slots=True)
class Live:
    """Live traffic of one tenant until it is stopped."""

    tenant: Tenant
    door: Door
    state: State
    speed: int  # Seconds of the recording in one second.
    say: Callable[[str], object]
    seconds: float | None = None  # None: until somebody stops it.
    # Per agent, until when the guard asked it to be quiet.
    _quiet: dict[str, float] = field(default_factory=dict)
    _running: set[Future[None]] = field(default_factory=set)
    _sent: int = 0
    _began: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Send until Ctrl-C, or until the time is up; then the state says where."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="demo") as pool:
            try:
                while not self._is_over():
                    self._lap(pool)
            except (KeyboardInterrupt, Stopped):
                pass
            finally:
                wait(self._running, 10.0)
                self.door.stop.set()
                self.state.save()

    def _is_over(self) -> bool:
        """Say whether the time is up."""
        spent = time.monotonic() - self._began
        return self.seconds is not None and spent >= self.seconds

    def _lap(self, pool: ThreadPoolExecutor) -> None:
        """Send the rest of the recorded hour, each call when it is due.

        Every lap, and every run within one, has ids of its own: nothing that was
        sent before is sent again under another time.
        """
        number, self.state.laps = self.state.laps, self.state.laps + 1
        self.state.save()
        timed = lap(self.tenant, number)
        left = deque(pair for pair in timed if pair[0] >= self.state.lap_ms)
        schedule = Schedule(self.speed, self.state.lap_ms)
        while left and not self._is_over():
            due_ms = schedule.due_ms(left[0][0])
            due: list[Call] = []
            while left and left[0][0] <= due_ms and len(due) < CHUNK:
                due.append(left.popleft()[1])
            if due:
                self._submit(pool, due)
            elif self.door.stop.wait(0.02):
                raise Stopped
            if left:
                self.state.lap_ms = left[0][0]
                self._say(due_ms - left[0][0])
        if not left:
            self.state.lap_ms = 0

    def _submit(self, pool: ThreadPoolExecutor, calls: Sequence[Call]) -> None:
        """Hand calls to a thread; wait while all of them are busy."""
        while len(self._running) >= 2 * THREADS:
            finished, _ = wait(self._running, 1.0, return_when=FIRST_COMPLETED)
            for future in finished:
                self._running.discard(future)
                future.result()
        self._running.add(pool.submit(self._send, calls))
        self._sent += len(calls)

    def _send(self, calls: Sequence[Call]) -> None:
        """Ask for each call; report those that the guard lets pass."""
        made = []
        for due in calls:
            call = _now(due)
            if self._quiet.get(call.actor.agent, 0.0) > time.monotonic():
                self.door.tally.held_back += 1
                continue
            answer = self.door.ask(call, wait=False)
            if answer.passes:
                made.append(call)
            elif answer.retry_after_s:
                until = time.monotonic() + answer.retry_after_s
                self._quiet[call.actor.agent] = until
        if made:
            self.door.report(made)

    def _say(self, behind_ms: int) -> None:
        """Say how it goes and keep where it is, every few seconds."""
        now = time.monotonic()
        if now - self._said < SAY_EVERY_S:
            return
        self._said = now
        self.state.save()
        tally = self.door.tally
        refused = tally.asked.total() - sum(tally.asked[code] for code in PASSED)
        rate = self._sent / (now - self._began)
        line = f"  live      {self._sent:,} calls, {rate:,.0f}/s, {refused:,} refused,"
        line += f" {tally.held_back:,} held back"
        if behind_ms > 2_000 * self.speed:
            line += f"; {behind_ms // self.speed // 1_000} s behind speed {self.speed}"
        self.say(line)
