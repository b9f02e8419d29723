"""Fault points: places where tests may kill the process, and nothing else.

AFORO_CRASH=name:nth kills the process (SIGKILL) when it reaches the point for the
nth time. AFORO_CRASH=@file reads the point from a file at every visit, so that a
whole tree of processes can be armed while it runs: `name` kills, `name:STOP` sends
SIGSTOP; whoever is hit removes the file first, so it strikes once. Unset, a point
costs one comparison.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

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


_setting = os.environ.get("AFORO_CRASH", "")
_file = Path(_setting[1:]) if _setting.startswith("@") else None
_name, _left = ("", 0) if _file else _target(_setting)


def crashpoint(name: str) -> None:
    """Die here if this is the visit that AFORO_CRASH names."""
    global _left
    if _file is not None:
        _look(_file, name)
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def _look(file: Path, name: str) -> None:
    """Send ourselves the signal that the file has for this point, once."""
    try:
        point, _, word = file.read_text().partition(":")
        if point != name:
            return
        file.unlink()
    except FileNotFoundError:
        return  # Nothing is armed, or another process was hit.
    os.kill(os.getpid(), signal.Signals[f"SIG{word or 'KILL'}"])
