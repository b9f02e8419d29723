"""What a correction does to a customer's money, in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from aforo.lib.money import ZERO, display
from billing.ledger import Entry
from billing.models import BillingPeriod


def owed(name: str, amount: Decimal, currency: str) -> str:
    """Say by how much more or less somebody will owe."""
    if not amount:
        return f"What {name} owes does not change."
    way = "more" if amount > ZERO else "less"
    return f"{name} will owe {display(abs(amount), currency)} {way}."


def wallet_moves(amount: Decimal, currency: str) -> str:
    """Say what a wallet gets back (positive) or pays."""
    if amount > ZERO:
        return f"{display(amount, currency)} go back to the wallet."
    return f"{display(-amount, currency)} are taken from the wallet."


def adjustments(entries: Iterable[Entry]) -> list[str]:
    """Say which invoices stay as they are, and that the next one carries the rest.

    One statement.
    """
    keys = {
        e.usage_period_id for e in entries if e.billing_period_id != e.usage_period_id
    }
    return [
        f"The invoice of {period.start_at:%B %Y} was issued and stays as it is; the"
        " next one carries the adjustment."
        for period in BillingPeriod.objects.filter(pk__in=keys).order_by("start_at")
    ]
