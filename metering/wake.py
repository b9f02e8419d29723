"""Telling the workers that events wait; the queue itself is in Postgres."""

from __future__ import annotations

import functools
import logging
import threading
import time

import redis
from celery import current_app
from django.conf import settings

logger = logging.getLogger(__name__)

TASK = "metering.rate"
# One message per process and pause is enough: it is for everybody who waits. A pause is
# short after a message went out, because its worker is free and the next event would
# wait; it is long when one still waits for a worker, who will read what came since.
PAUSE_S = 0.005
BUSY_PAUSE_S = 0.025
# While a message waits for a worker, another would only tell the same.
MARK = "aforo:wake"
# A message that was lost together with its worker silences the others so long.
MARK_MS = 1000
TIMEOUT_S = 1


@functools.cache
def _broker() -> redis.Redis:
    return redis.Redis.from_url(settings.BROKER_URL, socket_timeout=TIMEOUT_S)


class Waker:
    """A thread that sends one message for all that came since it last sent.

    Whoever has committed events calls `notify`; a worker that has taken the message
    reads the queue afterwards, so it sees them. A message that is lost costs time
    only: the sweep finds the events by their age.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._added = threading.Event()
        self._thread: threading.Thread | None = None

    def notify(self) -> None:
        """Have a worker told that events wait; returns at once."""
        with self._lock:
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
            time.sleep(PAUSE_S if _send() else BUSY_PAUSE_S)


def _send() -> bool:
    """Send a message unless one waits; a broker that is away is only logged."""
    try:
        if _broker().set(MARK, 1, nx=True, px=MARK_MS):
            current_app.send_task(TASK, retry=False)
            return True
    except Exception as error:
        # Whatever the transport raises: the request was answered long ago.
        logger.warning("workers were not woken: %s", type(error).__name__)
    return False


def taken() -> None:
    """Let the next events send a message: this one has found its worker."""
    try:
        _broker().delete(MARK)
    except redis.RedisError as error:
        logger.warning("the next message may wait: %s", type(error).__name__)


_waker = Waker()
notify = _waker.notify
