"""What holds for a plan as a whole: discounts, the maximum and the minimum spend.

Order: the charges' amounts of a period, each with its own discount, maximum and
minimum; the percentages, each of its charges' amounts before any of them, together at
most all of a charge; the amounts, as far as something is left of their charges; the
maximum; the minimum. They are worked out when a period ends, so what an event costs
does not depend on them.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from catalog.pricing.exact import EXACT, HUNDRED, ZERO, q12
from catalog.pricing.lines import Line, Step, amount_of
from catalog.pricing.plan import Charge, Discount, Due, Filter, Flat, Plan

# Keys of lines that no charge can have: a charge's key has no colon.
PREFIX = "plan:"
MINIMUM = "plan:minimum"
MAXIMUM = "plan:maximum"
DISCOUNT = "plan:discount:"
_NAMES = {MAXIMUM: "Maximum spend", MINIMUM: "Minimum spend"}
# What the ledger's charge keys have room for, less the prefix.
_SLUG_MAX = 60

Share = Callable[[Decimal], Decimal]


class Parts(NamedTuple):
    """What a charge comes to in a period."""

    fixed: Decimal  # What no usage caused: fees, first flat amounts, minimums.
    usage: Decimal

    @property
    def whole(self) -> Decimal:
        """Both together."""
        return self.fixed + self.usage


NOTHING = Parts(ZERO, ZERO)


class PlanLine(NamedTuple):
    """A line of the plan as a whole."""

    line: Line
    fixed: Decimal  # The part of its amount that falls on fixed amounts.


def is_plan_key(key: str) -> bool:
    """Tell whether a line's key is of the plan as a whole, not of a charge."""
    return key.startswith(PREFIX)


def discount_key(name: str) -> str:
    """Return the key of a discount's line: the same name, the same discount."""
    slug = re.sub(r"[^\w]+", "-", name.lower()).strip("-")
    return f"{DISCOUNT}{slug[:_SLUG_MAX]}"


def holds(discount: Discount, starts_on: date | None) -> bool:
    """Tell whether a discount holds for a period that starts on a day."""
    if not discount.is_dated:
        return True
    assert starts_on is not None, "a dated discount needs the day the period starts"
    begun = discount.starts_on is None or discount.starts_on <= starts_on
    return begun and (discount.ends_on is None or starts_on < discount.ends_on)


def line_charge(plan: Plan, key: str) -> tuple[int, Charge]:
    """Return the place of a line among a plan's lines, and the charge it is of.

    What holds for the plan as a whole comes after its charges and is shown like a flat
    amount. Raises KeyError when the plan has no such line.
    """
    if not is_plan_key(key):
        charge = plan.charge(key)
        return plan.charges.index(charge), charge
    discounts = sorted(plan.discounts, key=lambda d: d.percent is None)
    names = {discount_key(d.name): d.name for d in discounts} | _NAMES
    flat = Flat(ZERO, Due.ARREARS)
    charge = Charge(key, names[key], "", None, flat, Filter(()))
    return len(plan.charges) + list(names).index(key), charge


def plan_lines(
    plan: Plan,
    lines: Iterable[Line],
    starts_on: date | None,
    share: Share = lambda amount: amount,
) -> tuple[Line, ...]:
    """Return the lines that hold for a plan as a whole, after its charges' lines.

    `lines` are all of the period: opening, usage, closing and minimums. `starts_on` is
    the day on which the period starts; it decides which discounts hold. `share` gives
    the part of an amount that is due for a part of the period.
    """
    parts: dict[str, Parts] = {}
    with decimal.localcontext(EXACT):
        for line in lines:
            before = parts.get(line.charge_key, NOTHING)
            parts[line.charge_key] = before._replace(usage=before.usage + line.amount)
    found = terms_of(plan, parts, starts_on=starts_on, share=share)
    return tuple(row.line for row in found)


def terms_of(
    plan: Plan, parts: Mapping[str, Parts], *, starts_on: date | None, share: Share
) -> list[PlanLine]:
    """Return the same from what each charge comes to, fixed and by usage."""
    with decimal.localcontext(EXACT):
        work = _Work(plan, parts)
        active = [d for d in plan.discounts if holds(d, starts_on)]
        for discount in active:
            if discount.percent is not None:
                work.percent(discount, discount.percent)
        for discount in active:
            if discount.amount is not None:
                work.amount(discount, share(discount.amount))
        if plan.maximum is not None:
            work.maximum(share(plan.maximum))
        if plan.minimum is not None:
            work.minimum(share(plan.minimum))
        return work.found


class _Work:
    """A period's amounts while discounts, maximum and minimum are worked out."""

    def __init__(self, plan: Plan, parts: Mapping[str, Parts]) -> None:
        self.plan = plan
        self.parts = parts
        self.left = dict(parts)
        self.percents: dict[str, Decimal] = {}  # Taken off each charge so far.
        self.found: list[PlanLine] = []

    def _charges(self, discount: Discount) -> list[str]:
        """Return the charges of a discount of which something is left to take."""
        keys = set(discount.charges)
        return [
            charge.key
            for charge in self.plan.charges
            if (not keys or charge.key in keys)
            and self.left.get(charge.key, NOTHING).whole > ZERO
        ]

    def _take(self, key: str, taken: Parts) -> None:
        """Note what is taken off a charge."""
        left = self.left[key]
        self.left[key] = Parts(left.fixed - taken.fixed, left.usage - taken.usage)

    def _add(self, key: str, name: str, fixed: Decimal, steps: list[Step]) -> None:
        """Add a line, unless nothing comes of it."""
        amount = amount_of(steps)
        if amount:
            exact = tuple(step._replace(amount=q12(step.amount)) for step in steps)
            line = Line(key, name, ZERO, amount, "", self.plan.currency, exact)
            self.found.append(PlanLine(line, fixed))

    def percent(self, discount: Discount, percent: Decimal) -> None:
        """Take a percentage off each charge, as far as not all of it is taken.

        A charge's percentages are rounded as they add up, so that all of them together
        never take a digit more than there is.
        """
        steps: dict[Decimal, Step] = {}  # By the percentage that is taken.
        fixed = ZERO
        for key in self._charges(discount):
            before = self.percents.get(key, ZERO)
            after = min(before + percent, HUNDRED)
            part = self.parts[key]
            off = _between(part.whole, before, after)
            off_fixed = _between(part.fixed, before, after)
            self.percents[key] = after
            self._take(key, Parts(off_fixed, off - off_fixed))
            fixed -= off_fixed
            step = steps.setdefault(
                after - before, Step("plan_percent", ZERO, after - before, ZERO)
            )
            steps[after - before] = step._replace(
                quantity=step.quantity + part.whole, amount=step.amount - off
            )
        kept = [step for step in steps.values() if step.amount]
        self._add(discount_key(discount.name), discount.name, fixed, kept)

    def amount(self, discount: Discount, amount: Decimal) -> None:
        """Take an amount off the charges in their order, of usage before fixed."""
        keys = self._charges(discount)
        there = sum((self.left[key].whole for key in keys), ZERO)
        rest, fixed = min(amount, there), ZERO
        total = rest
        for key in keys:
            left = self.left[key]
            part = min(rest, left.whole)
            usage = min(part, max(left.usage, ZERO))
            self._take(key, Parts(part - usage, usage))
            fixed -= part - usage
            rest -= part
        step = Step("plan_amount", there, amount, -total)
        self._add(discount_key(discount.name), discount.name, fixed, [step])

    def _total(self) -> Parts:
        """Return what everything comes to so far."""
        fixed = sum((part.fixed for part in self.left.values()), ZERO)
        return Parts(fixed, sum((part.usage for part in self.left.values()), ZERO))

    def maximum(self, most: Decimal) -> None:
        """Take off what is beyond the maximum, of usage before fixed amounts."""
        so_far = self._total()
        over = so_far.whole - most
        if over > ZERO:
            usage = min(over, max(so_far.usage, ZERO))
            self.left[MAXIMUM] = Parts(usage - over, -usage)
            step = Step("plan_maximum", most + over, most, -over)
            self._add(MAXIMUM, _NAMES[MAXIMUM], usage - over, [step])

    def minimum(self, least: Decimal) -> None:
        """Add what is missing to the minimum."""
        so_far = self._total().whole
        if so_far < least:
            step = Step("plan_minimum", so_far, least, least - so_far)
            self._add(MINIMUM, _NAMES[MINIMUM], least - so_far, [step])


def _between(base: Decimal, before: Decimal, after: Decimal) -> Decimal:
    """Return a base's share between two percentages, both rounded to 12 places."""
    return q12(base * (after / HUNDRED)) - q12(base * (before / HUNDRED))
