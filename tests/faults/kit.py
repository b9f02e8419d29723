"""What the fault scenarios share: load on an Aforo, and programs run beside it."""

from __future__ import annotations

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from aforo.embedded import binaries
from tests import harness
from tests.faults.proxy import Proxy
from tests.scenarios import stage as scene
from tests.scenarios.stage import Lost, Reply, Stage, until


def beside(stage: Stage, module: str, *args: str) -> Any:
    """Run a module against the stage's instance and return the JSON that it prints."""
    answer = subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=harness.ROOT,
        env=harness.clean_env(
            AFORO_DATA_DIR=str(stage.instance.data_dir),
            DJANGO_SETTINGS_MODULE="aforo.settings",
            **stage.instance.env,
        ),
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


class Busy:
    """Calls a function from threads until the block ends; an error fails the block.

    `call` gets the thread's number and how many calls that thread made before.
    """

    def __init__(self, call: Callable[[int, int], object], threads: int) -> None:
        self._call = call
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(number,))
            for number in range(threads)
        ]
        self.calls = 0

    def _run(self, thread: int) -> None:
        count = 0
        while not self._stop.is_set():
            try:
                self._call(thread, count)
            except Lost:
                time.sleep(0.05)
            except BaseException as error:
                self._errors.append(error)
                return
            count += 1
            self.calls += 1

    def __enter__(self) -> Busy:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if kind is None and self._errors:
            raise self._errors[0]


class Server:
    """A Redis of the wheel, that may be killed, filled up and emptied."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self.path = folder / f"{name}.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on the data that it has, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                str(binaries.find_valkey().path),
                *("--port", "0", "--save", "", "--appendonly", "yes"),
                *("--unixsocket", str(self.path), "--dir", str(self._folder)),
                *("--maxmemory-policy", "noeviction", "--busy-reply-threshold", "50"),
            ],
            stdout=subprocess.DEVNULL,
        )

        def answers() -> bool:
            try:
                return bool(self.client().ping())
            except redis.RedisError:
                return False

        until(answers, "the server answers")

    def client(self, **options: Any) -> redis.Redis:
        """Return a client of its guard database."""
        return redis.Redis(unix_socket_path=str(self.path), **options)

    def kill9(self, *, forget: bool = False) -> None:
        """Kill it, and with `forget` lose what it had."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        if forget:
            for file in (self._folder / "appendonlydir").iterdir():
                file.unlink()


class Line:
    """One kept connection to the web server, to time calls without connecting."""

    def __init__(self, stage: Stage) -> None:
        address = urllib.parse.urlsplit(stage.instance.url).netloc
        self._link = http.client.HTTPConnection(address, timeout=30)

    def check(self, secret: str, **members: Any) -> tuple[Reply, float]:
        """Ask, and return the answer with the seconds that it took."""
        headers = {
            "Authorization": f"Bearer {secret}",
            "Content-Type": "application/json",
        }
        started = time.perf_counter()
        try:
            self._link.request("POST", "/v1/check", json.dumps(members), headers)
            answer = self._link.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._link.close()
            raise Lost(repr(error)) from error
        took = time.perf_counter() - started
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, named, json.loads(text)), took

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()

    def median_s(self, secret: str, count: int = 101) -> float:
        """Return how long a call takes in the middle of so many."""
        return statistics.median(self.check(secret)[1] for _ in range(count))


class Scene:
    """An Aforo whose guard has a Redis of its own, behind a network that can fail."""

    def __init__(self, stage: Stage, proxy: Proxy, server: Server) -> None:
        self.stage, self.proxy, self.server = stage, proxy, server

    def until_judged(self, secret: str, status: int = 200) -> None:
        """Return when the edge itself answers, with this status."""

        def judged() -> bool:
            reply = self.stage.call("/v1/check", secret, {})
            return reply.status == status and not reply.json.get("degraded")

        until(judged, f"the edge answered {status}")

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return rows of the database."""
        return self.stage.rows(statement, *values)


@contextlib.contextmanager
def opened(*shops: dict[str, Any]) -> Iterator[Scene]:
    """Run an Aforo with these shops; its guard reaches its Redis by the proxy."""
    with harness.short_folder() as folder:
        server = Server(folder, "guard")
        server.start()
        try:
            with (
                Proxy(folder / "proxy.sock", server.path) as proxy,
                scene.opened(
                    *shops, AFORO_GUARD_REDIS_URL=f"unix://{proxy.path}?db=0"
                ) as stage,
            ):
                yield Scene(stage, proxy, server)
        finally:
            server.kill9()
