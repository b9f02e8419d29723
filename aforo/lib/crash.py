"""Fault points: places where tests may kill the process, and nothing else.

AFORO_CRASH=name:nth kills the process (SIGKILL) when it reaches the point for the
nth time. Unset, a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

# Every point by name; a test fails when one is never reached.
POINTS = frozenset(
    {
        "ingest.before",
        "ingest.in_txn",
        "ingest.committed",
        "rate.claimed",
        "rate.in_txn",
        "rate.committed",
        "relay.published",
        "invoice.close",
        "invoice.lock",
        "invoice.lines",
        "invoice.tax",
        "invoice.number",
        "invoice.finalised",
        "invoice.committed",
        "invoice.pdf",
    }
)


class UnknownPoint(ValueError):
    """AFORO_CRASH, or a call, names a point that is not in POINTS."""


def _target(text: str) -> tuple[str, int]:
    """Return which point is meant and its how-manieth visit.

    Raises UnknownPoint for a name that is not in POINTS.
    """
    name, _, nth = text.partition(":")
    if name and name not in POINTS:
        raise UnknownPoint(name)
    return name, int(nth or 1)


_name, _left = _target(os.environ.get("AFORO_CRASH", ""))


def crashpoint(name: str) -> None:
    """Die here if this is the visit that AFORO_CRASH names."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
