"""One period's usage of one charge while events are added to it.

A meter is staged with an event's value, which may refuse it, and then committed,
which cannot fail: so an event touches all its charges or none.
"""

from __future__ import annotations

import base64
import bisect
import hashlib
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from aforo.lib.money import QUANTUM, plain
from catalog.pricing.agentic import Compound, Recipe
from catalog.pricing.curves import Segment, breakdown, segments
from catalog.pricing.exact import (
    ZERO,
    check_quantity,
    divide,
    fit_quantity,
    round_amount,
)
from catalog.pricing.fees import bounds, fee_steps, walk
from catalog.pricing.lines import Line, Step, amount_of, difference
from catalog.pricing.plan import Aggregation, Charge, Percentage
from catalog.pricing.state import (
    ChargeState,
    Fees,
    First,
    Tally,
    quantity_of,
)
from catalog.pricing.usage import Reason, Refused, UsageEvent

# Distinct values are kept as digests of 96 bits, 19 bytes of JSON each.
UNIQUE_MAX = 10_000
_UNREACHED = Decimal(-2)
_new = tuple.__new__  # Half the time of calling the named tuple.


@dataclass(frozen=True, slots=True)
class Part:
    """A metered charge of a plan, with its price curve worked out."""

    charge: Charge
    currency: str
    pieces: tuple[Segment, ...]
    whole: Charge  # As the plan says it; `charge` has the price of outcomes or units.
    compound: Compound | None = None


def part_of(charge: Charge, currency: str) -> Part:
    """Return the charge with its price curve."""
    model = charge.model
    if isinstance(model, Compound):
        inner = replace(charge, model=model.price)
        return Part(inner, currency, segments(model.price), charge, model)
    if isinstance(model, Recipe):
        inner = replace(charge, model=model.price)
        return Part(inner, currency, segments(model.price), charge)
    return Part(charge, currency, segments(model), charge)


class Meter(Protocol):
    """The usage of one charge, being added to."""

    def stage(self, value: Decimal | str, event: UsageEvent) -> None:
        """Take a value for the next commit.

        Raises Refused, or decimal.Inexact and InvalidOperation for what does not fit.
        """

    def commit(self) -> Line | None:
        """Add the staged value; return the line, or None when nothing changes."""

    def state(self) -> ChargeState:
        """Return the usage so far."""


class Pricer:
    """Where a charge's quantity stands on its price curve."""

    __slots__ = (
        "above",
        "charge",
        "currency",
        "head",
        "intercept",
        "pieces",
        "quantity",
        "slope",
        "steps",
        "tail",
        "total",
        "up_to",
    )

    def __init__(self, part: Part, quantity: Decimal) -> None:
        self.charge = charge = part.charge
        self.currency = part.currency
        self.quantity = quantity
        steps = breakdown(charge.model, quantity)
        self.total = amount_of(steps)
        self.pieces = part.pieces
        # Kept only where every move needs them: a price that goes in jumps.
        self.steps = None if part.pieces else steps
        self.above = _UNREACHED
        self.up_to: Decimal | None = _UNREACHED
        self.slope = self.intercept = ZERO
        self.head: tuple[str, Decimal] = ("", ZERO)
        self.tail: tuple[Decimal, Decimal, Decimal, Decimal | None]
        self._find_piece()

    def _find_piece(self) -> None:
        """Stand on the straight piece that holds the quantity."""
        for piece in self.pieces:
            if piece.up_to is None or self.quantity <= piece.up_to:
                step = piece.step
                self.above, self.up_to = piece.above, piece.up_to
                self.slope, self.intercept = piece.slope, piece.intercept
                self.head = (step.kind, step.unit_amount)
                self.tail = (step.per, ZERO, step.floor, step.up_to)
                return

    def move(self, quantity: Decimal) -> Line | None:
        """Go to another quantity and return the difference in price."""
        added = quantity - self.quantity
        charge = self.charge
        up_to = self.up_to
        if self.above < quantity and (up_to is None or quantity <= up_to):
            total = round_amount(quantity.fma(self.slope, self.intercept), QUANTUM)
            amount = total - self.total
            kind, price = self.head
            per, flat, floor, end = self.tail  # Quicker than a starred tuple.
            steps: tuple[Step, ...] = (
                _new(Step, (kind, added, price, amount, per, flat, floor, end)),
            )
            self.quantity = quantity
        else:
            model = charge.model
            new = breakdown(model, quantity)
            old = self.steps or breakdown(model, self.quantity)
            steps = difference(after=new, before=old)
            total = amount_of(new)
            self.steps = None if self.pieces else new
            amount = total - self.total
            self.quantity = quantity
            self._find_piece()
        self.total = total
        if not added and not amount:
            return None
        unit, currency = charge.unit, self.currency
        line = (charge.key, charge.name, added, amount, unit, currency, steps)
        return _new(Line, line)


class SumMeter(Pricer):
    """Adds up values, or ones: the metrics that nearly every charge has.

    The quantity only grows; the move along a piece is written out, for speed.
    """

    __slots__ = ("added", "count", "key", "name", "next", "unit")

    def __init__(self, part: Part, tally: Tally) -> None:
        super().__init__(part, tally.value)
        self.count = tally.count
        self.next = tally.value
        self.added = ZERO
        charge = part.charge
        self.key, self.name, self.unit = charge.key, charge.name, charge.unit

    def stage(self, value: Any, event: UsageEvent) -> None:
        """Take a number to add."""
        if value < ZERO:
            raise _negative(value)
        self.added = value
        self.next = total = self.quantity + value
        fit_quantity(total, QUANTUM)

    def commit(self) -> Line | None:
        """Add the staged number."""
        self.count += 1
        quantity = self.next
        up_to = self.up_to
        if up_to is not None and quantity > up_to:
            return self.move(quantity)
        total = round_amount(quantity.fma(self.slope, self.intercept), QUANTUM)
        amount = total - self.total
        self.quantity = quantity
        self.total = total
        added = self.added
        if not added and not amount:
            return None
        kind, price = self.head
        per, flat, floor, end = self.tail
        step = _new(Step, (kind, added, price, amount, per, flat, floor, end))
        unit, currency = self.unit, self.currency
        line = (self.key, self.name, added, amount, unit, currency, (step,))
        return _new(Line, line)

    def state(self) -> ChargeState:
        """Return the sum so far."""
        return Tally(self.count, self.quantity)


class TallyMeter:
    """Keeps a maximum, minimum, average, number of distinct or latest value."""

    __slots__ = ("aggregation", "next", "pricer", "seen", "tally", "unseen")

    def __init__(self, part: Part, tally: Tally) -> None:
        assert part.charge.metric is not None
        self.aggregation = part.charge.metric.aggregation
        self.tally = self.next = tally
        self.seen = set(tally.seen)
        self.unseen = ""  # The digest to add, if it is a new one.
        self.pricer = Pricer(part, quantity_of(self.aggregation, tally))

    def stage(self, value: Decimal | str, event: UsageEvent) -> None:
        """Take a value to compare, average or recognise."""
        count = self.tally.count + 1
        if self.aggregation is Aggregation.UNIQUE:
            self.unseen = self._new_digest(value)
            self.next = Tally(count, ZERO)
            return
        number = _number(value)
        check_quantity(number)
        old = self.tally.value
        latest = self.tally.latest
        match self.aggregation:
            case Aggregation.MAX:
                kept = max(old, number)
            case Aggregation.MIN:
                kept = min(old, number) if self.tally.count else number
            case Aggregation.LATEST:
                at = (event.occurred_at, event.event_id)
                newer = latest is None or at > latest
                kept, latest = (number, at) if newer else (old, latest)
            case _:
                kept = old + number
                check_quantity(kept)
        self.next = Tally(count, kept, latest)

    def _new_digest(self, value: Decimal | str) -> str:
        """Return the digest of a value that is new, or an empty text."""
        text = value if isinstance(value, str) else plain(value)
        raw = hashlib.blake2b(text.encode(), digest_size=12).digest()
        digest = base64.b64encode(raw).decode()
        if digest in self.seen:
            return ""
        if len(self.seen) >= UNIQUE_MAX:
            detail = f"more than {UNIQUE_MAX:,} distinct values in one period"
            raise Refused(Reason.TOO_MANY_UNIQUE, detail)
        return digest

    @property
    def staged(self) -> Decimal:
        """The quantity that the next commit leads to."""
        if self.aggregation is Aggregation.UNIQUE:
            return Decimal(len(self.seen) + bool(self.unseen))
        return quantity_of(self.aggregation, self.next)

    def commit(self) -> Line | None:
        """Keep the staged value."""
        self.tally = self.next
        if self.aggregation is Aggregation.UNIQUE:
            if self.unseen:
                self.seen.add(self.unseen)
            return self.pricer.move(Decimal(len(self.seen)))
        if self.aggregation is Aggregation.AVG:
            mean = divide(self.tally.value, Decimal(self.tally.count))
            return self.pricer.move(mean)
        return self.pricer.move(self.tally.value)

    def state(self) -> ChargeState:
        """Return the aggregate so far."""
        tally = self.tally
        return Tally(tally.count, tally.value, tally.latest, frozenset(self.seen))


class FeeMeter:
    """Adds up the fees of a percentage that looks at each event."""

    __slots__ = (
        "charge",
        "currency",
        "fees",
        "first",
        "model",
        "next",
        "paid",
        "steps",
    )

    def __init__(self, part: Part, fees: Fees) -> None:
        self.charge = part.charge
        self.currency = part.currency
        assert isinstance(part.charge.model, Percentage)
        self.model = part.charge.model
        self.fees = fees
        self.first = list(fees.first)
        self.paid = walk(self.model, self.first)
        self.steps = fee_steps(self.model, self.fees, self.paid)
        self.next: First | None = None

    def stage(self, value: Decimal | str, event: UsageEvent) -> None:
        """Take an event's money."""
        number = _number(value)
        check_quantity(self.fees.amount + self.paid.amount + self.paid.free + number)
        self.next = First(event.occurred_at, event.event_id, number)

    def commit(self) -> Line | None:
        """Add the staged event; a late earlier one takes a free place."""
        assert self.next is not None
        model = self.model
        before = self.steps
        added = self.next.amount
        pushed = self._seat(self.next)
        if pushed is not None:
            self._pay(pushed)
        self.steps = fee_steps(model, self.fees, self.paid)
        steps = difference(after=self.steps, before=before)
        amount = amount_of(steps)
        if not added and not amount:
            return None
        charge = self.charge
        return Line(
            charge.key, charge.name, added, amount, charge.unit, self.currency, steps
        )

    def _seat(self, event: First) -> First | None:
        """Put an event among the first; return the one that has no place there."""
        places = self.model.free_events or 0
        if len(self.first) >= places and (not places or event > self.first[-1]):
            return event
        bisect.insort(self.first, event)
        pushed = self.first.pop() if len(self.first) > places else None
        self.paid = walk(self.model, self.first)
        return pushed

    def _pay(self, event: First) -> None:
        """Add an event that is certainly not free."""
        fees = self.fees
        up, down = bounds(self.model, event.amount)
        self.fees = Fees(
            (),
            fees.count + 1,
            fees.amount + event.amount,
            fees.raised + up,
            fees.cut + down,
        )

    def state(self) -> ChargeState:
        """Return the fees so far."""
        fees = self.fees
        return Fees(tuple(self.first), fees.count, fees.amount, fees.raised, fees.cut)


def _number(value: Decimal | str) -> Decimal:
    """Return a value that can be counted."""
    assert isinstance(value, Decimal)
    if value < ZERO:
        raise _negative(value)
    return value


def _negative(value: Decimal) -> Refused:
    """Return the refusal of a value below zero."""
    return Refused(Reason.NEGATIVE_QUANTITY, f"{plain(value)} is negative")
