"""OpenAI Chat and all who speak it: DeepSeek, Mistral, xAI, LiteLLM, OpenRouter, …

Only the total tells whether reasoning and cache are inside, so that decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from metering.normalize import checks
from metering.normalize.reading import Block, Split, as_amount, kept, positive

API = "openai.chat"
INPUT, OUTPUT = "prompt_tokens_details", "completion_tokens_details"
HIT, MISS = "prompt_cache_hit_tokens", "prompt_cache_miss_tokens"
# One figure under the names that servers of this shape give it.
CACHED = ("cached_tokens", "cache_read_input_tokens", "cached_prompt_text_tokens")
WRITTEN = ("cache_creation_input_tokens", "cache_write_tokens")
TICKS_PER_USD = Decimal(10**10)
# What a block's own fields tell of who sent it.
TELLING = {HIT: "deepseek", "cost_in_usd_ticks": "x-ai", "connector_tokens": "mistral"}


def fits(fields: Mapping[str, Any]) -> bool:
    """Tell whether a block has this shape."""
    return "prompt_tokens" in fields


def measure(block: Block) -> dict[str, int | Decimal]:
    """Return the measurements of a block of this shape."""
    prompt = block.count("prompt_tokens") or 0
    total = block.count("total_tokens")
    completion = checks.answered(block, block.count("completion_tokens"), total)
    read = _one_figure(
        block,
        "cached tokens",
        block.count(INPUT, "cached_tokens"),
        block.count(HIT),
        *(block.count(name) for name in CACHED),
    )
    written = _one_figure(
        block,
        "tokens written to the cache",
        block.count(INPUT, "cache_write_tokens"),
        block.count(INPUT, "cache_creation_tokens"),
        *(block.count(name) for name in WRITTEN),
    )
    reasoning = _one_figure(
        block,
        "reasoning tokens",
        block.count(OUTPUT, "reasoning_tokens"),
        block.count("reasoning_tokens"),
    )
    miss = block.count(MISS)
    if miss is not None and (read or 0) + miss != prompt:
        block.doubt(f"{read or 0} cached and {miss} other tokens of {prompt}")
    totals = checks.by_total(
        block,
        given=Split(prompt, completion),
        total=total,
        cached=(read or 0) + (written or 0),
        reasoning=reasoning or 0,
    )
    heard, said = (
        block.count(INPUT, "audio_tokens"),
        block.count(OUTPUT, "audio_tokens"),
    )
    seen = block.count(INPUT, "image_tokens")
    drawn = block.count(OUTPUT, "image_tokens")
    checks.parts_fit(block, totals.input_tokens, "the input", heard, seen)
    checks.parts_fit(block, totals.output_tokens, "the output", said, drawn)
    return {
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        **kept(
            cache_read_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=reasoning,
        ),
        **positive(
            input_audio_tokens=heard,
            output_audio_tokens=said,
            input_image_tokens=seen,
            output_image_tokens=drawn,
            web_searches=_searches(block),
            audio_seconds=block.amount("prompt_audio_seconds"),
        ),
    }


def _one_figure(block: Block, name: str, *counts: int | None) -> int | None:
    """Return what several fields say of one figure; they have to agree.

    A zero beside another number is a field that the server does not fill.
    """
    given = [count for count in counts if count is not None]
    if len({count for count in given if count}) > 1:
        block.doubt(f"two figures for {name}: {sorted(set(given))}")
    return max(given, default=None)


def _searches(block: Block) -> int | None:
    """Return how many web searches the call made."""
    found = block.first("num_search_queries", "num_sources_used")
    return (
        found
        if found is not None
        else block.count("server_tool_use", "web_search_requests")
    )


def reported_cost(fields: Mapping[str, Any]) -> Decimal | None:
    """Return what the provider says that the call cost in USD; None without it."""
    ticks = as_amount(fields.get("cost_in_usd_ticks"))
    if ticks is not None:
        return ticks / TICKS_PER_USD if ticks == ticks.to_integral_value() else None
    return as_amount(fields.get("cost"))


def provider(fields: Mapping[str, Any]) -> str:
    """Return who sent a block, where one of its fields tells; else empty."""
    return next((who for name, who in TELLING.items() if name in fields), "")
