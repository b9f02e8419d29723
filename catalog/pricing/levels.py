"""Spend levels: what was spent or bought before decides at which price an event is.

A charge is for a level by an ordinary condition on the property `spend_level`, which
is set here and never taken from an event. So the level of an event hangs on the order:
rating goes through the events one by one and says which level each had; who rates
again puts those levels into the events, and everything is free of order once more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import accumulate
from typing import NamedTuple

from catalog.pricing.exact import ZERO
from catalog.pricing.plan import SPEND_LEVEL, Level, Plan
from catalog.pricing.rating import Outcome, rate_many
from catalog.pricing.state import PlanState
from catalog.pricing.usage import Unrateable, UsageEvent


class Purchase(NamedTuple):
    """Credits that a customer bought."""

    at: datetime
    amount: Decimal  # In the plan's currency.


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides a customer's level beside the events that are being rated."""

    spend: Decimal = ZERO  # Rated before in the period: usage, no fixed amounts.
    purchases: tuple[Purchase, ...] = ()  # In the order of time.
    given: str = ""  # The key of a level that somebody gave by hand.


NO_STANDING = Standing()


@dataclass(frozen=True, slots=True)
class Levelled:
    """Events that were rated in turn, each at the level that was in force for it."""

    outcomes: list[Outcome]
    levels: list[str]  # The key of each event's level.
    after: PlanState
    spend: Decimal  # With these events.


def level_in_force(
    levels: Sequence[Level], *, spend: Decimal, credits: Decimal, given: str
) -> Level:
    """Return the highest level whose trigger is met; one given by hand is met."""
    for level in reversed(levels[1:]):
        if level.key == given:
            return level
        if level.spend_from is not None and spend >= level.spend_from:
            return level
        if level.credits_from is not None and credits >= level.credits_from:
            return level
    return levels[0]


def asks_for_purchases(plan: Plan) -> bool:
    """Tell whether a level of the plan is reached by buying credits."""
    return any(level.credits_from is not None for level in plan.levels)


def with_level(event: UsageEvent, level: str) -> UsageEvent:
    """Return the event as a charge of that level sees it, whatever it says itself."""
    return event._replace(properties={**event.properties, SPEND_LEVEL: level})


def rate_by_level(
    plan: Plan,
    before: PlanState,
    events: Iterable[UsageEvent],
    standing: Standing = NO_STANDING,
) -> Levelled:
    """Price events one after another, each at the level that those before it reached.

    Bought credits count for the events that came after them. The event that reaches a
    level is priced at the old one, the next one at the new.
    """
    outcomes: list[Outcome] = []
    levels: list[str] = []
    spend = standing.spend
    times = [purchase.at for purchase in standing.purchases]
    sums = [ZERO, *accumulate(purchase.amount for purchase in standing.purchases)]

    def in_turn() -> Iterator[UsageEvent]:
        nonlocal spend
        for event in events:
            # Rating asks for an event when the one before has its outcome.
            spend += _spent(outcomes[len(levels) - 1 :]) if levels else ZERO
            level = level_in_force(
                plan.levels,
                spend=spend,
                credits=sums[bisect_right(times, event.occurred_at)],
                given=standing.given,
            )
            levels.append(level.key)
            yield with_level(event, level.key)

    _, after = rate_many(plan, before, in_turn(), outcomes)
    return Levelled(outcomes, levels, after, spend + _spent(outcomes[-1:]))


def _spent(outcomes: Iterable[Outcome]) -> Decimal:
    """Return what events that were priced come to."""
    return sum(
        (
            line.amount
            for outcome in outcomes
            if not isinstance(outcome, Unrateable)
            for line in outcome
        ),
        ZERO,
    )


def rate_period(
    plan: Plan, events: Sequence[UsageEvent], standing: Standing = NO_STANDING
) -> tuple[list[Outcome], PlanState]:
    """Price a whole period's events; where levels decide, in the order of time."""
    if not plan.levels:
        return rate_many(plan, {}, events)
    in_time = sorted(events, key=lambda event: (event.occurred_at, event.event_id))
    rated = rate_by_level(plan, {}, in_time, replace(standing, spend=ZERO))
    return rated.outcomes, rated.after
