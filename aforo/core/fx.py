"""Turn a figure of one currency into another, at a tenant's rates."""

from __future__ import annotations

import bisect
import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from aforo.core.models import FxRate
from aforo.lib.money import CONTEXT, q12

Known = list[tuple[dt.datetime, Decimal]]  # Since when, and the rate; oldest first.


class Rates:
    """The rates of exchange of some tenants, read once for many figures."""

    def __init__(self, tenant_ids: Iterable[uuid.UUID]) -> None:
        """Read all rates of the tenants."""
        self._known: dict[tuple[uuid.UUID, str, str], Known] = defaultdict(list)
        found = FxRate.objects.filter(tenant_id__in=set(tenant_ids))
        for row in found.order_by("valid_from"):
            key = row.tenant_id, row.base, row.quote
            self._known[key].append((row.valid_from, row.rate))

    def convert(
        self,
        amount: Decimal,
        *,
        tenant_id: uuid.UUID,
        base: str,
        quote: str,
        at: dt.datetime,
    ) -> Decimal | None:
        """Return the amount in the quote currency; None when no rate is known.

        Uses the latest rate that is not later than `at`, or the inverse of one.
        """
        if base == quote:
            return amount
        direct = self._rate(tenant_id, base, quote, at)
        if direct is not None:
            return q12(CONTEXT.multiply(amount, direct))
        inverse = self._rate(tenant_id, quote, base, at)
        return q12(CONTEXT.divide(amount, inverse)) if inverse is not None else None

    def _rate(
        self, tenant_id: uuid.UUID, base: str, quote: str, at: dt.datetime
    ) -> Decimal | None:
        """Return the rate of a pair at an instant."""
        known = self._known.get((tenant_id, base, quote), [])
        index = bisect.bisect_right(known, at, key=lambda pair: pair[0])
        return known[index - 1][1] if index else None
