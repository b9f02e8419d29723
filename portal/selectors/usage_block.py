"""What an event measured, and the provider's usage block that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metering.batch import decode


@dataclass(frozen=True, slots=True)
class Usage:
    """A provider's usage block, and what was made of it when it came."""

    raw: str  # As JSON.
    api: str
    provider: str
    doubts: list[str]
    guess: list[tuple[str, str]]  # How it would be read if nothing were doubtful.
    # Where the sender's own measurement says otherwise: name, ours, the sender's.
    differs: list[tuple[str, str, str]]
    is_read: bool  # It was in doubt when it came, and today's reader reads it.


def measured(body: Mapping[str, Any]) -> dict[str, str]:
    """Return what a stored event measures, a block that was in doubt read again."""
    if not body.get("reading", {}).get("refused"):
        found: dict[str, str] = body.get("measurements", {})
        return found
    return decode(json.dumps(body)).measurements


def usage(body: Mapping[str, Any]) -> Usage | None:
    """Return the usage block of a stored event; None without one."""
    if "usage" not in body:
        return None
    told = body.get("reading", {})
    own, sent = body.get("measurements", {}), told.get("sent", {})
    return Usage(
        json.dumps(body["usage"], indent=2, ensure_ascii=False),
        told.get("api", ""),
        told.get("provider", ""),
        told.get("doubts", []),
        sorted(told.get("guess", {}).items()),
        [(n, own[n], sent[n]) for n in told.get("differs", []) if n in own],
        bool(told.get("refused")) and bool(measured(body)),
    )
