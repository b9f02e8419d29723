"""Child processes that stop with us, whatever happens to us."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
LOGS_KEPT = 3
LEFT_OVER_S_MAX = 10
COMM_LENGTH = 15  # The kernel keeps no more of a program's name.

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged identity that services run as when we are root."""

    uid: int
    gid: int


def die_with_parent(signum: int) -> None:
    """Ask the kernel to send this process a signal when its parent's thread ends.

    Linux only; elsewhere the next start stops what is left over.
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0)


def bind_to_parent() -> None:
    """Make a supervised process and every process that it forks end with its parent.

    The kernel forgets the request at fork, so a pool child must ask for itself;
    without this a kill -9 of the worker's first process leaves its pool behind.
    """
    if os.environ.get("AFORO_SUPERVISED") != "1":
        return
    die_with_parent(signal.SIGKILL)
    os.register_at_fork(after_in_child=lambda: die_with_parent(signal.SIGKILL))


def pause(seconds: float) -> None:
    """Wait for something outside that sends no signal."""
    time.sleep(seconds)


def end_left_over(
    folder: Path, name: str, pid_files: Sequence[Path], stop: signal.Signals
) -> None:
    """End what a dead supervisor left running in a folder, and drop its pid files.

    Two servers must never write to one folder, and after a kill -9 the number in a
    pid file may be another program's, which a server would take for itself and
    refuse to start. So what counts is who works in the folder. The caller holds the
    data folder's lock: no living supervisor owns what is found.
    """
    if not Path("/proc/self/cwd").exists():
        return  # Not Linux: the server's own check of its pid file must do.
    asked: set[int] = set()
    deadline = time.monotonic() + LEFT_OVER_S_MAX
    while left := _programs_in(folder, name):
        # Once each: a second SIGINT or SIGTERM makes some servers less careful.
        late = time.monotonic() > deadline
        for pid in left if late else left - asked:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else stop)
        asked |= left
        pause(0.05)
    for pid_file in pid_files:
        pid_file.unlink(missing_ok=True)


def _programs_in(folder: Path, name: str) -> set[int]:
    """Return the processes of a program whose working folder this is."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        # A process may end while it is looked at, or be another user's.
        with suppress(OSError):
            same = os.readlink(entry / "cwd") == str(folder)
            if same and (entry / "comm").read_text().strip() == name[:COMM_LENGTH]:
                found.add(int(entry.name))
    return found


def rotate(log: Path) -> None:
    """Set an old log aside, keeping the last few."""
    for number in range(LOGS_KEPT, 0, -1):
        older = log.with_name(f"{log.stem}.{number}.log")
        newer = log if number == 1 else log.with_name(f"{log.stem}.{number - 1}.log")
        if newer.exists():
            newer.replace(older)


@dataclass(slots=True)
class Unit:
    """One supervised program: how it is started, and how it is asked to stop."""

    name: str
    command: Sequence[str]
    log: Path | None  # None: it writes to our own output
    env: Mapping[str, str]
    cwd: Path
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 5.0  # After this long without an end it is killed.
    kill_signal: signal.Signals = signal.SIGKILL
    # What the kernel sends when we are gone: a database closes its files, anything
    # else is safe to kill and must not wait for a database that is closing.
    orphan_signal: signal.Signals = signal.SIGKILL
    before: Callable[[], None] | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program with its output in its log."""
        if self.before is not None:
            self.before()
        parent = os.getpid()

        def in_child() -> None:
            die_with_parent(self.orphan_signal)
            if os.getppid() != parent:  # We ended before the kernel was asked.
                os._exit(1)

        with self._output() as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own command lines
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                cwd=self.cwd,
                env=dict(self.env),
                user=self.account.uid if self.account else None,
                group=self.account.gid if self.account else None,
                extra_groups=[] if self.account else None,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop in order.
                preexec_fn=in_child,
            )

    def _output(self) -> AbstractContextManager[IO[bytes] | None]:
        if self.log is None:
            return nullcontext()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return open(os.open(self.log, flags, 0o600), "ab")

    @property
    def pid(self) -> int | None:
        """The process id while the program runs."""
        return self.process.pid if self.alive and self.process else None

    @property
    def alive(self) -> bool:
        """Whether the program runs."""
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        """Send the polite signal."""
        if self.alive and self.process:
            self.process.send_signal(self.stop_signal)

    def stop(self, wait: Callable[[float], None] = pause) -> None:
        """Ask the program to stop, and kill it when it has not after `stop_s`."""
        self.ask_to_stop()
        deadline = time.monotonic() + self.stop_s
        while self.alive and time.monotonic() < deadline:
            wait(0.05)
        self.kill()

    def kill(self) -> None:
        """End the program and what it left in its process group."""
        if self.process is None:
            return
        if self.alive:
            self.process.send_signal(self.kill_signal)
            self._reap()
        self.sweep()

    def _reap(self) -> None:
        assert self.process is not None
        try:
            self.process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def sweep(self) -> None:
        """Kill what a program that ended left in its process group."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def last_words(self, lines: int = 6) -> str:
        """Return the end of the log, for an error message."""
        if self.log is None:
            return ""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])
