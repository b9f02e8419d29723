"""Outcomes: many metered events, one price for what they achieve together.

A correlation (or session) is an outcome when it has enough events of every
requirement, the earliest of which lie close enough together. That depends on counts
and on earliest times only, so outcomes are free of the order of events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from catalog.pricing.exact import ONE
from catalog.pricing.lines import Line
from catalog.pricing.plan import Compound, Grouping
from catalog.pricing.state import (
    NO_TALLY,
    ChargeState,
    Pieces,
    PlanState,
    Tally,
    group_key,
)
from catalog.pricing.usage import UsageEvent

if TYPE_CHECKING:
    from catalog.pricing.meters import Part


def group_of_event(model: Compound, event: UsageEvent) -> str:
    """Return the group that an event belongs to; empty: none, or one of its own."""
    if model.by is Grouping.SESSION:
        return event.session
    if not event.correlation:
        return ""
    return hashlib.blake2b(event.correlation.encode(), digest_size=16).hexdigest()


def matches(model: Compound, event: UsageEvent) -> list[bool]:
    """Tell which requirements an event is a piece of."""
    return [
        event.event_type == one.event_type and one.where.matches(event.properties)
        for one in model.requirements
    ]


def is_outcome(model: Compound, pieces: Pieces) -> bool:
    """Tell whether a group has all pieces, close enough together."""
    for one, count in zip(model.requirements, pieces.counts, strict=True):
        if count < one.at_least:
            return False
    if model.within_seconds is None:
        return True
    times = [at for at in pieces.first if at is not None]
    return max(times) - min(times) <= timedelta(seconds=model.within_seconds)


class CompoundMeter:
    """Counts outcomes and prices them."""

    __slots__ = ("before", "groups", "key", "model", "next", "pricer", "tally")

    def __init__(self, part: Part, model: Compound, before: PlanState) -> None:
        # Here, because meters know this one.
        from catalog.pricing.meters import Pricer

        self.key, self.model, self.before = part.charge.key, model, before
        tally = before.get(self.key, NO_TALLY)
        assert isinstance(tally, Tally)
        self.tally = tally
        self.pricer = Pricer(part, tally.value)
        self.groups: dict[str, Pieces] = {}
        self.next: tuple[Tally, str, Pieces | None] = (tally, "", None)

    def stage(self, value: Decimal | str, event: UsageEvent) -> None:
        """Take an event as a piece of its group's outcome."""
        found = matches(self.model, event)
        tally = self.tally
        self.next = (tally, "", None)
        if not any(found):
            return
        group = group_of_event(self.model, event)
        if not group:
            # Nothing ties it to other events: alone it is an outcome, or none.
            if self.model.is_single:
                self.next = (Tally(tally.count + 1, tally.value + ONE), "", None)
            return
        key = group_key(self.key, group)
        old = self.groups.get(key) or self.before.get(key)
        assert old is None or isinstance(old, Pieces)
        new = _with(old, found, event)
        was = old is not None and is_outcome(self.model, old)
        moved = Decimal(int(is_outcome(self.model, new)) - int(was))
        self.next = (Tally(tally.count + 1, tally.value + moved), key, new)

    def commit(self) -> Line | None:
        """Add the staged event."""
        self.tally, key, pieces = self.next
        if pieces is not None:
            self.groups[key] = pieces
        if self.tally.value == self.pricer.quantity:
            return None
        return self.pricer.move(self.tally.value)

    def state(self) -> ChargeState:
        """Return how many outcomes there are so far."""
        return self.tally

    def group_states(self) -> Mapping[str, ChargeState]:
        """Return the pieces of the groups that were touched, by their keys."""
        return self.groups


def _with(old: Pieces | None, found: list[bool], event: UsageEvent) -> Pieces:
    """Return a group's pieces with one event more."""
    counts = old.counts if old else (0,) * len(found)
    first = old.first if old else (None,) * len(found)
    return Pieces(
        tuple(count + hit for count, hit in zip(counts, found, strict=True)),
        tuple(
            (event.occurred_at if at is None else min(at, event.occurred_at))
            if hit
            else at
            for at, hit in zip(first, found, strict=True)
        ),
    )
