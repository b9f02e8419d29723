"""Backtests: what recorded usage would have cost on other plans.

The same functions price it that rate events and write invoices, so a customer's own
plan over a closed month gives that month's invoice lines to the last digit.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from zoneinfo import ZoneInfo

from aforo.core import fx
from aforo.lib import clock
from aforo.lib.money import ZERO
from billing import periods, supposed
from billing.bill import BillLine
from billing.models import BillingPeriod, Customer
from billing.recurring import Term
from catalog import effective
from catalog.plans import PricedPlan
from catalog.pricing.bulk import Layout
from metering.history import Reader, Usage, measure


@dataclass(frozen=True, slots=True)
class Bill:
    """What a month costs, before tax and credit."""

    lines: tuple[BillLine, ...]

    @property
    def amount(self) -> Decimal:
        """The sum of the lines, each rounded to the currency's minor unit."""
        return sum((line.amount for line in self.lines), ZERO)

    @property
    def exact(self) -> Decimal:
        """The sum to twelve places."""
        return sum((line.exact_amount for line in self.lines), ZERO)

    @property
    def fees(self) -> Decimal:
        """The part of the exact sum that no usage caused."""
        return sum((line.recurring for line in self.lines), ZERO)


@dataclass(frozen=True, slots=True)
class Priced:
    """One customer's month under some plans."""

    start: dt.datetime
    end: dt.datetime
    old: Bill | None  # What was billed; None where that is in another currency.
    new: tuple[Bill, ...]  # Under each plan, in their order.
    event_count: int
    cost: Decimal  # Of the events whose cost is known.
    cost_unknown_count: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a customer's month cannot be priced."""

    reason: str  # no_subscription or not_over


class Pricer:
    """Prices the months of a tenant's customers under some plans of one currency."""

    def __init__(
        self,
        *,
        tenant_id: uuid.UUID,
        month: dt.date,
        plans: Sequence[PricedPlan],
        product_id: uuid.UUID | None,
    ) -> None:
        """Make the plans ready; `product_id` None prices the usage of all products.

        `month` is its first day.
        """
        self.month = month
        self.plans = tuple(plans)
        self.product_id = product_id
        self.currency = plans[0].currency
        self._layout = Layout.of([priced.plan for priced in plans])
        self._rates = fx.Rates([tenant_id])

    def price(
        self, customer: Customer, *, beat: Callable[[], None] = lambda: None
    ) -> Priced | LeftOut:
        """Return a customer's month under each plan; `beat` is called on the way."""
        first = periods.first_instant(self.month, ZoneInfo(customer.timezone))
        period = periods.find(customer.pk, first)
        terms = supposed.contracts(period, self.product_id) if period else []
        if period is None or not terms:
            return LeftOut("no_subscription")
        if period.end_at > clock.now():
            return LeftOut("not_over")
        usage = Usage()
        made: list[tuple[Term, tuple[PricedPlan, ...]]] = []
        for group, plans, layout in self._groups(terms):
            keys = [term.subscription_id for term in group]
            reader = Reader(period, keys, self.currency, self._rates)
            usage.add(measure(reader, layout, beat=beat))
            made += [(term, plans) for term in group]
        return Priced(
            start=period.start_at,
            end=period.end_at,
            old=self._old(period, terms),
            new=tuple(self._new(period, made, usage)),
            event_count=usage.event_count,
            cost=usage.cost,
            cost_unknown_count=usage.cost_unknown_count,
        )

    def _groups(
        self, terms: Iterable[Term]
    ) -> Iterator[tuple[list[Term], tuple[PricedPlan, ...], Layout]]:
        """Yield contracts that would pay the same, what they would pay, its layout.

        Own prices go on under another plan, as far as they fit it.
        """
        as_listed: list[Term] = []
        for term in terms:
            if term.own.is_empty:
                as_listed.append(term)
                continue
            plans = tuple(
                replace(priced, plan=effective.another(priced.plan, term.own))
                for priced in self.plans
            )
            own = [priced.plan for priced in plans]
            if own == [priced.plan for priced in self.plans]:
                as_listed.append(term)
            else:
                yield [term], plans, Layout.of(own)
        if as_listed:
            yield as_listed, self.plans, self._layout

    def _old(self, period: BillingPeriod, terms: Iterable[Term]) -> Bill | None:
        """Return what was billed for the contracts, if it was in the plans' currency.

        Each term has the contract's last plan; an earlier one of the month in another
        currency shows in the lines, which are of one currency.
        """
        if any(term.priced.currency != self.currency for term in terms):
            return None
        found = supposed.billed(
            period,
            currency=self.currency,
            subscriptions={term.subscription_id for term in terms},
        )
        return Bill(tuple(found))

    def _new(
        self,
        period: BillingPeriod,
        terms: Sequence[tuple[Term, tuple[PricedPlan, ...]]],
        usage: Usage,
    ) -> Iterable[Bill]:
        """Yield the bill under each plan."""
        for index in range(len(self.plans)):
            made: list[BillLine] = []
            for term, plans in terms:
                state = usage.states[term.subscription_id][index]
                made += supposed.lines(term, period, priced=plans[index], state=state)
            yield Bill(tuple(made))
