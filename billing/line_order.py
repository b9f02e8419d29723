"""In which order an invoice's lines stand, and what is printed of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from billing import plan_terms
from catalog.pricing.terms import DISCOUNT, MAXIMUM, MINIMUM

if TYPE_CHECKING:
    from billing.bill import BillLine

_KINDS = (DISCOUNT, MAXIMUM, MINIMUM)


class Place(NamedTuple):
    """Where a line stands among those of its contract."""

    is_late: bool
    late_of: dt.datetime
    start: dt.datetime  # Of the first snapshot that charged it.
    order: int  # Among the lines of its plan.


def ordered(drawn: Sequence[tuple[Place, BillLine]]) -> list[BillLine]:
    """Return lines contract by contract; a plan's terms come after all its charges."""
    first: dict[tuple[object, ...], dt.datetime] = {}
    for place, line in drawn:
        contract = (*place[:2], line.subscription_id)
        first[contract] = min(first.get(contract, place.start), place.start)

    def key(pair: tuple[Place, BillLine]) -> tuple[Any, ...]:
        place, line = pair
        contract = (*place[:2], line.subscription_id)
        begun, rank = first[contract], _rank(line.charge_key)
        return (*place[:2], begun, line.subscription_id, rank, *place[2:])

    return [line for _, line in sorted(drawn, key=key)]


def _rank(key: str) -> int:
    """Return the place of a kind of line: charges, discounts, maximum, minimum."""
    return next((n for n, kind in enumerate(_KINDS, 1) if key.startswith(kind)), 0)


def printed(lines: Sequence[BillLine], currency: str) -> tuple[BillLine, ...]:
    """Return lines with the amounts that are printed, contract by contract."""
    found: list[BillLine] = []
    by_contract = groupby(lines, lambda li: (li.subscription_id, li.usage_period_id))
    for _, group in by_contract:
        own = list(group)
        rows = [(line.charge_key, line.exact_amount) for line in own]
        amounts = plan_terms.printed(rows, currency)
        pairs = zip(own, amounts, strict=True)
        found += [replace(line, amount=amount) for line, amount in pairs]
    return tuple(found)
