"""What a contract or a change of it would cost at once, before anybody agrees.

The deed is done by the code that does it for good, read, and taken back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from django.db import transaction

from aforo.lib import clock
from aforo.lib.money import ZERO
from billing import books, contracts, recurring
from billing.models import BillingPeriod, Customer, LedgerEntry, SubscriptionSnapshot
from catalog.plans import PricedPlan
from catalog.pricing import Plan, opening
from catalog.pricing.terms import line_charge

Deed = Callable[[], SubscriptionSnapshot]
# Every month back to the start gets a period: a slip of the year makes thousands.
LONGEST_BACK = dt.timedelta(days=732)


class Due(NamedTuple):
    """An amount that is posted at once; below zero it is given back."""

    name: str
    plan: str
    currency: str
    amount: Decimal
    start_at: dt.datetime
    end_at: dt.datetime
    timezone: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What a deed would have left behind."""

    at: dt.datetime  # From when the new terms hold.
    priced: PricedPlan  # As the contract would pay it.
    dues: tuple[Due, ...]  # Oldest period first.

    @property
    def sums(self) -> list[tuple[str, Decimal]]:
        """What all of it comes to, in each currency."""
        return _sums((due.currency, due.amount) for due in self.dues)

    @property
    def opens_with(self) -> list[tuple[str, Decimal]]:
        """What every whole period begins with, by charge."""
        return opening_lines(self.priced.plan)


def opening_lines(plan: Plan) -> list[tuple[str, Decimal]]:
    """Return the names and amounts of what is due as a period opens."""
    named = ((line_charge(plan, x.charge_key)[1].name, x.amount) for x in opening(plan))
    return _sums((name, amount) for name, amount in named if amount)


def _sums(rows: Iterable[tuple[str, Decimal]]) -> list[tuple[str, Decimal]]:
    """Return the sum of the amounts of each name, in the order of the names."""
    found: dict[str, Decimal] = {}
    for name, amount in rows:
        found[name] = found.get(name, ZERO) + amount
    return list(found.items())


def attempt(customer: Customer, deed: Deed) -> Trial:
    """Do a deed on a customer's contract, read what it posts, and take it back.

    What other contracts and periods are due anyway is no part of it. Raises what the
    deed raises. Nothing stays, and nobody is told.
    """
    with transaction.atomic():
        with books.transaction(customer.pk) as posting:
            recurring.open_due(posting)
        (posting,) = books.lock([customer.pk])
        made = deed()
        entries = LedgerEntry.objects.filter(
            customer=customer,
            subscription_id=made.subscription_id,
            version__gte=posting.version,
        )
        rows = list(entries.order_by("usage_period__start_at", "id"))
        periods = BillingPeriod.objects.in_bulk({r.usage_period_id for r in rows})
        snapshots = SubscriptionSnapshot.objects.filter(
            subscription_id=made.subscription_id
        )
        plans = contracts.plans_of(snapshots)
        transaction.set_rollback(True)
    dues = [
        due
        for row in rows
        for due in _dues(row, plans[row.snapshot_id], periods[row.usage_period_id])
    ]
    return Trial(made.effective_from, plans[made.pk], tuple(dues))


def _dues(row: LedgerEntry, priced: PricedPlan, period: BillingPeriod) -> list[Due]:
    """Return one amount for each charge of an entry."""
    return [
        Due(
            line_charge(priced.plan, key)[1].name,
            f"{priced.name} v{priced.number}",
            row.currency,
            amount,
            max(period.start_at, row.occurred_at),
            period.end_at,
            period.timezone,
        )
        for key, amount in zip(row.charge_keys, row.amounts, strict=True)
    ]


def earliest_start(customer: Customer) -> dt.datetime:
    """Return how far back a contract may begin: to the last issued invoice.

    At most LONGEST_BACK, to the midnight in UTC.
    """
    floor = (clock.now() - LONGEST_BACK).astimezone(dt.UTC)
    floor = floor.replace(hour=0, minute=0, second=0, microsecond=0)
    issued = BillingPeriod.objects.filter(
        customer=customer, state=BillingPeriod.State.FINALISED
    )
    last = issued.order_by("-end_at").first()
    return max(last.end_at, floor) if last else floor
