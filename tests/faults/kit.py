"""What the fault scenarios share: load on an Aforo, and programs run beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tests import harness
from tests.scenarios.stage import Lost, Stage


def beside(stage: Stage, module: str, *args: str) -> Any:
    """Run a module against the stage's instance and return the JSON that it prints."""
    answer = subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=harness.ROOT,
        env=harness.clean_env(
            AFORO_DATA_DIR=str(stage.instance.data_dir),
            DJANGO_SETTINGS_MODULE="aforo.settings",
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
