"""Cost rates come in: from the public price list, or entered by hand; never edited."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from django.db import connection, transaction
from genai_prices import data_snapshot
from genai_prices.types import ModelInfo

from aforo.core import audit
from aforo.core.models import Tenant, User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.money import CURRENCIES, QUANTUM, plain
from catalog.models import CostRate

# The library's key of a price per million, and our leaf that it is the price of.
LIBRARY_UNITS = {
    "input_mtok": "input_uncached_tokens",
    "cache_read_mtok": "cache_read_tokens",
    "cache_write_mtok": "cache_write_tokens",
    "output_mtok": "output_tokens",
}
MILLION = Decimal(1_000_000)
# Changes of rates are rare: all of them wait for one another.
LOCK = 4_707_331


class Subject(NamedTuple):
    """What a rate is the cost of, according to whom."""

    tenant_id: uuid.UUID | None  # None: the library's, for every tenant.
    source: CostRate.Source
    provider: str  # "tool" for tools, "event" for other kinds of events.
    model: str  # Or the name of the tool, or the event type.
    unit: str  # A disjoint leaf; tool.call and event.call for calls.


@transaction.atomic
def add_rate(
    *,
    tenant: Tenant,
    provider: str,
    model: str,
    unit: str,
    amount: Decimal,
    currency: str,
    valid_from: dt.datetime,
    actor: User | None,
    source: CostRate.Source = CostRate.Source.MANUAL,
) -> CostRate:
    """Say what one unit costs from an instant on, until the next known change.

    Repeating it changes nothing. Raises AforoError 422 `unknown_currency` or
    `invalid_amount`.
    """
    subject = Subject(tenant.pk, source, provider, model, unit)
    rate, before = _put(subject, amount, currency, valid_from)
    if before is not rate:
        audit.record(
            tenant=tenant,
            actor=actor,
            action="cost_rate.changed",
            target=rate,
            changes={
                "amount": [before and plain(before.amount), plain(rate.amount)],
                "valid_from": [None, valid_from.isoformat()],
            },
        )
    return rate


@transaction.atomic
def import_library(models: Iterable[tuple[str, str]], at: dt.datetime) -> int:
    """Take the public prices of (provider, model) pairs over, true from `at` on.

    Returns how many rates are new or changed. Raises AforoError 422 `unknown_model`
    or `unsupported_price` (a price that depends on the hour or on the length of the
    prompt is no single rate).
    """
    changed = 0
    for provider, model in models:
        for unit, amount in _library_prices(provider, model, at).items():
            subject = Subject(None, CostRate.Source.LIBRARY, provider, model, unit)
            rate, before = _put(subject, amount, "USD", at)
            changed += before is not rate
    return changed


def _library_prices(provider: str, model: str, at: dt.datetime) -> dict[str, Decimal]:
    """Return what the public price list asks for one unit of each leaf."""
    info = _library_model(provider, model)
    if isinstance(info.prices, list) and len(info.prices) > 1:
        raise _unsupported(provider, model)
    prices = info.get_prices(at)
    found = {}
    for key, unit in LIBRARY_UNITS.items():
        price = getattr(prices, key, None)
        if price is None:
            continue  # Not priced is not known; it never means that it costs nothing.
        if not isinstance(price, Decimal):
            raise _unsupported(provider, model)
        found[unit] = price / MILLION
    return found


def _library_model(provider: str, model: str) -> ModelInfo:
    """Return a model of the public price list by its own id."""
    for known in data_snapshot.get_snapshot().providers:
        if known.id == provider:
            for info in known.models:
                if info.id == model:
                    return info
    detail = f"The price list has no model {model} of {provider}."
    raise AforoError("unknown_model", 422, detail, field="model")


def _unsupported(provider: str, model: str) -> AforoError:
    """Return the refusal of a price that is no single rate."""
    detail = f"The price of {model} of {provider} is not one rate for all requests."
    return AforoError("unsupported_price", 422, detail, field="model")


def _put(
    subject: Subject, amount: Decimal, currency: str, valid_from: dt.datetime
) -> tuple[CostRate, CostRate | None]:
    """Make the amount true from an instant on; return the rate, and the one before.

    They are the same row when it was so already.
    """
    _check(amount, currency)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    known = list(
        CostRate.objects.filter(
            **subject._asdict(), superseded_at__isnull=True
        ).order_by("valid_from")
    )
    before = next((r for r in reversed(known) if r.valid_from <= valid_from), None)
    if before is not None and before.valid_to and before.valid_to <= valid_from:
        before = None
    if before and (before.amount, before.currency) == (amount, currency):
        return before, before
    later = next((r.valid_from for r in known if r.valid_from > valid_from), None)
    now = clock.now()
    if before is not None:
        CostRate.objects.filter(pk=before.pk).update(superseded_at=now)
        if before.valid_from < valid_from:
            _insert(
                subject,
                before.amount,
                before.currency,
                valid=(before.valid_from, valid_from),
                recorded_at=now,
            )
    rate = _insert(
        subject, amount, currency, valid=(valid_from, later), recorded_at=now
    )
    return rate, before


def _insert(
    subject: Subject,
    amount: Decimal,
    currency: str,
    *,
    valid: tuple[dt.datetime, dt.datetime | None],
    recorded_at: dt.datetime,
) -> CostRate:
    """Write one rate."""
    return CostRate.objects.create(
        **subject._asdict(),
        amount=amount,
        currency=currency,
        valid_from=valid[0],
        valid_to=valid[1],
        recorded_at=recorded_at,
    )


def _check(amount: Decimal, currency: str) -> None:
    """Refuse an amount that the books could not keep to the last digit."""
    if currency not in CURRENCIES:
        detail = f"{currency} is no currency."
        raise AforoError("unknown_currency", 422, detail, field="currency")
    if amount < 0 or amount != amount.quantize(QUANTUM):
        detail = f"{amount} is negative or has more than 12 decimal places."
        raise AforoError("invalid_amount", 422, detail, field="amount")
