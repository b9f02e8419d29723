"""What the guard decided, when it was not a plain yes."""

from __future__ import annotations

from guard.models.decisions import Decision, DoorCount, RuleCount

__all__ = ["Decision", "DoorCount", "RuleCount"]
