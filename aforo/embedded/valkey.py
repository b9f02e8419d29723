"""The bundled Valkey: every write kept in an append-only file, nothing evicted."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import redis

from aforo.embedded import binaries
from aforo.embedded.process import Unit, end_left_over
from aforo.embedded.state import Home, LauncherError, make_private

SETTINGS: Mapping[str, str] = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    # Guard state and tasks may be refused, never silently dropped.
    "maxmemory-policy": "noeviction",
}


def unit(home: Home, settings: Mapping[str, str]) -> Unit:
    """Return Valkey ready to be started; `settings` overrides SETTINGS."""
    program = binaries.runnable(binaries.find_valkey(), home)
    data = home.services / "redis"
    make_private(data, home.account)
    pid_file = data / "redis.pid"
    own = {
        "dir": str(data),
        "pidfile": str(pid_file),
        "unixsocket": str(_socket(home)),
    }
    command = [str(program)]
    for name, value in {**SETTINGS, **own, **settings}.items():
        command += [f"--{name}", value]
    return Unit(
        name="redis",
        command=command,
        log=home.logs / "redis.log",
        env={"LC_ALL": "C", "TZ": "UTC"},
        cwd=data,
        account=home.account,
        stop_signal=signal.SIGTERM,
        stop_s=5.0,
        orphan_signal=signal.SIGTERM,
        # Two servers must never append to one file.
        before=lambda: end_left_over(data, program.name, (pid_file,), signal.SIGTERM),
    )


def _socket(home: Home) -> Path:
    return home.sockets / "redis.sock"


def url(home: Home) -> str:
    """Return the REDIS_URL, without a database number."""
    return f"unix://{_socket(home)}"


def wait_until_ready(home: Home, pause: Callable[[float], None], unit: Unit) -> None:
    """Return when Valkey has read its file and answers.

    Raises LauncherError with the end of its log when it does not within 60 s.
    """
    deadline = time.monotonic() + 60
    with redis.Redis(unix_socket_path=str(_socket(home)), socket_timeout=2) as client:
        while True:
            try:
                client.ping()
                return
            except redis.RedisError as error:
                if time.monotonic() > deadline or not unit.alive:
                    raise LauncherError(
                        f"Redis does not answer: {error}\n{unit.last_words()}"
                    ) from error
            pause(0.05)
