"""Runs a whole Aforo of its own, as `manage.py up` does, and hurts it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from aforo.embedded import state
from aforo.embedded.process import die_with_parent

ROOT = Path(__file__).resolve().parent.parent
READY_S_MAX = 240  # A bound for a machine that does much else, not a promise.
STOP_S_MAX = 40
# What this process was given must not reach an instance that brings its own.
OURS = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "PYTEST_CURRENT_TEST")


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Yield a new folder below /tmp, removed afterwards, whoever owns what is in it."""
    folder = Path(tempfile.mkdtemp(prefix="aforo-run-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clean_env(**extra: str) -> dict[str, str]:
    """Return our environment without what names the test run's own services."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in OURS and not name.startswith(("AFORO_", "PYTEST_XDIST"))
    }
    return kept | extra


class Instance:
    """One `manage.py up` in a folder of its own.

    `env` is added to the environment of the whole tree (fault points, clocks);
    `args` are further options of `up`; `popen` goes to subprocess (user, group).
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        env: Mapping[str, str] | None = None,
        args: tuple[str, ...] = ("--no-demo",),
        **popen: Any,
    ) -> None:
        """Name the instance; nothing is started."""
        self.data_dir = data_dir
        self.env = dict(env or {})
        self.args = args
        self.popen = popen
        self.process: subprocess.Popen[str] | None = None

    @property
    def output(self) -> Path:
        """What `up` printed."""
        return self.data_dir.with_name(f"{self.data_dir.name}.out")

    def start(self, *, wait: bool = True) -> None:
        """Start the tree, by default until it is ready.

        Raises RuntimeError with what `up` printed when it ends or takes too long.
        """
        if self.process is not None:
            self.process.wait(timeout=5)  # An earlier run, already over.
        command = [sys.executable, "manage.py", "up", "--data-dir", str(self.data_dir)]
        with open(self.output, "w") as out:
            self.process = subprocess.Popen(
                [*command, "--port", "0", *self.args],
                cwd=ROOT,
                env=clean_env(**self.env),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGTERM),
                text=True,
                **self.popen,
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when the run file of this very process says that all is up."""
        assert self.process is not None
        deadline = time.monotonic() + READY_S_MAX
        while not (
            self.run.get("ready") and self.pids.get("supervisor") == self.process.pid
        ):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill_tree()
                raise RuntimeError(
                    f"not ready:\n{self.output.read_text()}{self.logs()}"
                )
            time.sleep(0.1)

    @property
    def run(self) -> dict[str, Any]:
        """The run file as it is now."""
        return state.read_run(self.data_dir)

    @property
    def url(self) -> str:
        """Where the web server listens."""
        return str(self.run["web_url"])

    @property
    def database_url(self) -> str:
        """The database as its owner."""
        return str(self.run["database_url"])

    @property
    def redis_url(self) -> str:
        """The Redis server, without a database number."""
        return str(self.run["redis_url"])

    @property
    def pids(self) -> dict[str, int]:
        """First process of supervisor, postgres, redis, web, worker and beat."""
        return dict(self.run.get("pids", {}))

    def tree(self, name: str = "supervisor") -> list[psutil.Process]:
        """Return a part's first process and all below it."""
        first = psutil.Process(self.pids[name])
        return [first, *first.children(recursive=True)]

    def kill9(self, name: str) -> int:
        """Kill -9 a part with all its processes, and return the old first pid.

        One that is just being started again, after the death of another, is waited for.
        """
        pid = self._started_anew(name, None)
        _kill(self.tree(name))
        return pid

    def wait_for_restart(self, name: str, old_pid: int, *, seconds: float = 30) -> None:
        """Return when the supervisor has started a part again."""
        self._started_anew(name, old_pid, seconds=seconds)

    def _started_anew(
        self, name: str, old_pid: int | None, *, seconds: float = 30
    ) -> int:
        """Return the first pid of a part that runs, once it is another than the old.

        Raises RuntimeError with the end of the logs when it takes too long.
        """
        deadline = time.monotonic() + seconds
        while (pid := self.pids.get(name)) is None or pid == old_pid:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} was not restarted:\n{self.logs()}")
            time.sleep(0.05)
        return pid

    def kill_tree(self) -> None:
        """Kill -9 everything at once, as a power cut would."""
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.process.pid)
            _kill([first, *first.children(recursive=True)])
        self.process.wait()

    def stop(self) -> int | None:
        """Press Ctrl-C once and return the exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=STOP_S_MAX)
        finally:
            self.kill_tree()
            self.output.unlink(missing_ok=True)

    def manage(self, *args: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a management command against this instance."""
        return subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=ROOT,
            env=clean_env(AFORO_DATA_DIR=str(self.data_dir), **self.env, **extra),
            capture_output=True,
            text=True,
        )

    def logs(self, lines: int = 15) -> str:
        """Return the end of every log."""
        parts = []
        for log in sorted(self.data_dir.glob("logs/*.log")):
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
            parts.append(f"--- {log.name}\n{tail}")
        return "\n".join(parts)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)
