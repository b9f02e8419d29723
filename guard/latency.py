"""How long doors take, counted in steps, so that minutes and processes add up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

# Upper ends of the steps in µs, inclusive; what is longer falls in one more step.
BOUNDS_US: Final = (
    *(100, 200, 300, 400, 500, 600, 700, 800, 1_000, 1_200, 1_500, 1_800, 2_100),
    *(2_500, 3_000, 3_500, 4_000, 5_000, 6_500, 8_000, 10_000, 15_000, 25_000),
    *(50_000, 100_000, 250_000, 1_000_000),
)
STEPS: Final = len(BOUNDS_US) + 1


def step(latency_us: int) -> int:
    """Return the step that a duration falls in, counted from 0."""
    return bisect_left(BOUNDS_US, latency_us)


def added(counts: Iterable[Sequence[int]]) -> list[int]:
    """Return the sum of several counts, step by step."""
    return [sum(column) for column in zip_longest(*counts, fillvalue=0)]


def quantile_us(counts: Sequence[int], part: float) -> int | None:
    """Return the duration that so great a part of the calls did not exceed.

    The upper end of its step, in µs: never less than the true one. None when nothing
    was counted.
    """
    wanted, seen = part * sum(counts), 0
    for at, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return BOUNDS_US[min(at, len(BOUNDS_US) - 1)]
    return None
