"""Anthropic Messages: the input is given without what the cache held."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from metering.normalize import checks
from metering.normalize.reading import Block, Split, kept, positive

API = "anthropic.messages"
WRITE, READ = "cache_creation_input_tokens", "cache_read_input_tokens"
# Any of these beside input_tokens says that the cache is outside of it.
MARKS = frozenset({WRITE, READ, "cache_creation", "server_tool_use", "iterations"})
# Iterations of these kinds are in the totals at the top already.
INSIDE = frozenset({"message"})
# These are not: they are further calls of the same model.
OUTSIDE = frozenset({"compaction"})
FIELDS = ("input_tokens", "output_tokens", WRITE, READ)


def fits(fields: Mapping[str, Any]) -> bool:
    """Tell whether a block has this shape."""
    return "input_tokens" in fields and not MARKS.isdisjoint(fields)


def measure(block: Block) -> dict[str, int | Decimal]:
    """Return the measurements of a block of this shape."""
    sums = _sums(block)
    written, read = sums[WRITE], sums[READ]
    thinking = block.count("output_tokens_details", "thinking_tokens")
    total = block.count("total_tokens")
    output = checks.answered(block, sums["output_tokens"], total)
    totals = checks.outside(
        block,
        given=Split(sums["input_tokens"] or 0, output),
        total=total,
        cached=(written or 0) + (read or 0),
        reasoning=thinking or 0,
    )
    short, long = sums["5m"], sums["1h"]
    if short is not None or long is not None:
        split = (short or 0) + (long or 0)
        if written is None:
            block.doubt(f"cache_creation has {split}, but {WRITE} is not given")
        checks.parts_fit(block, written or 0, WRITE, short, long)
        if not sums["uneven"] and split < (written or 0):
            block.doubt(f"cache_creation has {split} of {written} written tokens")
    tools = "server_tool_use"
    return {
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        **kept(
            cache_read_tokens=read,
            cache_write_tokens=written,
            cache_write_5m_tokens=short,
            cache_write_1h_tokens=long,
            reasoning_tokens=thinking,
        ),
        **positive(
            web_searches=block.count(tools, "web_search_requests"),
            web_fetches=block.count(tools, "web_fetch_requests"),
        ),
    }


def _sums(block: Block) -> dict[str, int | None]:
    """Return the figures at the top plus those of iterations that are not in them."""
    sums = _figures(block)
    sums["uneven"] = 0
    iterations = block.value("iterations")
    if iterations is None:
        return sums
    if not isinstance(iterations, list):
        block.doubt("iterations is no list")
        return sums
    for entry in iterations:
        if not isinstance(entry, dict):
            block.doubt("an iteration is no object")
            continue
        kind = entry.get("type")
        if isinstance(kind, str) and kind in INSIDE:
            continue
        own = Block(entry, block.doubts)
        more = _figures(own)
        if not (isinstance(kind, str) and kind in OUTSIDE):
            if any(more.values()):
                block.doubt(f"an iteration of the type {str(kind)[:40]!r} has usage")
            continue
        if more[WRITE] and more["5m"] is None and more["1h"] is None:
            sums["uneven"] = 1  # Its writes have no duration; the rest does.
        for name, count in more.items():
            if count is not None:
                sums[name] = (sums[name] or 0) + count
    return sums


def _figures(block: Block) -> dict[str, int | None]:
    """Return the counts of one object, by their own names."""
    found = {name: block.count(name) for name in FIELDS}
    found["5m"] = block.count("cache_creation", "ephemeral_5m_input_tokens")
    found["1h"] = block.count("cache_creation", "ephemeral_1h_input_tokens")
    return found
