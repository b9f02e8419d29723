"""Keeps units running until somebody asks to stop, then stops them in order."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from aforo.embedded.process import Unit

BACKOFF_S_MIN = 0.25
BACKOFF_S_MAX = 10.0
STABLE_S = 30.0  # After running this long a failure counts as the first.


class StopAsked(Exception):
    """Somebody asked to stop while something was waited for."""


class Signals:
    """Counts requests to stop, and wakes a wait up when one comes or a child ends."""

    def __init__(self) -> None:
        """Take over the signals of this process; call it from the main thread."""
        self.asked = 0
        self._wakes, writer = os.pipe()
        os.set_blocking(self._wakes, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._ask)
        signal.signal(signal.SIGCHLD, lambda _signum, _frame: None)

    def _ask(self, _signum: int, _frame: FrameType | None) -> None:
        self.asked += 1

    def wait(self, seconds: float, *, asked_max: int = 0) -> None:
        """Wait, less when a signal comes.

        Raises StopAsked when more than `asked_max` requests have come.
        """
        ready, _, _ = select.select([self._wakes], [], [], seconds)
        if ready:
            os.read(self._wakes, 4096)
        if self.asked > asked_max:
            raise StopAsked


@dataclass(slots=True)
class _Watched:
    """A unit and when it may next be started."""

    unit: Unit
    started_at: float
    failures: int = 0
    restart_at: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Restarts units that end, with growing patience.

    `changed` is called with the process ids whenever one of them changed, `say` with
    a line for the person at the terminal.
    """

    signals: Signals
    say: Callable[[str], None]
    changed: Callable[[dict[str, int]], None]
    watched: list[_Watched] = field(default_factory=list)

    def add(self, unit: Unit) -> None:
        """Take charge of a unit that was started."""
        self.watched.append(_Watched(unit, time.monotonic()))
        self._report()

    def run(self) -> None:
        """Return when somebody asked to stop."""
        try:
            while True:
                self.signals.wait(self._patience_s())
                for watched in self.watched:
                    self._look_after(watched)
        except StopAsked:
            return

    def _patience_s(self) -> float:
        """Return how long nothing can happen without a signal."""
        due = [w.restart_at for w in self.watched if w.restart_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else 5.0

    def _look_after(self, watched: _Watched) -> None:
        """Notice the end of a unit, or start it again when its time has come."""
        unit, now = watched.unit, time.monotonic()
        if unit.alive:
            return
        if watched.restart_at is None:
            unit.sweep()
            if now - watched.started_at >= STABLE_S:
                watched.failures = 0
            watched.failures += 1
            delay = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2 ** (watched.failures - 1))
            watched.restart_at = now + delay
            code = unit.process.returncode if unit.process else None
            self.say(f"{unit.name} ended ({_how(code)}); again in {delay:g} s")
            self._report()
        elif now >= watched.restart_at:
            watched.started_at, watched.restart_at = now, None
            unit.start()
            self._report()

    def _report(self) -> None:
        pids = {w.unit.name: w.unit.pid for w in self.watched}
        self.changed({name: pid for name, pid in pids.items() if pid})

    def stop(self) -> None:
        """Stop the last unit first; a second request kills what is left."""
        try:
            for watched in reversed(self.watched):
                watched.unit.stop(self._wait_while_stopping)
        except StopAsked:
            for watched in reversed(self.watched):
                watched.unit.kill()
        self._report()

    def _wait_while_stopping(self, seconds: float) -> None:
        self.signals.wait(seconds, asked_max=1)


def _how(code: int | None) -> str:
    """Say how a process ended."""
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
