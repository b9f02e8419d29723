"""What makes an outcome: pieces, a confirmation, no reversal. Free of order.

A group is what the events of one correlation id (or session) come to: counts, sums,
and the earliest times. All of them are the same in whatever order the events came, so
whether a group is an outcome is too.
"""

from __future__ import annotations

import bisect
import hashlib
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from catalog.pricing.agentic import Compound, CostBudget, Grouping, Signal
from catalog.pricing.exact import HUNDRED, ZERO, check_quantity, q12
from catalog.pricing.lines import Step
from catalog.pricing.plan import Plan
from catalog.pricing.state import Pieces
from catalog.pricing.usage import Reason, Refused, UsageEvent

# Of a group's confirmations (or reversals) within a window the earliest are kept.
SIGNALS_KEPT = 100


class Standing(StrEnum):
    """What a group of events has come to."""

    INCOMPLETE = "incomplete"  # Pieces are missing, or lie too far apart.
    AWAITING = "awaiting"  # Complete, and not confirmed (in time).
    REVERSED = "reversed"
    MATCHED = "matched"  # An outcome: it is charged.


def group_of_event(model: Compound, event: UsageEvent) -> str:
    """Return the group that an event belongs to; empty: none, or one of its own."""
    if model.by is Grouping.SESSION:
        return event.session
    if not event.correlation:
        return ""
    return hashlib.blake2b(event.correlation.encode(), digest_size=16).hexdigest()


def matches(model: Compound, event: UsageEvent) -> tuple[bool, ...]:
    """Tell which requirements an event is a piece of."""
    return tuple(
        event.event_type == one.event_type and one.where.matches(event.properties)
        for one in model.requirements
    )


def says(signal: Signal | None, event: UsageEvent) -> bool:
    """Tell whether an event is a confirmation (or reversal)."""
    return (
        signal is not None
        and event.event_type == signal.event_type
        and signal.where.matches(event.properties)
    )


def outcome_of(plan: Plan, charge_key: str) -> Compound | None:
    """Return the outcome that a plan prices under a key; None when it is none."""
    for charge in plan.charges:
        if charge.key == charge_key and isinstance(charge.model, Compound):
            return charge.model
    return None


def no_pieces(model: Compound) -> Pieces:
    """Return a group without events."""
    count = len(model.requirements)
    return Pieces((0,) * count, (None,) * count)


def with_event(
    model: Compound, old: Pieces | None, event: UsageEvent, *, is_alone: bool = False
) -> Pieces | None:
    """Return a group's pieces with one event more; None when it is none of them.

    An event that is alone belongs to no group: it counts where one event is an outcome.
    Raises Refused for a cost that a budget asks for and that is not known.
    """
    if is_alone and not model.is_single:
        return None
    found = matches(model, event)
    yes, no = says(model.confirm, event), says(model.reverse, event)
    is_costed = model.budget is not None and (not is_alone or any(found))
    if not (any(found) or yes or no or is_costed):
        return None
    before = no_pieces(model) if old is None else old
    at = event.occurred_at
    cost = before.cost + _cost(event) if is_costed else before.cost
    check_quantity(cost)
    return Pieces(
        tuple(count + hit for count, hit in zip(before.counts, found, strict=True)),
        tuple(
            (at if first is None else min(first, at)) if hit else first
            for first, hit in zip(before.first, found, strict=True)
        ),
        _times(model, before.times, found, at),
        _heard(model.confirm, before.confirmed, at, latest=False) if yes else
        before.confirmed,
        _heard(model.reverse, before.reversed, at, latest=True) if no else
        before.reversed,
        cost,
    )  # fmt: skip


def _times(
    model: Compound,
    before: tuple[tuple[datetime, ...], ...],
    found: tuple[bool, ...],
    at: datetime,
) -> tuple[tuple[datetime, ...], ...]:
    """Return the earliest times of each requirement, as many as complete it.

    Kept only where the moment of completion decides and the first time is not enough.
    """
    if not model.has_signals:
        return ()
    if all(one.at_least == 1 for one in model.requirements):
        return ()
    if not any(found):
        return before
    rows = before or ((),) * len(found)
    return tuple(
        _inserted(times, at)[: one.at_least] if hit else times
        for one, times, hit in zip(model.requirements, rows, found, strict=True)
    )


def _inserted(times: tuple[datetime, ...], at: datetime) -> tuple[datetime, ...]:
    """Return rising times with one more."""
    place = bisect.bisect_right(times, at)
    return (*times[:place], at, *times[place:])


def _heard(
    signal: Signal | None,
    before: tuple[datetime, ...],
    at: datetime,
    *,
    latest: bool,
) -> tuple[datetime, ...]:
    """Return when a signal came, with one time more: what may still decide.

    Without a window one time is enough: the latest, or the earliest.
    """
    assert signal is not None
    if at in before:
        return before
    if signal.within_seconds is None:
        return (max((*before, at)) if latest else min((*before, at)),)
    return _inserted(before, at)[:SIGNALS_KEPT]


def _cost(event: UsageEvent) -> Decimal:
    """Return our cost of an event, or refuse the event."""
    if event.cost is None:
        raise Refused(Reason.UNKNOWN_COST, "the cost of the event is unknown")
    return event.cost


def completed_at(model: Compound, pieces: Pieces) -> datetime | None:
    """Return when a group had all its pieces; None when it has not.

    With `within_seconds` the earliest of each lie close enough together.
    """
    for one, count in zip(model.requirements, pieces.counts, strict=True):
        if count < one.at_least:
            return None
    first = [at for at in pieces.first if at is not None]
    within = model.within_seconds
    if within is not None and max(first) - min(first) > timedelta(seconds=within):
        return None
    return max(times[-1] for times in pieces.times) if pieces.times else max(first)


def standing(model: Compound, pieces: Pieces) -> Standing:
    """Return what a group has come to.

    A confirmation without a window counts whenever it came; every other signal from
    the completion on. A reversal goes before a confirmation.
    """
    done = completed_at(model, pieces)
    if done is None:
        return Standing.INCOMPLETE
    if any(_is_in(model.reverse, done, at) for at in pieces.reversed):
        return Standing.REVERSED
    if model.confirm is None:
        return Standing.MATCHED
    if model.confirm.within_seconds is None:
        held = bool(pieces.confirmed)
    else:
        held = any(_is_in(model.confirm, done, at) for at in pieces.confirmed)
    return Standing.MATCHED if held else Standing.AWAITING


def _is_in(signal: Signal | None, done: datetime, at: datetime) -> bool:
    """Tell whether a signal came from the completion on, within its window."""
    if signal is None or at < done:
        return False
    if signal.within_seconds is None:
        return True
    return at - done <= timedelta(seconds=signal.within_seconds)


def beyond(model: Compound, pieces: Pieces | None) -> Decimal:
    """Return what of a group's cost its budget does not cover; zero of no outcome."""
    if model.budget is None or pieces is None:
        return ZERO
    if standing(model, pieces) is not Standing.MATCHED:
        return ZERO
    return max(pieces.cost - model.budget.amount, ZERO)


def overage_step(budget: CostBudget, cost: Decimal) -> Step:
    """Return what is billed of the cost beyond the budgets of a period's outcomes."""
    amount = q12(cost * (budget.overage_percent / HUNDRED))
    return Step("cost_overage", cost, budget.overage_percent, amount)
