"""Turn a figure of one currency into another, at a tenant's rates."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

from aforo.core.models import FxRate
from aforo.lib.money import q12


def convert(
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
    rates = FxRate.objects.filter(tenant_id=tenant_id, valid_from__lte=at)
    direct = rates.filter(base=base, quote=quote).order_by("-valid_from").first()
    if direct is not None:
        return q12(amount * direct.rate)
    inverse = rates.filter(base=quote, quote=base).order_by("-valid_from").first()
    return q12(amount / inverse.rate) if inverse is not None else None
