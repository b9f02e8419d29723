"""What holds for a plan as a whole, in words."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

from catalog.pricing import Discount, Plan, plan_to_json
from catalog.pricing.words import money_words, number_words


class Term(NamedTuple):
    """One thing that holds for a plan as a whole, as people read it."""

    name: str
    words: str


def plan_terms(plan: Plan) -> list[Term]:
    """Return minimum and maximum spend and every discount of a plan."""
    found = [
        Term(name, f"{money_words(amount, plan.currency)} a month")
        for name, amount in (
            ("Minimum spend", plan.minimum),
            ("Maximum spend", plan.maximum),
        )
        if amount is not None
    ]
    return found + [Term(d.name, discount_words(d, plan)) for d in plan.discounts]


def discount_words(discount: Discount, plan: Plan) -> str:
    """Return a discount, such as 10 % off Input tokens, from 1 Nov 2026."""
    if discount.percent is not None:
        words = f"{number_words(discount.percent)} % off"
    else:
        assert discount.amount is not None
        words = f"{money_words(discount.amount, plan.currency)} a month off"
    names = [c.name for c in plan.charges if c.key in discount.charges]
    words += f" {' and '.join(names)}" if names else " everything"
    if discount.starts_on is not None:
        words += f", from {_day(discount.starts_on)}"
    if discount.ends_on is not None:
        words += f", before {_day(discount.ends_on)}"
    return words


def _day(day: dt.date) -> str:
    """Return a date without ambiguity, such as 1 Nov 2026."""
    return f"{day.day} {day:%b %Y}"


def public_terms(plan: Plan) -> dict[str, Any]:
    """Return the same as plan JSON has it, charges by name, with the words."""
    row = plan_to_json(plan)
    found = {name: row[name] for name in ("minimum", "maximum") if name in row}
    names = {charge.key: charge.name for charge in plan.charges}
    discounts = []
    for said, discount in zip(row.get("discounts", ()), plan.discounts, strict=True):
        if discount.charges:
            said = {**said, "charges": [names[key] for key in discount.charges]}
        discounts.append({**said, "text": discount_words(discount, plan)})
    return found | ({"discounts": discounts} if discounts else {})
