"""What the guard decided, when it was not a plain yes, and what margins came to."""

from __future__ import annotations

from guard.models.control import ObserveOnly, Override
from guard.models.decisions import Decision, DoorCount
from guard.models.margins import Level, MarginChange, MarginLevel, Scope

__all__ = [
    "Decision",
    "DoorCount",
    "Level",
    "MarginChange",
    "MarginLevel",
    "ObserveOnly",
    "Override",
    "Scope",
]
