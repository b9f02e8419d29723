"""Where a customer's wallet stands: settled, pending, available, and how long it lasts.

available = settled + overdraft limit − pending; the guard compares a call with it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum

from aforo.lib import ids
from aforo.lib.money import ZERO
from billing.models import Customer, Wallet, WalletEntry
from guard import in_flight
from guard.in_flight import InFlight

# The recent pace is the usage of so many days, of fewer for a younger wallet.
PACE_DAYS = 7
DAY_S = Decimal(86_400)
DAYS_MAX = 999


@dataclass(frozen=True, slots=True)
class Standing:
    """One wallet now."""

    wallet: Wallet
    pending: InFlight | None  # None: Redis does not answer.
    pace: Decimal  # What usage takes a day, over the recent days.
    pace_days: int

    @property
    def available(self) -> Decimal:
        """What calls may still use; without pending while that is not known."""
        room: Decimal = self.wallet.balance + self.wallet.overdraft_limit
        return room - (self.pending.amount if self.pending else ZERO)

    @property
    def days_left(self) -> int | None:
        """Whole days that the credit lasts at the recent pace; None: nobody knows."""
        if self.pace <= 0:
            return None
        return int(min(max(self.available, ZERO) / self.pace, Decimal(DAYS_MAX)))

    @property
    def is_long(self) -> bool:
        """Whether it lasts longer than the figure says."""
        return self.days_left == DAYS_MAX

    @property
    def is_low(self) -> bool:
        """Whether it ends within a week."""
        return self.days_left is not None and self.days_left < PACE_DAYS


def standing(customer: Customer, now: dt.datetime) -> Standing | None:
    """Return where the wallet of the customer's currency stands; two statements.

    None: the customer has none.
    """
    wallet = Wallet.objects.filter(
        customer=customer, currency=customer.currency
    ).first()
    if wallet is None:
        return None
    since = max(now - dt.timedelta(days=PACE_DAYS), wallet.created_at)
    days = max(Decimal((now - since).total_seconds()) / DAY_S, Decimal(1))
    burnt = WalletEntry.objects.filter(
        wallet=wallet,
        pk__gte=ids.oldest_since(since),
        kind__in=[WalletEntry.Kind.BURN, WalletEntry.Kind.RETURN],
    ).aggregate(total=Sum("amount"))["total"]
    pace = -(burnt or ZERO) / days
    return Standing(wallet, in_flight.of_customer(customer.tag), pace, round(days))
