"""OpenAI Responses, Realtime, images and transcription: input and output tokens."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from metering.normalize import checks
from metering.normalize.reading import Block, Split, as_count, kept, positive

API = "openai.responses"
BARE_API = "tokens"
# Realtime and transcription write "token" for "tokens".
INPUT = ("input_tokens_details", "input_token_details")
OUTPUT = ("output_tokens_details", "output_token_details")

MARKS = frozenset((*INPUT, *OUTPUT, "total_tokens", "tool_usage"))


def fits(fields: Mapping[str, Any]) -> bool:
    """Tell whether a block has this shape."""
    return "input_tokens" in fields and not MARKS.isdisjoint(fields)


def fits_bare(fields: Mapping[str, Any]) -> bool:
    """Tell whether a block has input and output tokens, and nothing that tells more."""
    return "input_tokens" in fields


def measure(block: Block) -> dict[str, int | Decimal]:
    """Return the measurements of a block of this shape."""
    inside, out = _present(block, INPUT), _present(block, OUTPUT)
    cached = block.count(inside, "cached_tokens")
    if cached is None:
        cached = block.count(inside, "cache_read_input_tokens")
    written = block.count(inside, "cache_write_tokens")
    reasoning = block.count(out, "reasoning_tokens")
    total = block.count("total_tokens")
    output = checks.answered(block, block.count("output_tokens"), total)
    totals = checks.by_total(
        block,
        given=Split(block.count("input_tokens") or 0, output),
        total=total,
        cached=(cached or 0) + (written or 0),
        reasoning=reasoning or 0,
    )
    read = {name: block.count(inside, f"{name}_tokens") for name in _KINDS}
    made = {name: block.count(out, f"{name}_tokens") for name in _KINDS}
    checks.parts_fit(block, totals.input_tokens, "the input", *read.values())
    checks.parts_fit(block, totals.output_tokens, "the output", *made.values())
    return {
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        **kept(
            cache_read_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=reasoning,
        ),
        **positive(
            **{f"input_{name}_tokens": count for name, count in read.items()},
            **{f"output_{name}_tokens": count for name, count in made.items()},
            cache_audio_read_tokens=block.count(
                inside, "cached_tokens_details", "audio_tokens"
            ),
            web_searches=_tools(block),
        ),
    }


_KINDS = ("text", "audio", "image")


def _present(block: Block, names: tuple[str, ...]) -> str:
    """Return the spelling that a block uses."""
    return next((name for name in names if name in block.fields), names[0])


def _tools(block: Block) -> int | None:
    """Return the web searches of `tool_usage`, which the totals do not include.

    What else it counts belongs to other models: it is doubtful until it is read.
    """
    used = block.value("tool_usage")
    if used is None:
        return None
    if not isinstance(used, dict):
        block.doubt("tool_usage is no object")
        return None
    for name, figures in used.items():
        if name != "web_search" and _counts_something(figures):
            block.doubt(f"tool_usage.{str(name)[:40]} is outside the totals")
    return block.count("tool_usage", "web_search", "num_requests")


def _counts_something(figures: Any) -> bool:
    """Tell whether an object holds a count above zero, at its top or one below."""
    values = list(figures.values()) if isinstance(figures, dict) else [figures]
    values += [v for one in values if isinstance(one, dict) for v in one.values()]
    return any(as_count(value) for value in values)
