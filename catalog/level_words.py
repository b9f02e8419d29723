"""Spend levels in words: for summaries, price lists and comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from catalog.pricing import Level
from catalog.pricing.words import money_words

# So many levels are named one by one in a summary.
NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class LevelRow:
    """One level as people read it."""

    name: str
    words: str  # How it is reached.


def trigger_words(level: Level, currency: str, *, is_first: bool) -> str:
    """Return how a level is reached."""
    if level.spend_from is not None:
        return f"from {money_words(level.spend_from, currency)} spent in a period"
    if level.credits_from is not None:
        return f"from {money_words(level.credits_from, currency)} of credits bought"
    return "from the start" if is_first else "by agreement"


def level_rows(levels: Sequence[Level], currency: str) -> Iterator[LevelRow]:
    """Yield the levels, lowest first."""
    for index, level in enumerate(levels):
        yield LevelRow(level.name, trigger_words(level, currency, is_first=not index))


def summary(levels: Sequence[Level], currency: str) -> str:
    """Return the levels as one sentence; many are only counted."""
    if len(levels) > NAMED_MAX:
        return f"{len(levels)} spend levels from {levels[0].name} to {levels[-1].name}."
    rows = list(level_rows(levels, currency))
    first, *others = rows
    parts = [first.name, *(f"{row.name} {row.words}" for row in others)]
    return f"Spend levels: {', '.join(parts)}."
