"""What a backtest says: of each customer, and over all of them.

A row's figures are JSON with exact decimals as texts: `left_out` with the reason, or
`start`, `end`, `events`, `cost`, `unknown`, `old` (a bill or null), `new` (a bill for
each plan) and `flags` (`shock`, `turned`: under any of them). A bill has `amount` (of
lines rounded as on invoices), `exact`, `fees` and `lines`.

Costs that are not known are left out of every sum, and said beside it: a margin is then
"at most", and a customer that is unprofitable is so for certain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aforo.lib.money import ZERO, plain
from billing.bill import BillLine
from catalog.pricing.exact import divide
from metering.backtest import Bill, LeftOut, Priced

# A bill that rises by more than this is a shock.
SHOCK = Decimal("0.2")
Json = Mapping[str, Any]


def row_figures(priced: Priced | LeftOut) -> dict[str, Any]:
    """Return what is kept of one customer."""
    if isinstance(priced, LeftOut):
        return {"left_out": priced.reason}
    figures = {
        "start": priced.start.isoformat(),
        "end": priced.end.isoformat(),
        "events": priced.event_count,
        "cost": plain(priced.cost),
        "unknown": priced.cost_unknown_count,
        "old": None if priced.old is None else _bill(priced.old),
        "new": [_bill(bill) for bill in priced.new],
    }
    flags = {flag for change in changes(figures) for flag in change.flags}
    return {**figures, "flags": sorted(flags)}


def _bill(bill: Bill) -> dict[str, Any]:
    """Return a bill as JSON."""
    return {
        "amount": plain(bill.amount),
        "exact": plain(bill.exact),
        "fees": plain(bill.fees),
        "lines": [_line(line) for line in bill.lines],
    }


def _line(line: BillLine) -> dict[str, Any]:
    """Return a bill's line as JSON, its steps as invoices keep them."""
    return {
        "charge": line.charge_key,
        "name": line.name,
        "quantity": plain(line.quantity),
        "unit": line.unit,
        "amount": plain(line.amount),
        "exact": plain(line.exact_amount),
        "steps": line.steps,
    }


@dataclass(frozen=True, slots=True)
class Change:
    """One customer under one plan, beside what was billed."""

    old: Decimal | None  # None: billed in another currency.
    new: Decimal
    exact: Decimal
    fees: Decimal
    cost: Decimal
    is_cost_known: bool
    was_paying: bool  # What was billed covered the known cost.

    @property
    def difference(self) -> Decimal | None:
        """The new bill less the old one."""
        return None if self.old is None else self.new - self.old

    @property
    def ratio(self) -> Decimal | None:
        """The difference as a part of the old bill; None without one."""
        return divide(self.new - self.old, self.old) if self.old else None

    @property
    def margin(self) -> Decimal | None:
        """(revenue − cost) ÷ revenue; None where either is missing."""
        if not self.is_cost_known or not self.exact:
            return None
        return divide(self.exact - self.cost, self.exact)

    @property
    def is_shock(self) -> bool:
        """Whether the bill rises by more than a fifth, or from nothing."""
        if self.old is None:
            return False
        return self.new > self.old * (1 + SHOCK) and self.new > 0

    @property
    def is_unprofitable(self) -> bool:
        """Whether the new bill does not cover the known cost."""
        return self.exact < self.cost

    @property
    def flags(self) -> list[str]:
        """What somebody should look at: shock and turned."""
        named = (("shock", self.is_shock), ("turned", self.turns_unprofitable))
        return [name for name, holds in named if holds]

    @property
    def turns_unprofitable(self) -> bool:
        """Whether the old bill covered the known cost and the new one does not."""
        return self.was_paying and self.is_unprofitable


def changes(figures: Json) -> list[Change]:
    """Return a customer under each plan; empty for one that was left out."""
    if "left_out" in figures:
        return []
    old, cost = figures["old"], Decimal(figures["cost"])
    return [
        Change(
            None if old is None else Decimal(old["amount"]),
            Decimal(bill["amount"]),
            Decimal(bill["exact"]),
            Decimal(bill["fees"]),
            cost,
            not figures["unknown"],
            old is not None and Decimal(old["exact"]) >= cost,
        )
        for bill in figures["new"]
    ]


@dataclass(slots=True)
class _Sums:
    """One plan over all customers."""

    old: Decimal = ZERO
    new_compared: Decimal = ZERO  # Of the customers that have an old bill.
    new: Decimal = ZERO
    exact: Decimal = ZERO
    fees: Decimal = ZERO
    incomparable: int = 0
    margins: list[Decimal] = field(default_factory=list)
    unprofitable: int = 0
    turned: int = 0
    shocks: int = 0

    def add(self, change: Change) -> None:
        """Add a customer."""
        self.new += change.new
        self.exact += change.exact
        self.fees += change.fees
        if change.old is None:
            self.incomparable += 1
        else:
            self.old += change.old
            self.new_compared += change.new
        if change.margin is not None:
            self.margins.append(change.margin)
        self.unprofitable += change.is_unprofitable
        self.turned += change.turns_unprofitable
        self.shocks += change.is_shock


def summarise(rows: Iterable[Json], *, plan_count: int) -> dict[str, Any]:
    """Return the result of a backtest from its rows, in any order."""
    sums = [_Sums() for _ in range(plan_count)]
    left_out: dict[str, int] = {}
    customers = events = unknown = 0
    cost = ZERO
    for figures in rows:
        if "left_out" in figures:
            reason = figures["left_out"]
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        customers += 1
        events += figures["events"]
        unknown += figures["unknown"]
        cost += Decimal(figures["cost"])
        for total, change in zip(sums, changes(figures), strict=True):
            total.add(change)
    return {
        "customers": customers,
        "left_out": dict(sorted(left_out.items())),
        "events": events,
        "cost": plain(cost),
        "unknown": unknown,
        "plans": [_plan(total, cost) for total in sums],
    }


def _plan(total: _Sums, cost: Decimal) -> dict[str, Any]:
    """Return one plan's part of the result."""
    margins = sorted(total.margins)
    difference = total.new_compared - total.old
    return {
        "old": plain(total.old),
        "new": plain(total.new),
        "incomparable": total.incomparable,
        "difference": plain(difference),
        "ratio": plain(divide(difference, total.old)) if total.old else None,
        "usage": plain(total.exact - total.fees),
        "fees": plain(total.fees),
        "margin": plain(divide(total.exact - cost, total.exact))
        if total.exact
        else None,
        "margins": {
            f"p{share}": None if value is None else plain(value)
            for share in (5, 50, 95)
            for value in [percentile(margins, share)]
        },
        "unprofitable": total.unprofitable,
        "turned": total.turned,
        "shocks": total.shocks,
        "breakeven": breakeven(total.exact - total.fees, total.fees, cost),
    }


def percentile(values: Sequence[Decimal], share: int) -> Decimal | None:
    """Return the nearest-rank percentile of sorted values; None of none."""
    if not values:
        return None
    return values[max(0, math.ceil(len(values) * share / 100) - 1)]


def breakeven(usage: Decimal, fees: Decimal, cost: Decimal) -> str | None:
    """Return the factor on all prices of usage at which revenue equals the cost.

    Zero where the fees alone cover it; None where no usage is paid for.
    """
    if fees >= cost:
        return "0"
    return plain(divide(cost - fees, usage)) if usage > 0 else None
