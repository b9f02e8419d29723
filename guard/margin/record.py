"""Levels of margins as they are kept: compared, changed, written down once.

The level of a subject that never left OK is not kept. Everybody who is about to tell
the edge of a customer calls `relevel` first: after each rating transaction, after a
change of prices or limits, and from the beat.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, models, transaction

from aforo.core import audit, fx
from aforo.lib import clock, sql
from aforo.lib.money import plain
from billing import books
from billing.models import Agent, Customer, Subscription
from catalog.models import Product
from guard.margin import figures, rules
from guard.margin.figures import Standing, Subject
from guard.models import Level, MarginChange, MarginLevel, Scope
from guard.signals import margin_changed

TARGETS: dict[Scope, type[models.Model]] = {
    Scope.SUBSCRIPTION: Subscription,
    Scope.CUSTOMER: Customer,
    Scope.AGENT: Agent,
    Scope.PRODUCT: Product,
}
CAUSED_BY = """
SELECT event_id FROM billing_ledgerentry
WHERE customer_id = %b AND version = %b AND event_id IS NOT NULL
ORDER BY id DESC LIMIT 1
"""
Known = dict[Subject, MarginLevel]


def known(customer_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Known]:
    """Return the kept levels of customers, of whatever period."""
    found: dict[uuid.UUID, Known] = {key: {} for key in customer_ids}
    for row in MarginLevel.objects.filter(customer_id__in=customer_ids):
        assert row.customer_id is not None
        found[row.customer_id][Subject(Scope(row.scope), row.subject_id)] = row
    return found


def judged(standing: Standing, row: MarginLevel | None, period_id: uuid.UUID) -> Level:
    """Return the level that a subject is at now; a new period begins at OK."""
    if standing.subject.scope not in standing.ladder.scopes:
        return Level.OK
    same = row is not None and row.period_id == period_id
    before = Level(row.level) if row is not None and same else Level.OK
    return rules.level(standing.figures, standing.ladder, before)


def changes(
    customer: figures.Customer, standings: Iterable[Standing], kept: Known
) -> list[tuple[Subject, Standing | None, Level]]:
    """Return which subjects are at another level than is kept, and which."""
    found: list[tuple[Subject, Standing | None, Level]] = []
    seen = set()
    for standing in standings:
        subject = standing.subject
        seen.add(subject)
        row = kept.get(subject)
        level = judged(standing, row, customer.period.pk)
        if level != (Level(row.level) if row else Level.OK):
            found.append((subject, standing, level))
    # What the period knows nothing of is at OK again.
    found += [
        (subject, None, Level.OK)
        for subject, row in kept.items()
        if subject not in seen and row.level != Level.OK
    ]
    return found


def relevel(customer_ids: Collection[uuid.UUID]) -> int:
    """Bring the kept levels of customers to what their figures say; return how many.

    Looks without a lock first: most usage changes no level. What differs is judged
    again under the lock of the customer's books, so two workers write it once and the
    figures are those of one version of the books.
    """
    kept = known(customer_ids)
    wanted = [
        customer.id
        for customer, standings in figures.of_customers(customer_ids)
        if changes(customer, standings, kept[customer.id])
    ]
    return sum(_relevel_locked(key) for key in sorted(wanted))


def _relevel_locked(customer_id: uuid.UUID) -> int:
    """Judge one customer under its lock and write what changed."""
    with transaction.atomic():
        books.lock([customer_id])
        kept = known([customer_id])[customer_id]
        count = 0
        for customer, standings in figures.of_customers([customer_id]):
            for subject, standing, level in changes(customer, standings, kept):
                _change(customer, kept.get(subject), subject, standing, level)
                count += 1
    return count


def _change(
    customer: figures.Customer,
    row: MarginLevel | None,
    subject: Subject,
    standing: Standing | None,
    level: Level,
) -> None:
    """Write a subject's new level, and that it changed."""
    with sql.cursor() as cursor:
        found = cursor.execute(CAUSED_BY, [customer.id, customer.version]).fetchone()
    write(
        row,
        told(standing, customer.currency),
        tenant_id=customer.tenant_id,
        customer_id=customer.id,
        scope=subject.scope,
        subject_id=subject.id,
        period_id=customer.period.pk,
        level=level,
        version=customer.version,
        event_id=found[0] if found else None,
    )


def told(standing: Standing | None, currency: str) -> dict[str, Any]:
    """Return the figures of a subject as they are kept."""
    if standing is None:
        nothing = Decimal(0)
        return {
            "revenue": nothing,
            "cogs": nothing,
            "margin": None,
            "currency": currency,
            "cost_unknown_count": 0,
        }
    own, ladder = standing.figures, standing.ladder
    return {
        "revenue": own.revenue,
        "cogs": own.cogs,
        "margin": rules.margin(own, ladder.free_cogs_allowance),
        "currency": standing.currency,
        "cost_unknown_count": own.cost_unknown_count,
    }


def write(
    row: MarginLevel | None,
    figures_told: dict[str, Any],
    *,
    event_id: uuid.UUID | None = None,
    **identity: Any,
) -> MarginChange:
    """Write a level, the row of history and the audit; tell who listens.

    The one place where a change of a level is recorded; the caller's transaction is
    the listeners' too.
    """
    before = row.level if row is not None else Level.OK
    values = {**identity, **figures_told, "changed_at": clock.now()}
    # Another level ends a release: what comes is judged anew.
    values |= {"released_until": None, "released_by": ""}
    if row is None:
        MarginLevel.objects.create(**values)
    else:
        MarginLevel.objects.filter(pk=row.pk).update(**values)
    change = MarginChange.objects.create(
        **identity, **figures_told, before=before, event_id=event_id
    )
    _audit(change)
    margin_changed.send(sender=MarginChange, change=change)
    return change


def _audit(change: MarginChange) -> None:
    """Write down a change of a level with its figures, where it binds or bound."""
    if not {change.before, change.level} & {*rules.LADDER}:
        return
    model = TARGETS[Scope(change.scope)]
    target = model._default_manager.filter(pk=change.subject_id).first()
    if target is None:
        return
    margin = "unknown" if change.margin is None else f"{plain(change.margin)} %"
    audit.record(
        tenant=change.tenant_id,
        action="margin.level_changed",
        target=target,
        changes={
            "level": [change.before, change.level],
            "margin": [None, margin],
            "revenue": [None, f"{plain(change.revenue)} {change.currency}"],
            "cogs": [None, f"{plain(change.cogs)} {change.currency}"],
            "event": [None, change.event_id],
            "books": [None, change.version or None],
        },
    )


# Whose period ended while they were not at OK: no usage may come to tell.
ENDED = """
SELECT DISTINCT l.customer_id FROM guard_marginlevel l
JOIN billing_billingperiod p ON p.id = l.period_id
WHERE l.level <> 'ok' AND p.end_at <= %b AND l.customer_id IS NOT NULL
"""


def ended(now: dt.datetime) -> list[uuid.UUID]:
    """Return customers with a level of a period that is over."""
    with sql.cursor() as cursor:
        return [row[0] for row in cursor.execute(ENDED, [now]).fetchall()]


PRODUCTS = """
SELECT s.tenant_id, s.product_id, t.currency,
  sum(t.spend + t.recurring), sum(t.cost), sum(t.cost_unknown_count)::bigint
FROM billing_usagetotal t
JOIN billing_billingperiod p ON p.id = t.period_id
  AND p.start_at <= %b AND p.end_at > %b
JOIN billing_subscription s ON s.id = t.subscription_id
GROUP BY 1, 2, 3
"""


def relevel_products(now: dt.datetime) -> list[uuid.UUID]:
    """Bring the levels of products to what their customers' counters say.

    All customers' periods under way together, in one currency; without a rate of
    exchange it is unknown. Returns the products that changed.
    """
    with sql.cursor() as cursor:
        rows = cursor.execute(PRODUCTS, [now, now]).fetchall()
    by_product: dict[tuple[uuid.UUID, uuid.UUID], list[Sequence[Any]]] = {}
    for tenant, product, *own in rows:
        by_product.setdefault((tenant, product), []).append(own)
    levels = MarginLevel.objects.filter(scope=Scope.PRODUCT)
    kept = {row.subject_id: row for row in levels}
    changed = []
    for (tenant, product), own in sorted(by_product.items()):
        currency, found = _together(tenant, own, now)
        subject = Subject(Scope.PRODUCT, product)
        standing = Standing(subject, found, rules.DEFAULT, currency)
        row = kept.get(product)
        before = Level(row.level) if row else Level.OK
        level = rules.level(found, rules.DEFAULT, before)
        if level == before:
            continue
        _change_product(row, standing, tenant, level)
        changed.append(product)
    return changed


def _together(
    tenant: uuid.UUID, rows: Sequence[Sequence[Any]], now: dt.datetime
) -> tuple[str, rules.Figures]:
    """Return a product's figures in one of the currencies that it is sold in."""
    currency = min(row[0] for row in rows)
    rates = fx.Rates([tenant] if len(rows) > 1 else [])
    revenue = cost = Decimal(0)
    unknown, is_convertible = 0, True
    for base, earned, spent, count in rows:
        unknown += count
        parts = [
            rates.convert(amount, tenant_id=tenant, base=base, quote=currency, at=now)
            for amount in (earned, spent)
        ]
        is_convertible = is_convertible and None not in parts
        revenue += parts[0] or 0
        cost += parts[1] or 0
    return currency, rules.Figures(revenue, cost, unknown, is_convertible)


def _change_product(
    row: MarginLevel | None, standing: Standing, tenant: uuid.UUID, level: Level
) -> None:
    """Write a product's new level; who comes second leaves it."""
    try:
        with transaction.atomic():
            if row is not None:
                row = MarginLevel.objects.select_for_update().get(pk=row.pk)
                if row.level == level:
                    return
            write(
                row,
                told(standing, standing.currency),
                tenant_id=tenant,
                customer_id=None,
                scope=Scope.PRODUCT,
                subject_id=standing.subject.id,
                period_id=None,
                level=level,
            )
    except IntegrityError:
        return
