"""Gemini: thoughts and the tools' prompts stand beside the answer and the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from metering.normalize import checks
from metering.normalize.reading import Block, Split, kept, positive

API = "gemini.generate_content"
# Documents are billed as the images of their pages.
KINDS = {
    "TEXT": "text",
    "AUDIO": "audio",
    "IMAGE": "image",
    "DOCUMENT": "image",
    "VIDEO": "video",
}
PROMPT = ("promptTokenCount", "prompt_token_count")
ANSWER = (
    "candidatesTokenCount",
    "candidates_token_count",
    "responseTokenCount",
    "response_token_count",
)
THOUGHTS = ("thoughtsTokenCount", "thoughts_token_count")
TOTAL = ("totalTokenCount", "total_token_count")
CACHED = ("cachedContentTokenCount", "cached_content_token_count")
TOOLS = ("toolUsePromptTokenCount", "tool_use_prompt_token_count")
MARKS = frozenset((*PROMPT, *ANSWER, *TOTAL))


def fits(fields: Mapping[str, Any]) -> bool:
    """Tell whether a block has this shape; its zeros are left out on the wire."""
    return not MARKS.isdisjoint(fields)


def measure(block: Block) -> dict[str, int | Decimal]:
    """Return the measurements of a block of this shape."""
    prompt, total = block.first(*PROMPT) or 0, block.first(*TOTAL)
    answer = checks.answered(block, block.first(*ANSWER), total)
    thoughts, tools = block.first(*THOUGHTS), block.first(*TOOLS)
    cached = block.first(*CACHED)
    totals = _totals(
        block,
        Split(prompt, answer),
        total=total,
        tools=tools or 0,
        thoughts=thoughts or 0,
    )
    if (cached or 0) > totals.input_tokens:
        block.doubt(f"{cached} cached tokens of {totals.input_tokens} input tokens")
    read = _kinds(block, "promptTokensDetails", "prompt_tokens_details")
    for kind, count in _kinds(
        block, "toolUsePromptTokensDetails", "tool_use_prompt_tokens_details"
    ).items():
        read[kind] = read.get(kind, 0) + count
    made = _kinds(
        block,
        "candidatesTokensDetails",
        "candidates_tokens_details",
        "responseTokensDetails",
        "response_tokens_details",
    )
    held = _kinds(block, "cacheTokensDetails", "cache_tokens_details")
    checks.parts_fit(block, totals.input_tokens, "the input", *read.values())
    checks.parts_fit(block, totals.output_tokens, "the output", *made.values())
    checks.parts_fit(block, cached or 0, "the cache", *held.values())
    return {
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        **kept(cache_read_tokens=cached, reasoning_tokens=thoughts),
        **positive(
            input_tool_tokens=tools,
            **{f"input_{kind}_tokens": count for kind, count in read.items()},
            **{f"output_{kind}_tokens": count for kind, count in made.items()},
            cache_audio_read_tokens=held.get("audio"),
        ),
    }


def _totals(
    block: Block, given: Split, *, total: int | None, tools: int, thoughts: int
) -> Split:
    """Return the inclusive totals; the block's own total says what stands outside."""
    whole = Split(given.input_tokens + tools, given.output_tokens + thoughts)
    if total is None or total == sum(whole):
        return whole
    fitting = {
        Split(given.input_tokens + t, given.output_tokens + r)
        for t in {0, tools}
        for r in {0, thoughts}
        if sum(given) + t + r == total and given.output_tokens + r >= thoughts
    }
    if len(fitting) == 1:
        return fitting.pop()
    block.doubt(
        f"the total is {total}; prompt {given.input_tokens}, tools {tools}, answer "
        f"{given.output_tokens} and thoughts {thoughts} add up to {sum(whole)}"
    )
    return whole


def _kinds(block: Block, *names: str) -> dict[str, int]:
    """Return the tokens by kind of what a list of details holds."""
    name = next((one for one in names if block.fields.get(one) is not None), "")
    found: dict[str, int] = {}
    if not name:
        return found
    details = block.fields[name]
    if not isinstance(details, list):
        block.doubt(f"{name} is no list")
        return found
    for entry in details:
        if not isinstance(entry, dict):
            block.doubt(f"an entry of {name} is no object")
            continue
        own = Block(entry, block.doubts)
        kind = KINDS.get(own.text("modality").upper())
        count = own.first("tokenCount", "token_count")
        if kind and count:
            found[kind] = found.get(kind, 0) + count
    return found
