"""One call as four providers report it: each block another, one price.

The events carry the raw blocks, one of them as the events of a stream; what each call
costs the seller differs with the model.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from aforo.demo import specs
from aforo.demo.calls import Actor, Call, compound, tokens

ROUNDS = 6
# Of one call: from the cache, other input, reasoning, the rest of the answer.
CACHED, FRESH, THOUGHT, SAID = 9_000, 1_000, 200, 100

ANTHROPIC = {
    "input_tokens": FRESH,
    "cache_read_input_tokens": CACHED,
    "cache_creation_input_tokens": 0,
    "output_tokens": THOUGHT + SAID,
}
OPENAI = {
    "prompt_tokens": CACHED + FRESH,
    "completion_tokens": THOUGHT + SAID,
    "total_tokens": CACHED + FRESH + THOUGHT + SAID,
    "prompt_tokens_details": {"cached_tokens": CACHED},
    "completion_tokens_details": {"reasoning_tokens": THOUGHT},
}
GEMINI = {
    "promptTokenCount": CACHED + FRESH,
    "cachedContentTokenCount": CACHED,
    "candidatesTokenCount": SAID,
    "thoughtsTokenCount": THOUGHT,
    "totalTokenCount": CACHED + FRESH + THOUGHT + SAID,
}
BEDROCK = {
    "inputTokens": FRESH,
    "outputTokens": THOUGHT + SAID,
    "cacheReadInputTokens": CACHED,
    "cacheWriteInputTokens": 0,
    "totalTokens": CACHED + FRESH + THOUGHT + SAID,
}
STREAM = [
    {"choices": [{"delta": {"content": "def "}}], "usage": None},
    {"choices": [], "usage": OPENAI},
    "[DONE]",
]
# Provider, model, what it sends.
PROVIDERS: tuple[tuple[str, str, Any], ...] = (
    ("anthropic", "claude-haiku-4-5", ANTHROPIC),
    ("openai", "gpt-4o", STREAM),
    ("google", "gemini-2.5-flash", GEMINI),
    ("aws", "claude-haiku-4-5", BEDROCK),
)


def providers(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return the same call from one provider after the other, some rounds of it."""
    at = end - dt.timedelta(days=4, hours=4)
    actor = Actor("quillstack", "quillstack-editor", specs.CODE)
    for number in range(ROUNDS * len(PROVIDERS)):
        provider, model, block = PROVIDERS[number % len(PROVIDERS)]
        yield compound(
            id=f"{prefix}:scene:providers:{number:02d}",
            at=at + dt.timedelta(seconds=40 * number),
            actor=actor,
            kind="llm.completion",
            measurements=tokens(input=FRESH, cache_read=CACHED, output=THOUGHT + SAID),
            properties={"model": model, "provider": provider},
            correlation=f"providers-{number:02d}",
            usage=block,
        )
