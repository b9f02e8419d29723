"""The one clock: every 'now' of the product comes from here."""

from __future__ import annotations

import contextvars
import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager

# A process may be told to live at another time (AFORO_CLOCK_OFFSET_S, fault tests
# and sandboxes); a block of code may be told so with travel().
_process_offset = dt.timedelta(seconds=int(os.environ.get("AFORO_CLOCK_OFFSET_S", "0")))
_offset: contextvars.ContextVar[dt.timedelta | None] = contextvars.ContextVar(
    "aforo_clock_offset", default=None
)


def now() -> dt.datetime:
    """Return the current instant, aware, in UTC."""
    offset = _offset.get()
    real = dt.datetime.now(dt.UTC)  # noqa: TID251 - the one place that may
    return real + (_process_offset if offset is None else offset)


@contextmanager
def travel(to: dt.datetime) -> Iterator[None]:
    """Make now() start at `to` inside the block."""
    real = dt.datetime.now(dt.UTC)  # noqa: TID251
    token = _offset.set(to - real)
    try:
        yield
    finally:
        _offset.reset(token)
