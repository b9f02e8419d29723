"""Which level a margin comes to: pure, over exact figures."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from aforo.lib.money import CONTEXT, ZERO
from guard.models import Level, Scope

HUNDRED: Final = Decimal(100)
# A level holds until the margin is so many points above its line.
EASES: Final = Decimal(2)
# From the mildest to the hardest; UNKNOWN stands beside OK.
LADDER: Final = (Level.WARN, Level.THROTTLE, Level.BLOCK)
SEVERITY: Final = {Level.OK: 0, Level.UNKNOWN: 0} | {
    level: at for at, level in enumerate(LADDER, start=1)
}
FOUR_PLACES: Final = Decimal("0.0001")
# As many digits as the column holds; a margin below it is told as that.
LEAST: Final = Decimal(-99_999_999)


@dataclass(frozen=True, slots=True)
class Ladder:
    """The lines of one subject; amounts are in its currency."""

    lines: Mapping[Level, Decimal | None] = field(
        default_factory=lambda: {
            Level.WARN: Decimal(20),
            Level.THROTTLE: Decimal(10),
            Level.BLOCK: ZERO,
        }
    )
    minimum_cogs: Decimal = Decimal(1)
    free_cogs_allowance: Decimal = ZERO
    scopes: frozenset[str] = frozenset(
        {Scope.SUBSCRIPTION, Scope.CUSTOMER, Scope.AGENT}
    )


DEFAULT: Final = Ladder()


def ladder_of(*said: Mapping[str, Any] | None) -> Ladder:
    """Return the ladder that limits say, the later ones before the earlier ones.

    Each is the member `margin` of limits, as catalog.limits checked it.
    """
    merged: dict[str, Any] = {}
    for one in said:
        merged |= one or {}
    if not merged:
        return DEFAULT
    lines = dict(DEFAULT.lines)
    for level in LADDER:
        if level.value in merged:
            text = merged[level.value]
            lines[level] = None if text is None else Decimal(text)
    return Ladder(
        lines,
        Decimal(merged.get("minimum_cogs", DEFAULT.minimum_cogs)),
        Decimal(merged.get("free_cogs_allowance", DEFAULT.free_cogs_allowance)),
        frozenset(merged.get("scopes", DEFAULT.scopes)),
    )


def mildest(ladders: Iterable[Ladder]) -> Ladder:
    """Return the ladder of what stands under several: no line above any of theirs."""
    found = list(ladders)
    if not found:
        return DEFAULT
    return functools.reduce(_milder, found)


def _milder(one: Ladder, other: Ladder) -> Ladder:
    lines: dict[Level, Decimal | None] = {}
    for level in LADDER:
        mine, theirs = one.lines[level], other.lines[level]
        both = mine is not None and theirs is not None
        lines[level] = min(mine, theirs) if both else None  # type: ignore[type-var]
    return Ladder(
        lines,
        max(one.minimum_cogs, other.minimum_cogs),
        one.free_cogs_allowance + other.free_cogs_allowance,
        one.scopes | other.scopes,
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """What a subject earned and cost in a period, exactly."""

    revenue: Decimal
    cogs: Decimal
    # Events whose cost is not known, for want of a rate or of a rate of exchange.
    cost_unknown_count: int = 0
    # Revenue or cost that no rate of exchange brings into the subject's currency.
    is_convertible: bool = True


def margin(figures: Figures, allowance: Decimal = ZERO) -> Decimal | None:
    """Return the margin in percent, to four places, rounded down.

    Cost without revenue is −100; None where there is neither, or cost alone within
    the allowance, or what cannot be converted.
    """
    if not figures.is_convertible:
        return None
    if figures.revenue <= 0:
        return None if figures.cogs <= allowance else -HUNDRED
    left = CONTEXT.multiply(figures.revenue - figures.cogs, HUNDRED)
    exact = CONTEXT.divide(left, figures.revenue)
    return max(
        exact.quantize(FOUR_PLACES, rounding="ROUND_FLOOR", context=CONTEXT), LEAST
    )


def level(figures: Figures, ladder: Ladder, before: Level = Level.OK) -> Level:
    """Return the level that figures come to for a subject that was at `before`.

    Costs that are not known can only worsen a margin, so a level that the known ones
    reach holds. Where those are too small to say anything, it is unknown.
    """
    if not figures.is_convertible:
        return Level.UNKNOWN
    if figures.cogs < ladder.minimum_cogs:
        return Level.UNKNOWN if figures.cost_unknown_count else Level.OK
    found = margin(figures, ladder.free_cogs_allowance)
    if found is None:
        return Level.OK
    for one in reversed(LADDER):
        line = ladder.lines[one]
        if line is None:
            continue
        holds = SEVERITY[before] >= SEVERITY[one] and found < line + EASES
        if found < line or holds:
            return one
    return Level.OK
