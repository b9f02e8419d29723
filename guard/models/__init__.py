"""What the guard decided, when it was not a plain yes."""

from __future__ import annotations

from guard.models.control import ObserveOnly, Override
from guard.models.decisions import Decision, DoorCount

__all__ = ["Decision", "DoorCount", "ObserveOnly", "Override"]
