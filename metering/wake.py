"""Telling the workers that a customer has events; the queue itself is in Postgres."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from uuid import UUID

from celery import current_app

logger = logging.getLogger(__name__)

TASK = "metering.rate"
# One message per process and interval is enough: it names everybody who waits.
INTERVAL_S = 0.025
CUSTOMERS_MAX = 50  # In one message: many small ones are shared among workers.


class Waker:
    """A thread that sends what was added since it last sent.

    Customers are added after their commit and leave the set before the message goes
    out, so none waits longer than an interval. A message that is lost costs time
    only: the sweep finds the events by their age.
    """

    def __init__(self) -> None:
        self._waiting: set[UUID] = set()
        self._lock = threading.Lock()
        self._added = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, customer_ids: Iterable[UUID]) -> None:
        """Have the workers told about customers; returns at once."""
        with self._lock:
            self._waiting.update(customer_ids)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="aforo-wake", daemon=True
                )
                self._thread.start()
        self._added.set()

    def _run(self) -> None:
        while True:
            self._added.wait()
            self._added.clear()
            with self._lock:
                waiting, self._waiting = sorted(self._waiting), set()
            for start in range(0, len(waiting), CUSTOMERS_MAX):
                _send([str(key) for key in waiting[start : start + CUSTOMERS_MAX]])
            time.sleep(INTERVAL_S)


def _send(customer_ids: list[str]) -> None:
    """Send one message; a broker that is away is only logged."""
    try:
        current_app.send_task(TASK, args=[customer_ids], retry=False)
    except Exception as error:
        # Whatever the transport raises: the request was answered long ago.
        logger.warning("workers were not woken: %s", type(error).__name__)


_waker = Waker()
add = _waker.add
