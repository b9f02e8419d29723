"""What holds for every block: one call reads alike from all, and nothing is raised."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from metering.normalize import AMBIGUOUS, MISSING, NOT_READ, read, strip

Block = dict[str, Any]


class Call:
    """One call's true figures: totals include their parts."""

    def __init__(self, chance: random.Random, *, write: bool) -> None:
        """Draw figures; the cache is written only where the format can say so."""
        self.read = chance.randrange(50_000)
        self.write = chance.randrange(1, 20_000) if write else 0
        self.input = self.read + self.write + chance.randrange(1, 90_000)
        self.reasoning = chance.randrange(1, 9_000)
        self.output = self.reasoning + chance.randrange(1, 9_000)
        self.rest = self.input - self.read - self.write

    @property
    def measured(self) -> dict[str, int]:
        """The canonical figures that every format can give."""
        return {
            "input_tokens": self.input,
            "output_tokens": self.output,
            "cache_read_tokens": self.read,
        }


def anthropic(call: Call) -> Block:
    return {
        "input_tokens": call.rest,
        "cache_read_input_tokens": call.read,
        "cache_creation_input_tokens": call.write,
        "output_tokens": call.output,
    }


def chat(call: Call) -> Block:
    return {
        "prompt_tokens": call.input,
        "completion_tokens": call.output,
        "total_tokens": call.input + call.output,
        "prompt_tokens_details": {"cached_tokens": call.read},
        "completion_tokens_details": {"reasoning_tokens": call.reasoning},
    }


def responses(call: Call) -> Block:
    return {
        "input_tokens": call.input,
        "output_tokens": call.output,
        "total_tokens": call.input + call.output,
        "input_tokens_details": {"cached_tokens": call.read},
        "output_tokens_details": {"reasoning_tokens": call.reasoning},
    }


def gemini(call: Call) -> Block:
    tools = call.rest // 3
    return {
        "promptTokenCount": call.input - tools,
        "toolUsePromptTokenCount": tools,
        "cachedContentTokenCount": call.read,
        "candidatesTokenCount": call.output - call.reasoning,
        "thoughtsTokenCount": call.reasoning,
        "totalTokenCount": call.input + call.output,
    }


def deepseek(call: Call) -> Block:
    hits = {
        "prompt_cache_hit_tokens": call.read,
        "prompt_cache_miss_tokens": call.input - call.read,
    }
    return chat(call) | hits


def bedrock(call: Call) -> Block:
    return {
        "inputTokens": call.rest,
        "outputTokens": call.output,
        "cacheReadInputTokens": call.read,
        "cacheWriteInputTokens": call.write,
        "totalTokens": call.input + call.output,
    }


def xai(call: Call) -> Block:
    return chat(call) | {"completion_tokens": call.output - call.reasoning}


def cache_outside(call: Call) -> Block:
    return chat(call) | {"prompt_tokens": call.input - call.read}


FORMATS = [anthropic, chat, responses, gemini, deepseek, bedrock, xai, cache_outside]
WRITERS = (anthropic, bedrock)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
def test_one_call_reads_alike_in_every_format(form: Callable[[Call], Block]) -> None:
    chance = random.Random(form.__name__)
    for _ in range(400):
        call = Call(chance, write=form in WRITERS)
        block = form(call)
        if call.read == call.reasoning:
            continue  # A total cannot tell them apart; see below.
        reading = read(block)
        assert reading.flags == (), (block, reading.doubts)
        assert {n: reading.measurements[n] for n in call.measured} == call.measured
        if form in WRITERS:
            assert reading.measurements["cache_write_tokens"] == call.write
        assert read({"id": "x", "usage": block}).measurements == reading.measurements


@pytest.mark.parametrize("form", [anthropic, gemini, chat])
def test_figures_of_a_stream_are_never_added(form: Callable[[Call], Block]) -> None:
    chance = random.Random(7)
    for _ in range(60):
        call = Call(chance, write=form is anthropic)
        last = form(call)
        steps = sorted(chance.randrange(1, 100) for _ in range(chance.randrange(30)))
        grown = [_part(last, percent) for percent in steps]
        events = [*_events(form, [*grown, last])]
        reading = read(events)
        assert reading.flags == (), reading.doubts
        assert reading.measurements == read(last).measurements
        kept = strip(events)
        assert read(kept) == reading
        assert len(json.dumps(kept)) < 8_192
        assert "secret words" not in json.dumps(kept)


def _part(block: Block, percent: int) -> Block:
    """Return a block part of the way to its last figures; the input is known."""
    grows = ("output_tokens", "candidatesTokenCount", "thoughtsTokenCount")
    return {n: v * percent // 100 if n in grows else v for n, v in block.items()}


def _events(form: Callable[[Call], Block], blocks: list[Block]) -> list[Any]:
    """Return blocks as the events of a stream of their provider."""
    words = {"text": "secret words"}
    if form is anthropic:
        start = {"type": "message_start", "message": {"model": "m", "usage": blocks[0]}}
        deltas = [{"type": "message_delta", "usage": block} for block in blocks]
        content = [{"type": "content_block_delta", "delta": words}]
        return [start, *content * 5, *deltas, {"type": "message_stop"}]
    if form is gemini:
        parts = [{"content": {"parts": [words]}}]
        events: list[Any] = [{"candidates": parts, "usageMetadata": b} for b in blocks]
        events[-1]["candidates"] = [{**parts[0], "finishReason": "STOP"}]
        return events
    chunk = {"choices": [{"delta": {"content": "secret words"}}], "usage": None}
    return [*[chunk] * 40, {"choices": [], "usage": blocks[-1]}, "[DONE]"]


@pytest.mark.parametrize(
    ("block", "flag", "word"),
    [
        (
            {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 9},
            AMBIGUOUS,
            "9",
        ),
        ({"input_tokens": 5, "output_tokens": "2"}, AMBIGUOUS, "output_tokens"),
        ({"input_tokens": True, "output_tokens": 2}, AMBIGUOUS, "input_tokens"),
        ({"input_tokens": -1, "output_tokens": 2}, AMBIGUOUS, "input_tokens"),
        ({"input_tokens": 10**30, "output_tokens": 2}, AMBIGUOUS, "input_tokens"),
        ({"input_tokens": Decimal("1.5"), "output_tokens": 2}, AMBIGUOUS, "count"),
        ({"input_tokens": float("nan"), "output_tokens": 2}, AMBIGUOUS, "count"),
        ({"input_tokens": 5}, AMBIGUOUS, "output"),
        (
            # As many cached as reasoning tokens, and the total has one of them.
            {
                "prompt_tokens": 90,
                "completion_tokens": 50,
                "total_tokens": 160,
                "reasoning_tokens": 20,
                "cached_tokens": 20,
            },
            AMBIGUOUS,
            "fits",
        ),
        (
            # The names say that the cache is outside, the total that it is not.
            {"inputTokens": 9, "outputTokens": 1, "totalTokens": 10}
            | {"cacheReadInputTokens": 4},
            AMBIGUOUS,
            "add up to 14",
        ),
        (
            {"input_tokens": 9, "output_tokens": 1, "cache_creation_input_tokens": 4}
            | {"cache_creation": {"ephemeral_5m_input_tokens": 1}},
            AMBIGUOUS,
            "1 of 4",
        ),
        (
            {"input_tokens": 9, "output_tokens": 1}
            | {"iterations": [{"type": "advisor_message", "input_tokens": 7}]},
            AMBIGUOUS,
            "advisor_message",
        ),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 99},
            AMBIGUOUS,
            "99",
        ),
        (
            [{"usage": {"input_tokens": n, "output_tokens": 1}} for n in (9, 3)],
            AMBIGUOUS,
            "fell from 9 to 3",
        ),
        ({"tokensUsed": 7}, NOT_READ, "tokensUsed"),
        ({}, NOT_READ, "nothing"),
        ({"usage": None}, MISSING, "no usage"),
        ([], MISSING, "no usage"),
        (["[DONE]"], MISSING, "no usage"),
        ([{"choices": [], "usage": None}], MISSING, "no usage"),
        (
            [
                {
                    "type": "message_start",
                    "message": {
                        "usage": {"input_tokens": 9}
                        | {"cache_read_input_tokens": 1, "output_tokens": 1}
                    },
                }
            ],
            MISSING,
            "ended",
        ),
        (
            [
                {
                    "candidates": [{}],
                    "usageMetadata": {"promptTokenCount": 5} | {"totalTokenCount": 5},
                }
            ],
            MISSING,
            "ended",
        ),
    ],
)
def test_what_is_doubtful_is_said_and_not_guessed(
    block: Any, flag: str, word: str
) -> None:
    reading = read(block)
    assert reading.flags == (flag,)
    assert word in "; ".join(reading.doubts)
    assert read(strip(block)).flags == (flag,)


def test_a_broken_stream_keeps_its_input_and_not_its_output() -> None:
    usage = {"input_tokens": 9, "cache_read_input_tokens": 1, "output_tokens": 1}
    reading = read([{"type": "message_start", "message": {"usage": usage}}])
    assert dict(reading.measurements) == {"input_tokens": 10, "cache_read_tokens": 1}


JUNK: list[Any] = [
    None,
    True,
    -1,
    10**40,
    "7",
    "",
    [],
    {},
    [[{}]],
    {"a": {"b": 1}},
    float("inf"),
]
JUNK += [
    float("nan"),
    1.5,
    Decimal("NaN"),
    Decimal("1e60"),
    Decimal("0.1"),
    "\0",
    "é" * 99,
]


def test_garbage_never_raises_and_never_becomes_a_figure() -> None:
    chance = random.Random(11)
    for number in range(6_000):
        form = chance.choice(FORMATS)
        block: Any = form(Call(chance, write=False))
        for _ in range(chance.randrange(1, 4)):
            _spoil(chance, block)
        if number % 3 == 1:
            block = {chance.choice(["usage", "message", "response"]): block}
        elif number % 3 == 2:
            block = [block, chance.choice(JUNK), {"usage": block}]
        reading, kept = read(block), strip(block)
        for name, count in reading.measurements.items():
            assert count >= 0, (name, block)
            assert not isinstance(count, bool | float)
        assert bool(reading.flags) == bool(reading.doubts)
        assert read(kept).flags == reading.flags, block


def _spoil(chance: random.Random, block: Block) -> None:
    """Put junk in a place of a block, or take a member away."""
    name = chance.choice([*block, "iterations", "cache_creation", "cacheDetails"])
    inner = block.get(name)
    if isinstance(inner, dict) and inner and chance.random() < 0.5:
        inner[chance.choice([*inner])] = chance.choice(JUNK)
    elif chance.random() < 0.2:
        block.pop(name, None)
    else:
        block[name] = chance.choice(JUNK)


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_junk_alone_is_said_to_be_none(junk: Any) -> None:
    reading = read(junk)
    assert reading.flags
    assert reading.doubts
    assert not reading.measurements


def test_a_block_that_is_nested_without_end_is_only_not_read() -> None:
    block: Any = {"input_tokens": 1}
    for _ in range(5_000):
        block = {"usage": block, "response": block}
    assert read(block).flags


def test_a_stream_of_thousands_of_odd_events_is_read_in_bounds() -> None:
    ends = [{"candidates": [{"finishReason": str(n)}]} for n in range(4_000)]
    falls = [
        {"usage": {"input_tokens": 9_000 - n, "output_tokens": n}} for n in range(4_000)
    ]
    events = [*ends, *falls, *ends]
    reading, kept = read(events), strip(events)
    assert reading.flags == (AMBIGUOUS,)
    assert len(reading.doubts) <= 5
    assert read(kept).flags == (AMBIGUOUS,)
    assert len(json.dumps(kept)) < 8_192
