"""Amazon Bedrock: Converse, and the metrics that end a stream of InvokeModel."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from metering.normalize import checks
from metering.normalize.reading import Block, Split, kept

API = "bedrock.converse"
INPUT = ("inputTokens", "inputTokenCount")
OUTPUT = ("outputTokens", "outputTokenCount")
READ = ("cacheReadInputTokens", "cacheReadInputTokenCount")
WRITE = ("cacheWriteInputTokens", "cacheWriteInputTokenCount")
DURATIONS = {"5m": "cache_write_5m_tokens", "1h": "cache_write_1h_tokens"}


def fits(fields: Mapping[str, Any]) -> bool:
    """Tell whether a block has this shape."""
    return any(name in fields for name in INPUT)


def measure(block: Block) -> dict[str, int | Decimal]:
    """Return the measurements of a block of this shape."""
    read, written = block.first(*READ), block.first(*WRITE)
    total = block.count("totalTokens")
    output = checks.answered(block, block.first(*OUTPUT), total)
    totals = checks.outside(
        block,
        given=Split(block.first(*INPUT) or 0, output),
        total=total,
        cached=(read or 0) + (written or 0),
    )
    by_duration = _by_duration(block)
    checks.parts_fit(block, written or 0, "the cache writes", *by_duration.values())
    return {
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        **kept(cache_read_tokens=read, cache_write_tokens=written),
        **by_duration,
    }


def _by_duration(block: Block) -> dict[str, int]:
    """Return the writes to the cache by how long they are held."""
    details = block.value("cacheDetails")
    found: dict[str, int] = {}
    if details is None:
        return found
    if not isinstance(details, list):
        block.doubt("cacheDetails is no list")
        return found
    for entry in details:
        if not isinstance(entry, dict):
            block.doubt("an entry of cacheDetails is no object")
            continue
        own = Block(entry, block.doubts)
        name, count = DURATIONS.get(own.text("ttl")), own.count("inputTokens")
        if name is None:
            block.doubt(
                f"cacheDetails has the unknown ttl {str(entry.get('ttl'))[:20]!r}"
            )
        elif count is not None:
            found[name] = found.get(name, 0) + count
    return found
