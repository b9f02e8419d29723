"""What changed most in how an agent works, against the same days before.

Decided from the hourly sums alone. Only rates are compared, each per event, so that an
agent that is merely used more has not changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from aforo.lib.money import ZERO, display
from portal.selectors.analytics import Sums
from portal.ui import figures as words

# A smaller relative movement is not told.
WORTH = Decimal("0.10")
# Averages of fewer events say nothing.
EVENTS_MIN = 20
# A share that fewer events than these make is chance.
COUNT_MIN = 5
HALF = Decimal("0.5")
TWICE = Decimal(2)

USAGE, COSTS, FAILED, UNKNOWN = "usage", "costs", "failed", "unknown"


@dataclass(frozen=True, slots=True)
class Change:
    """The largest movement of an agent, or why there is none to tell."""

    name: str = ""  # What moved; empty: nothing did.
    size: str = ""  # By how much: 31 %, 4.2×, from none.
    rose: bool = False
    is_bad: bool = False  # It costs the seller money or the customer answers.
    was: str = ""
    now: str = ""
    behind: str = ""  # What is behind it: usage, costs, failed or unknown.
    note: str = ""  # Said when nothing moved.


@dataclass(frozen=True, slots=True)
class _Rate:
    """A figure per event: how it is taken, written, and what is behind it."""

    name: str
    of: Callable[[Sums], Decimal | None]
    behind: str
    bad_up: bool = True
    count: Callable[[Sums], int] | None = None  # Given: the rate is a share of events.
    is_money: bool = True


def _per_event(amount: Decimal | int | None, sums: Sums) -> Decimal | None:
    if amount is None or not sums.events:
        return None
    return Decimal(amount) / sums.events


def _revenue(sums: Sums) -> Decimal | None:
    return _per_event(sums.figures.known_revenue, sums)


RATES = (
    _Rate(
        "tokens an event",
        lambda s: _per_event(s.tokens, s),
        USAGE,
        is_money=False,
    ),
    _Rate("cost an event", lambda s: s.cost_per_call, COSTS),
    _Rate("revenue an event", _revenue, USAGE, bad_up=False),
    _Rate(
        "failed events",
        lambda s: _per_event(s.errors, s),
        FAILED,
        count=lambda s: s.errors,
    ),
    _Rate(
        "events without cost",
        lambda s: _per_event(s.unknown, s),
        UNKNOWN,
        count=lambda s: s.unknown,
    ),
)


def _text(rate: _Rate, value: Decimal, currency: str) -> str:
    """Return a rate as pages write it."""
    if rate.count:
        return words.percent_text(value)
    if rate.is_money:
        return display(value, currency)
    return words.quantity_text(value.quantize(Decimal(1)))


def _factor(rate: _Rate, now: Sums, before: Sums) -> Decimal | None:
    """Return rate now over rate before; None when the two do not compare.

    A share of nothing counts as half an event, so that a first few failures are a
    large movement and no infinite one.
    """
    new, old = rate.of(now), rate.of(before)
    if new is None or old is None:
        return None
    if rate.count:
        if max(rate.count(now), rate.count(before)) < COUNT_MIN:
            return None
        new, old = new or HALF / now.events, old or HALF / before.events
    return new / old if new > 0 and old > 0 else None


def largest(now: Sums, before: Sums, days: str) -> Change:
    """Return the largest movement from `before` to `now`; `days` names the former."""
    if not before.events:
        return Change(note=f"not used {days}")
    if not now.events:
        return Change(note=f"no events; {before.events:,} in {days}")
    if min(now.events, before.events) < EVENTS_MIN:
        return Change(note="too few events to compare")
    found: tuple[Decimal, _Rate, Decimal] | None = None
    for rate in RATES:
        factor = _factor(rate, now, before)
        if factor is None or abs(factor - 1) < WORTH:
            continue
        extent = max(factor, 1 / factor)
        if found is None or extent > found[0]:
            found = (extent, rate, factor)
    if found is None:
        return Change(note="nothing by 10 % or more")
    return _told(found[1], found[2], now, before)


def _told(rate: _Rate, factor: Decimal, now: Sums, before: Sums) -> Change:
    """Return a movement with its figures as text."""
    new, old = rate.of(now) or ZERO, rate.of(before) or ZERO
    size = words.percent_text(abs(factor - 1), 0)
    if not old or not new:
        size = "to none" if old else "from none"
    elif factor >= TWICE:
        size = f"{factor:.1f}×"
    rose = factor > 1
    return Change(
        rate.name,
        size,
        rose,
        rose is rate.bad_up,
        _text(rate, old, before.currency),
        _text(rate, new, now.currency),
        rate.behind,
    )
