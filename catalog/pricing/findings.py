"""A doubt about a plan: what is allowed and may be meant otherwise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One doubt about a plan."""

    code: str  # overlap, counted_twice, …
    charges: tuple[str, ...]
    message: str
