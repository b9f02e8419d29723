"""Percentages that look at each event: fixed fees, bounds and the first ones free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from catalog.pricing.exact import HUNDRED, ONE, ZERO
from catalog.pricing.lines import Step, rounded
from catalog.pricing.plan import Percentage
from catalog.pricing.state import Fees, First


@dataclass(frozen=True, slots=True)
class Paid:
    """What some events come to: sums, so that their order is of no importance."""

    count: int  # Events that pay.
    amount: Decimal  # The money that the rate applies to.
    raised: Decimal  # What the minimum added.
    cut: Decimal  # What the maximum took off.
    free: Decimal  # Money that stays free.


def bounds(model: Percentage, amount: Decimal) -> tuple[Decimal, Decimal]:
    """Return what the minimum adds to one event's fee and what the maximum cuts."""
    fee = amount * (model.rate / HUNDRED) + model.fixed_amount
    if model.minimum is not None and fee < model.minimum:
        return model.minimum - fee, ZERO
    if model.maximum is not None and fee > model.maximum:
        return ZERO, fee - model.maximum
    return ZERO, ZERO


def walk(model: Percentage, first: Iterable[First]) -> Paid:
    """Spend the free allowance on the earliest events and add up what they pay.

    It ends after `free_events` events or with the last of `free_amount`.
    """
    count = 0
    paid = raised = cut = free = ZERO
    left = model.free_amount
    for event in first:
        covered = event.amount if left is None else min(event.amount, left)
        exhausted = left is not None and not left
        if not exhausted and covered == event.amount:
            free += covered
        else:
            rest = event.amount - covered
            up, down = bounds(model, rest)
            count += 1
            paid += rest
            raised += up
            cut += down
            free += covered
        if left is not None:
            left -= covered
    return Paid(count, paid, raised, cut, free)


def fee_steps(model: Percentage, fees: Fees, first: Paid) -> tuple[Step, ...]:
    """Return a period's fees, step by step; `first` is the walk over its first."""
    amount = fees.amount + first.amount
    count = Decimal(fees.count + first.count)
    steps = []
    if first.free:
        steps.append(Step("free", first.free, ZERO, ZERO))
    steps.append(Step("percent", amount, model.rate, amount * (model.rate / HUNDRED)))
    if model.fixed_amount:
        fixed = model.fixed_amount
        steps.append(Step("fixed", count, fixed, count * fixed))
    if model.minimum is not None:
        raised = fees.raised + first.raised
        steps.append(Step("minimum", ZERO, model.minimum, raised))
    if model.maximum is not None:
        cut = fees.cut + first.cut
        steps.append(Step("maximum", ZERO, model.maximum, -cut, ONE))
    return rounded(steps)


def fee_quantity(fees: Fees, first: Paid) -> Decimal:
    """Return all the money that the events were about, free or paid."""
    return fees.amount + first.amount + first.free
