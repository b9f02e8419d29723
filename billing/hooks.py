"""What billing asks of the apps above it, without knowing them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Collection

# Returns those of the customers with usage received before an instant, yet unrated.
PendingCheck = Callable[[Collection[uuid.UUID], dt.datetime], set[uuid.UUID]]

_pending_checks: list[PendingCheck] = []


def register_pending_check(check: PendingCheck) -> None:
    """Let a queue of usage hold back the invoices of those who wait in it."""
    if check not in _pending_checks:
        _pending_checks.append(check)


def forget_pending_check(check: PendingCheck) -> None:
    """Ask a queue of usage no more."""
    _pending_checks.remove(check)


def pending_before(
    customer_ids: Collection[uuid.UUID], instant: dt.datetime
) -> set[uuid.UUID]:
    """Return those of the customers with usage received before an instant, unrated."""
    pending: set[uuid.UUID] = set()
    for check in _pending_checks:
        pending |= check(customer_ids, instant)
    return pending
