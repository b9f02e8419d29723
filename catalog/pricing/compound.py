"""Outcomes: many metered events, one price for what they achieve together.

What makes an outcome is said in `outcomes`. It depends on counts, sums and earliest
times only, so outcomes are free of the order of events.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from catalog.pricing.agentic import Compound
from catalog.pricing.exact import ZERO, check_quantity
from catalog.pricing.lines import Line, amount_of, difference
from catalog.pricing.outcomes import (
    Standing,
    beyond,
    group_of_event,
    overage_step,
    standing,
    with_event,
)
from catalog.pricing.state import (
    NO_TALLY,
    ChargeState,
    Pieces,
    PlanState,
    Tally,
    group_key,
)
from catalog.pricing.usage import UsageEvent
from catalog.pricing.words import REVERSED

if TYPE_CHECKING:
    from catalog.pricing.meters import Part


class _Next(NamedTuple):
    """What the staged event leads to."""

    tally: Tally
    key: str = ""  # Of the group that it moves; empty: of none.
    pieces: Pieces | None = None
    is_reversal: bool = False


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
        self.next = _Next(tally)

    def stage(self, value: Decimal | str, event: UsageEvent) -> None:
        """Take an event as a piece of its group's outcome, or as what is said of it.

        Raises Refused for an unknown cost where a budget asks for it.
        """
        model, tally = self.model, self.tally
        self.next = _Next(tally)
        group = group_of_event(model, event)
        key = group_key(self.key, group) if group else ""
        old = self.groups.get(key) or self.before.get(key) if key else None
        assert old is None or isinstance(old, Pieces)
        # Nothing ties an event without a group to others: it is one of its own.
        new = with_event(model, old, event, is_alone=not group)
        if new is None:
            return
        was = standing(model, old) if old else Standing.INCOMPLETE
        then = standing(model, new)
        moved = (then is Standing.MATCHED) - (was is Standing.MATCHED)
        over = tally.beyond + beyond(model, new) - beyond(model, old)
        check_quantity(over)
        self.next = _Next(
            Tally(tally.count + 1, tally.value + moved, beyond=over),
            key,
            new if key else None,
            then is Standing.REVERSED and was is Standing.MATCHED,
        )

    def commit(self) -> Line | None:
        """Add the staged event."""
        before = self.tally
        self.tally, key, pieces, is_reversal = self.next
        if pieces is not None:
            self.groups[key] = pieces
        line = None
        if self.tally.value != before.value:
            line = self.pricer.move(self.tally.value)
        if line is not None and is_reversal:
            told = [one._replace(kind=REVERSED + one.kind) for one in line.steps]
            line = line._replace(steps=tuple(told))
        return self._with_overage(line, before.beyond)

    def _with_overage(self, line: Line | None, before: Decimal) -> Line | None:
        """Return a difference in price with that of the cost beyond budgets."""
        budget, after = self.model.budget, self.tally.beyond
        if budget is None or after == before:
            return line
        steps = difference(
            after=(overage_step(budget, after),), before=(overage_step(budget, before),)
        )
        more = amount_of(steps)
        if line is None and not more:
            return None
        if line is None:
            charge = self.pricer.charge
            name, unit, currency = charge.name, charge.unit, self.pricer.currency
            return Line(self.key, name, ZERO, more, unit, currency, steps)
        return line._replace(amount=line.amount + more, steps=line.steps + steps)

    def state(self) -> ChargeState:
        """Return how many outcomes there are so far."""
        return self.tally

    def group_states(self) -> Mapping[str, ChargeState]:
        """Return the pieces of the groups that were touched, by their keys."""
        return self.groups
