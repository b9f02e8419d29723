"""The names of measurements that every tenant may send, and their self-check."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from decimal import Decimal

from aforo.lib.money import ZERO

TOKENS = frozenset(
    """input_tokens output_tokens total_tokens cache_read_tokens cache_write_tokens
    cache_write_5m_tokens cache_write_1h_tokens reasoning_tokens tool_use_tokens
    input_audio_tokens output_audio_tokens input_image_tokens output_image_tokens
    input_text_tokens output_text_tokens input_video_tokens output_video_tokens
    input_tool_tokens cache_audio_read_tokens input_uncached_tokens""".split()
)
COUNTS = frozenset(
    """requests tool_calls web_searches web_fetches vector_lookups reasoning_steps pages
    images documents""".split()
)
AMOUNTS = frozenset(
    """tool_duration_ms latency_ms duration_ms audio_seconds bytes_written bytes_read
    storage_gb_hours""".split()
)
CANONICAL = TOKENS | COUNTS | AMOUNTS
# What a fraction of makes no sense.
WHOLE = TOKENS | COUNTS


def contradiction(measurements: Mapping[str, Decimal]) -> str:
    """Return what contradicts itself in the measurements; empty when nothing does.

    Totals are inclusive: cache figures are parts of the input, reasoning is part of
    the output, and a total is input plus output.
    """
    get = measurements.get
    total_in, total_out = get("input_tokens"), get("output_tokens")
    cached = get("cache_read_tokens", ZERO) + get("cache_write_tokens", ZERO)
    if total_in is not None and cached > total_in:
        return f"{cached} cached tokens of {total_in} input tokens"
    reasoning = get("reasoning_tokens", ZERO)
    if total_out is not None and reasoning > total_out:
        return f"{reasoning} reasoning tokens of {total_out} output tokens"
    total = get("total_tokens")
    parts = None if total_in is None or total_out is None else total_in + total_out
    if total is not None and parts is not None and total != parts:
        return f"total_tokens is {total}; its parts sum to {parts}"
    return ""


def priced(measurements: Mapping[str, Decimal]) -> Mapping[str, Decimal]:
    """Return the measurements with the leaf that follows from the others.

    A plan prices the inclusive `input_tokens`, or its disjoint parts: then what no
    cache held is `input_uncached_tokens`.
    """
    total = measurements.get("input_tokens")
    if total is None or "input_uncached_tokens" in measurements:
        return measurements
    cached = measurements.get("cache_read_tokens", ZERO)
    cached += measurements.get("cache_write_tokens", ZERO)
    return {**measurements, "input_uncached_tokens": total - cached}


def unknown(names: Collection[str], known: frozenset[str]) -> str:
    """Return a sentence about the names that nothing knows; empty without any."""
    if CANONICAL.issuperset(names):
        return ""
    strangers = sorted(set(names).difference(CANONICAL, known))
    if not strangers:
        return ""
    text = f"No metric uses {', '.join(f'`{n}`' for n in strangers)}."
    close = difflib.get_close_matches(strangers[0], CANONICAL | known, n=1)
    return f"{text} Did you mean `{close[0]}`?" if close else text
