"""Starts the whole of Aforo as one process tree: what `manage.py up` does."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aforo.embedded import state
from aforo.embedded.process import Unit, rotate
from aforo.embedded.services import Services, open_services
from aforo.embedded.state import LauncherError
from aforo.embedded.supervisor import Signals, StopAsked, Supervisor

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
PORT = 8000
WEB_READY_S_MAX = 120


@dataclass(frozen=True, slots=True)
class Options:
    """How to start."""

    data_dir: Path
    port: int | None  # None: 8000 or, when it is taken, a free one. 0: a free one.
    demo: bool  # Make a demo tenant when there is no tenant.
    workers: int  # processes of the Celery worker
    # Settings of the bundled Postgres beside ours: {"shared_buffers": "1GB"}.
    postgres: Mapping[str, str] = field(default_factory=dict)


def up(options: Options, say: Callable[[str], None]) -> None:
    """Start everything, watch over it, and return when it was stopped.

    Raises LauncherError when it cannot be started.
    """
    services = open_services(options.data_dir, postgres_settings=options.postgres)
    with state.locked(services.home.data):
        state.hand_over(services.home)
        run = _Run(options, services, say)
        try:
            run.start()
            run.supervisor.run()
        except StopAsked:
            say("Asked to stop before everything ran")
        finally:
            run.stop()


class _Run:
    """One run of the tree in one data folder."""

    def __init__(
        self, options: Options, services: Services, say: Callable[[str], None]
    ) -> None:
        self.options = options
        self.services = services
        self.home = services.home
        self.say = say
        self.signals = Signals()
        self.supervisor = Supervisor(self.signals, say, self._remember_pids)
        self._forget()

    def _forget(self) -> None:
        state.update_run(self.home.data, ready=False, pids={}, web_url="")

    def _remember_pids(self, pids: dict[str, int]) -> None:
        state.update_run(self.home.data, pids={"supervisor": os.getpid(), **pids})

    def start(self) -> None:
        """Start the services, prepare the database, start the programs."""
        say, home = self.say, self.home
        say(f"Aforo in {home.data}")
        if self.options.port:
            choose_port(self.options.port)  # Refuse before anything is started.
        try:
            self.services.start(self.signals.wait)
        finally:
            for unit in self.services.units:
                self.supervisor.add(unit)
        for unit in self.services.units:
            say(f"  {unit.name:<9} running in {home.services}")
        state.update_run(home.data, **self.services.facts())
        self._prepare()
        port = choose_port(self.options.port)
        url = f"http://{HOST}:{port}"
        for unit in (
            _beat(home),
            _worker(home, self.options.workers),
            _web(home, port),
        ):
            assert unit.log is not None
            rotate(unit.log)
            unit.start()
            self.supervisor.add(unit)
        self._wait_for_web(port)
        for name in ("worker", "beat"):
            say(f"  {name:<9} running")
        say(f"  web       {url}")
        state.update_run(home.data, web_url=url, ready=True)
        self._welcome(url)

    def _prepare(self) -> None:
        """Run the migrations, and make the demo tenant, in a process of their own."""
        command = [sys.executable, "manage.py", "prepare"]
        unit = Unit(
            name="prepare",
            command=[*command, "--demo"] if self.options.demo else command,
            log=None,
            env=_environment(self.home, role=""),
            cwd=ROOT,
            stop_s=2,
        )
        unit.start()
        try:
            while unit.alive:
                self.signals.wait(5)
        finally:
            unit.stop()
        if unit.process is None or unit.process.returncode:
            raise LauncherError("The database could not be prepared; see above.")

    def _wait_for_web(self, port: int) -> None:
        """Return when the web server answers.

        Raises LauncherError with the log's end when a program ends meanwhile.
        """
        deadline = time.monotonic() + WEB_READY_S_MAX
        while not _answers(port):
            for watched in self.supervisor.watched:
                if not watched.unit.alive or time.monotonic() > deadline:
                    raise LauncherError(
                        f"{watched.unit.name} does not run:\n"
                        f"{watched.unit.last_words(20)}"
                    )
            self.signals.wait(0.1)

    def _welcome(self, url: str) -> None:
        """Print where to go and whom to sign in as."""
        self.say(f"\nOpen {url}")
        run = state.read_run(self.home.data)
        for login in run.get("demo_logins", []):
            self.say(f"  {_login_line(login)}")
        if run.get("demo_service_key"):
            self.say(f"  {'Service key':<16} {run['demo_service_key']}")
        self.say(f"Logs are in {self.home.logs}. Ctrl-C stops everything.")

    def stop(self) -> None:
        """Stop whatever runs and say so in the run file."""
        self.say("Stopping")
        self.supervisor.stop()
        self._forget()
        state.hand_over(self.home)


def _login_line(login: Mapping[str, Any]) -> str:
    """Return a demo login as a line: role, e-mail, password."""
    return f"{login['role']:<16} {login['email']:<32} {login['password']}"


def _environment(home: state.Home, role: str) -> dict[str, str]:
    """Return the environment of a program that uses the database in a role."""
    return {
        **os.environ,
        "AFORO_DATA_DIR": str(home.data),
        "AFORO_DB_ROLE": role,
        "AFORO_SUPERVISED": "1",
        "DJANGO_SETTINGS_MODULE": "aforo.settings",
        "PYTHONUNBUFFERED": "1",
    }


def _program(home: state.Home, name: str, role: str, *args: str, stop_s: float) -> Unit:
    """Return a Python program as a unit."""
    return Unit(
        name=name,
        command=[sys.executable, "-m", *args],
        log=home.logs / f"{name}.log",
        env=_environment(home, role),
        cwd=ROOT,
        stop_s=stop_s,
    )


def _web(home: state.Home, port: int) -> Unit:
    """Return the web server: one process, its loop bare, pages in threads."""
    args = ["granian", "--interface", "asgi", "--workers", "1", "--loop", "auto"]
    args += ["--host", HOST, "--port", str(port), "--backlog", "1024"]
    # Without it one open connection holds a stop for ever.
    args += ["--workers-kill-timeout", "3", "--no-access-log"]
    return _program(home, "web", "web", *args, "aforo.asgi:application", stop_s=5)


def _worker(home: state.Home, processes: int) -> Unit:
    """Return the Celery worker."""
    args = ["celery", "-A", "aforo.celery", "worker", "--loglevel", "WARNING"]
    args += ["--concurrency", str(processes), "--without-gossip", "--without-mingle"]
    args += ["--without-heartbeat"]
    return _program(home, "worker", "worker", *args, stop_s=5)


def _beat(home: state.Home) -> Unit:
    """Return Celery's clock; its memory of past runs is in the data folder."""
    args = ["celery", "-A", "aforo.celery", "beat", "--loglevel", "WARNING"]
    args += ["--pidfile=", "--schedule", str(home.data / "beat-schedule")]
    return _program(home, "beat", "worker", *args, stop_s=1.5)


def choose_port(wanted: int | None) -> int:
    """Return the port to listen on.

    Raises LauncherError when the wanted one is taken.
    """
    if wanted is None:
        return PORT if _is_free(PORT) else choose_port(0)
    if wanted == 0:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            return int(probe.getsockname()[1])
    if not _is_free(wanted):
        raise LauncherError(
            f"Port {wanted} is taken; choose another with --port, or leave it out."
        )
    return wanted


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    """Say whether something speaks HTTP there."""
    link = http.client.HTTPConnection(HOST, port, timeout=5)
    with contextlib.closing(link):
        try:
            link.request("GET", "/healthz")
            link.getresponse()
        except (OSError, http.client.HTTPException):
            return False
    return True
