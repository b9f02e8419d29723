"""The disjoint parts of a model call's usage, each of which has one rate."""

from __future__ import annotations

from collections.abc import Container, Mapping
from decimal import Decimal

from aforo.lib.money import ZERO

UNCACHED = "input_uncached_tokens"
OUTPUT = "output_tokens"
# A part without a rate of its own costs as the part that it is a kind of: providers
# list what differs. Writing to the one-hour cache is dearer, so it never falls back.
FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "cache_write_5m_tokens": ("cache_write_tokens",),
    "cache_audio_read_tokens": ("cache_read_tokens",),
    "cache_image_read_tokens": ("cache_read_tokens",),
    "input_audio_tokens": (UNCACHED,),
    "input_image_tokens": (UNCACHED,),
    "input_video_tokens": (UNCACHED,),
    "output_audio_tokens": (OUTPUT,),
    "output_image_tokens": (OUTPUT,),
    "output_video_tokens": (OUTPUT,),
}
# Parts of the output that cost the same unless a rate says otherwise.
SPECIAL_OUTPUT = ("reasoning_tokens", "citation_tokens")
MEDIA_OUTPUT = ("output_audio_tokens", "output_image_tokens", "output_video_tokens")
_OUTPUT_PARTS = frozenset({*MEDIA_OUTPUT, *SPECIAL_OUTPUT})
# What a provider charges for besides tokens: without a rate the cost is unknown.
CHARGED_COUNTS = frozenset(
    """web_searches social_searches rerank_searches audio_seconds pages
    input_characters""".split()
)
# Everything that the token leaves are made of; no count of anything else.
TOKEN_PARTS = frozenset(
    {
        UNCACHED,
        OUTPUT,
        "input_tokens",
        "total_tokens",
        "input_text_tokens",
        "output_text_tokens",
        "tool_use_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cache_write_1h_tokens",
        *FALLBACKS,
        *SPECIAL_OUTPUT,
    }
)
# Figures that split the input further than into cached and not.
_DETAILS = frozenset(
    """cache_write_5m_tokens cache_write_1h_tokens cache_audio_read_tokens
    cache_image_read_tokens input_audio_tokens input_image_tokens
    input_video_tokens""".split()
)
_MEDIA = (
    ("cache_audio_read_tokens", "input_audio_tokens"),
    ("cache_image_read_tokens", "input_image_tokens"),
    ("", "input_video_tokens"),
)


def input_total(measurements: Mapping[str, Decimal]) -> Decimal:
    """Return the tokens of the prompt, cached ones included: what tiers go by."""
    total = measurements.get("input_tokens")
    if total is not None:
        return total
    get = measurements.get
    parts = (UNCACHED, "cache_read_tokens", "cache_write_tokens")
    return sum((get(name, ZERO) for name in parts), ZERO)


def token_leaves(
    measurements: Mapping[str, Decimal], priced: Container[str] = ()
) -> list[tuple[str, Decimal]]:
    """Return the disjoint leaves of token measurements, those above zero.

    input_tokens and output_tokens are inclusive totals, all other figures subsets;
    reasoning is output and a leaf of its own only where `priced` has a rate for it.
    """
    get = measurements.get
    found: list[tuple[str, Decimal]] = []
    left = input_total(measurements)
    read, write = get("cache_read_tokens", ZERO), get("cache_write_tokens", ZERO)
    if not _DETAILS.isdisjoint(measurements):
        for cached_unit, unit in _MEDIA:
            if cached := get(cached_unit, ZERO):
                found.append((cached_unit, cached))
                read -= cached
                left -= cached
            if (part := get(unit, ZERO) - cached) > 0:
                found.append((unit, part))
                left -= part
        for unit in ("cache_write_5m_tokens", "cache_write_1h_tokens"):
            if part := get(unit, ZERO):
                found.append((unit, part))
                write -= part
                left -= part
    if read > 0:
        found.append(("cache_read_tokens", read))
        left -= read
    if write > 0:
        found.append(("cache_write_tokens", write))
        left -= write
    if left > 0:
        found.append((UNCACHED, left))
    return found + _output(measurements, priced)


def _output(
    measurements: Mapping[str, Decimal], priced: Container[str]
) -> list[tuple[str, Decimal]]:
    """Return the disjoint leaves of what was generated."""
    get = measurements.get
    left = get(OUTPUT, ZERO)
    if not left:
        return []
    if _OUTPUT_PARTS.isdisjoint(measurements):
        return [(OUTPUT, left)]
    found: list[tuple[str, Decimal]] = []
    for unit in (*MEDIA_OUTPUT, *SPECIAL_OUTPUT):
        part = get(unit)
        if part and (unit in priced or unit not in SPECIAL_OUTPUT):
            found.append((unit, part))
            left -= part
    if left > 0:
        found.append((OUTPUT, left))
    return found


def doubtful(measurements: Mapping[str, Decimal], priced: Container[str]) -> str:
    """Return why the leaves cannot be told apart; empty when they can.

    Cached audio costs otherwise than cached text where a rate says so, and then
    somebody must have said how much of the cache was audio.
    """
    get = measurements.get
    for cached_unit, unit in _MEDIA:
        if (
            cached_unit in priced
            and unit in measurements
            and get(unit)
            and get("cache_read_tokens")
            and cached_unit not in measurements
        ):
            return f"how much of the cache was {unit.split('_')[1]}"
    return ""
