"""How many rules the guard holds, counted where they are agreed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from billing.models import Customer, Subscription, Wallet


@dataclass(frozen=True, slots=True)
class Rules:
    """Where limits come from, and how many of each."""

    contracts: int  # with the limits of their plan
    caps: int  # customers with a spend cap of their own
    wallets: int  # prepaid: the balance must cover each call


def counts(now: dt.datetime) -> Rules:
    """Return how many rules are in force; three statements."""
    live = Subscription.objects.exclude(state=Subscription.State.CANCELLED)
    return Rules(
        live.count(),
        Customer.objects.filter(spend_cap__isnull=False).count(),
        Wallet.objects.filter(enforced=True).count(),
    )
