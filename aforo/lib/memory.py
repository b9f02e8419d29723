"""How a process treats its memory while it works on a batch."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector out of the block, unless somebody else does.

    What a batch is made of is no cycle and goes with it; the collector would look
    through all that was made so far again and again, for a third of the time that
    rating takes.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
