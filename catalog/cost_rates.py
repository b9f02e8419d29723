"""Cost rates come in: from the public price list, or entered by hand; never edited."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from django.db import connection, transaction

from aforo.core import audit
from aforo.core.models import Tenant, User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.money import CURRENCIES, LIMIT, QUANTUM, plain
from catalog import cost_library
from catalog.cost_context import window
from catalog.cost_library import Key, Span
from catalog.models import CostRate

# Changes of rates are rare: all of them wait for one another.
LOCK = 4_707_331
_UNIT = re.compile(r"[a-z][a-z0-9_.]{0,59}")
_CONTEXT = re.compile(r"[a-z0-9_.-]+(\+[a-z0-9_.-]+)*")


class Subject(NamedTuple):
    """What a rate is the cost of, according to whom."""

    tenant_id: uuid.UUID | None  # None: the library's, for every tenant.
    source: CostRate.Source
    provider: str  # "tool" for tools, "event" for other kinds of events.
    model: str  # Or the name of the tool, or the event type.
    unit: str  # A disjoint leaf; tool.call and event.call for calls.
    context: str = ""
    region: str = ""
    above_tokens: int = 0
    hours: str = ""


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
    valid_to: dt.datetime | None = None,
    per: int = 1,
    context: str = "",
    region: str = "",
    above_tokens: int = 0,
    hours: str = "",
) -> CostRate:
    """Say what `per` units cost from an instant on, until the end or the next change.

    Repeating it changes nothing. Raises AforoError 422 `unknown_currency`,
    `invalid_amount`, `invalid_rate` or `invalid_period`.
    """
    span = _exact(Span(amount, per, valid_from, valid_to))
    subject = Subject(
        tenant.pk, source, provider, model, unit, context, region, above_tokens, hours
    )
    _check(subject, span, currency)
    _lock()
    rate, before = put(subject, span, currency)
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
def close_rate(
    *, rate: CostRate, at: dt.datetime, actor: User | None
) -> CostRate | None:
    """End a rate of a tenant at an instant; at its start it never was.

    Returns what is left of it. What was costed with it keeps its cost unless another
    rate is known. Raises AforoError 422 `not_own_rate`, `rate_changed` or
    `invalid_period`.
    """
    _lock()
    rate = CostRate.objects.get(pk=rate.pk)
    if rate.tenant_id is None:
        detail = "It is the public price list's: enter a rate of your own instead."
        raise AforoError("not_own_rate", 422, detail)
    if rate.superseded_at is not None:
        raise AforoError("rate_changed", 422, "The rate was changed meanwhile.")
    if at < rate.valid_from or (rate.valid_to and at >= rate.valid_to):
        detail = "The end must be inside the time over which the rate holds."
        raise AforoError("invalid_period", 422, detail, field="at")
    now = clock.now()
    CostRate.objects.filter(pk=rate.pk).update(superseded_at=now)
    left = None
    if at > rate.valid_from:
        left = _insert(_subject(rate), _span(rate)._replace(valid_to=at), rate.currency)
    audit.record(
        tenant=rate.tenant_id,
        actor=actor,
        action="cost_rate.closed",
        target=left or rate,
        changes={
            "valid_to": [
                rate.valid_to and rate.valid_to.isoformat(),
                at.isoformat(),
            ]
        },
    )
    return left


@transaction.atomic
def import_library(models: Iterable[tuple[str, str]], at: dt.datetime) -> int:
    """Take the public prices of (provider, model) pairs over, true from `at` on.

    Returns how many rates are new or changed. Raises AforoError 422 `unknown_model`.
    """
    _lock()
    changed = 0
    for provider, model in models:
        listed = cost_library.spans(cost_library.model(provider, model))
        for key, spans in listed.items():
            subject = library_subject(provider, model, key)
            for span in spans:
                if span.valid_to and span.valid_to <= at:
                    continue
                since = span._replace(valid_from=max(span.valid_from, at))
                rate, before = put(subject, since, "USD")
                changed += before is not rate
    return changed


def library_subject(provider: str, model: str, key: Key) -> Subject:
    """Return what a rate of the public price list is the cost of."""
    return Subject(None, CostRate.Source.LIBRARY, provider, model, *key)


def lock() -> None:
    """Wait for other changes of rates, until the transaction ends."""
    _lock()


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def known(subject: Subject) -> list[CostRate]:
    """Return what is known of a subject now, in the order of time."""
    rows = CostRate.objects.filter(**subject._asdict(), superseded_at__isnull=True)
    return list(rows.order_by("valid_from"))


def put(
    subject: Subject, span: Span, currency: str
) -> tuple[CostRate, CostRate | None]:
    """Make the amount true over a time; return the rate, and the one at its start.

    They are the same row when it was so already. Without an end it is true until
    the next known change. The caller holds the lock.
    """
    rows = known(subject)
    start = span.valid_from
    before = next(
        (
            r
            for r in rows
            if r.valid_from <= start and (r.valid_to is None or start < r.valid_to)
        ),
        None,
    )
    end = span.valid_to or next(
        (r.valid_from for r in rows if r.valid_from > start), None
    )
    same = (span.amount, span.per, currency)
    if before and (before.amount, before.per, before.currency) == same:
        covered = before.valid_to is None or (end and end <= before.valid_to)
        if covered or span.valid_to is None:
            return before, before
    now = clock.now()
    for row in rows:
        if (end and row.valid_from >= end) or (row.valid_to and row.valid_to <= start):
            continue
        CostRate.objects.filter(pk=row.pk).update(superseded_at=now)
        if row.valid_from < start:
            rest = _span(row)._replace(valid_to=start)
            _insert(subject, rest, row.currency)
        if end and (row.valid_to is None or row.valid_to > end):
            rest = _span(row)._replace(valid_from=end)
            _insert(subject, rest, row.currency)
    return _insert(subject, span._replace(valid_to=end), currency), before


def _subject(rate: CostRate) -> Subject:
    """Return what a rate is the cost of."""
    return Subject(*(getattr(rate, name) for name in Subject._fields))


def _span(rate: CostRate) -> Span:
    """Return the amount and the time of a rate."""
    return Span(rate.amount, rate.per, rate.valid_from, rate.valid_to)


def _insert(subject: Subject, span: Span, currency: str) -> CostRate:
    """Write one rate."""
    return CostRate.objects.create(
        **subject._asdict(),
        **span._asdict(),
        currency=currency,
        recorded_at=clock.now(),
    )


def _exact(span: Span) -> Span:
    """Return the amount of one unit where it has exact decimals."""
    if span.per > 1 and span.amount.is_finite():
        each = span.amount / span.per
        if each == each.quantize(QUANTUM):
            return span._replace(amount=each, per=1)
    return span


def _check(subject: Subject, span: Span, currency: str) -> None:
    """Refuse what the books could not keep to the last digit, or never find."""
    if currency not in CURRENCIES:
        detail = f"{currency} is no currency."
        raise AforoError("unknown_currency", 422, detail, field="currency")
    amount = span.amount
    if not amount.is_finite() or not 0 <= amount < LIMIT:
        detail = f"{amount} is negative or too large."
        raise AforoError("invalid_amount", 422, detail, field="amount")
    if amount != amount.quantize(QUANTUM):
        detail = f"{amount} has more than 12 decimal places."
        raise AforoError("invalid_amount", 422, detail, field="amount")
    if span.valid_to and span.valid_to <= span.valid_from:
        detail = "The end must be after the start."
        raise AforoError("invalid_period", 422, detail, field="valid_to")
    wrong = {
        "provider": not subject.provider.strip(),
        "model": not subject.model.strip(),
        "unit": not _UNIT.fullmatch(subject.unit),
        "context": bool(subject.context) and not _CONTEXT.fullmatch(subject.context),
        "per": span.per < 1,
        "above_tokens": subject.above_tokens < 0,
    }
    try:
        window(subject.hours)
    except ValueError:
        wrong["hours"] = True
    for name, is_wrong in wrong.items():
        if is_wrong:
            detail = f"`{name}` of a rate is missing or not understood."
            raise AforoError("invalid_rate", 422, detail, field=name)
