"""The loop guard's limits of a version, and what is in shadow, in words."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

WINDOWS = (("same_call", "Equal tool calls"), ("retries", "Retries of a request"))

# Key, label, words and figure of a fact.
Row = tuple[str, str, str, Decimal | None]


def rows(limits: Mapping[str, Any]) -> list[Row]:
    """Return what the loop guard refuses, then which limits are not enforced."""
    found: list[Row] = []
    loop = limits.get("loop") or {}
    for name, label in WINDOWS:
        if said := loop.get(name):
            words = f"{said['count']:,} in {said['seconds']:,} s"
            found.append((f"loop.{name}", label, words, Decimal(said["count"])))
    if said := loop.get("errors"):
        words = f"{said['count']:,}, then a pause"
        found.append(
            ("loop.errors", "Tool errors in a row", words, Decimal(said["count"]))
        )
    shadow = sorted(name for name, on in limits.get("shadow", {}).items() if on)
    if shadow:
        found.append(("shadow", "Judged, not enforced", ", ".join(shadow), None))
    return found
