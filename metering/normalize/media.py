"""Calls that are not counted in tokens: seconds of audio, pages of documents."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from metering.normalize.reading import Block, positive

API = "media"


def fits(fields: Mapping[str, Any]) -> bool:
    """Tell whether a block counts seconds or pages and no tokens."""
    if "pages_processed" in fields:
        return True
    return "seconds" in fields and fields.get("type", "duration") == "duration"


def measure(block: Block) -> dict[str, int | Decimal]:
    """Return the measurements of a block of this shape."""
    found = positive(
        audio_seconds=block.amount("seconds"), pages=block.count("pages_processed")
    )
    if not found and not block.doubts:
        found = {"pages" if "pages_processed" in block.fields else "audio_seconds": 0}
    return found
