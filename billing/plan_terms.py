"""What holds for a contract as a whole: discounts, maximum and minimum spend.

Worked out of the ledger as the invoice is made, once for each usage period and the
snapshots of a contract that say the same in it: a change that leaves the terms alone,
such as an own price, does not split them. Late usage is not discounted a second time:
the terms of its own period are worked out again with it, and the next invoice has
what that differs from what was posted before.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from aforo.lib import ids, sql
from aforo.lib.money import ZERO, round_minor
from billing.ledger import Entry
from billing.models import BillingPeriod, LedgerEntry
from billing.recurring import Term, share
from catalog.pricing import NO_STEPS, Line, Plan, pack_steps
from catalog.pricing.plan import Discount
from catalog.pricing.terms import (
    MAXIMUM,
    MINIMUM,
    NOTHING,
    Parts,
    PlanLine,
    is_plan_key,
    terms_of,
)

# By usage period and snapshot: what the ledger has of each charge and plan-level line.
Amounts = dict[uuid.UUID, dict[uuid.UUID, dict[str, Parts]]]


class Span(NamedTuple):
    """A contract's snapshots of the same terms in one usage period, by time."""

    terms: tuple[Term, ...]
    of: BillingPeriod
    amounts: Mapping[str, Parts]  # What the ledger has of them.
    is_last: bool  # Whether the contract's last snapshot in the period is one of them.

    @property
    def term(self) -> Term:
        """The last snapshot: what is posted is posted for it."""
        return self.terms[-1]

    @property
    def plan(self) -> Plan:
        """The last plan, with charges that only earlier ones had after its own."""
        plan = self.term.priced.plan
        charges = {charge.key: charge for charge in plan.charges}
        for term in self.terms:
            for charge in term.priced.plan.charges:
                charges.setdefault(charge.key, charge)
        return replace(plan, charges=tuple(charges.values()))

    def share(self, amount: Decimal) -> Decimal:
        """Return an amount's part for the days on which the snapshots are in force.

        Those that follow each other are one stretch, so that whole periods are whole.
        """
        stretches: list[tuple[dt.datetime, dt.datetime]] = []
        for term in self.terms:
            since = max(term.start, self.of.start_at)
            until = min(term.end or self.of.end_at, self.of.end_at)
            if stretches and stretches[-1][1] == since:
                since = stretches.pop()[0]
            stretches.append((since, until))
        parts = (share(amount, self.of, since, until) for since, until in stretches)
        return sum(parts, ZERO)


class _Same(NamedTuple):
    """What makes the terms of two snapshots one."""

    subscription_id: uuid.UUID
    currency: str
    prorate: bool
    minimum: Decimal | None
    maximum: Decimal | None
    discounts: tuple[Discount, ...]


AMOUNTS = """
SELECT e.usage_period_id, e.snapshot_id, k.charge_key, sum(k.amount),
  coalesce(sum(k.amount) FILTER (WHERE e.kind = 'recurring'), 0)
FROM billing_ledgerentry e
JOIN billing_ledgerbasis b ON b.id = e.basis_id
CROSS JOIN LATERAL unnest(b.charge_keys, aforo_figures(e.amounts))
  AS k (charge_key, amount)
WHERE e.customer_id = %b AND e.billing_period_id = ANY(%b) AND e.kind <> 'rounding'
  AND (%b::uuid[] IS NULL OR e.usage_period_id = ANY(%b))
GROUP BY 1, 2, 3
"""


def _read(
    found: Amounts,
    customer_id: uuid.UUID,
    billed_in: Sequence[uuid.UUID],
    used_in: Sequence[uuid.UUID] | None = None,
) -> None:
    """Add what the ledger has of some periods."""
    with sql.cursor() as cursor:
        values = [customer_id, list(billed_in), used_in, used_in]
        for of, snapshot, key, amount, fixed in cursor.execute(AMOUNTS, values):
            _add(found, of, snapshot, key, Parts(fixed, amount - fixed))


def _add(
    found: Amounts, of: uuid.UUID, snapshot: uuid.UUID, key: str, more: Parts
) -> None:
    """Add to what a charge comes to."""
    own = found.setdefault(of, {}).setdefault(snapshot, {})
    own[key] = _sum(own.get(key, NOTHING), more)


def _sum(one: Parts, other: Parts) -> Parts:
    """Add what a charge comes to, fixed and by usage apart."""
    return Parts(one.fixed + other.fixed, one.usage + other.usage)


def _amounts(period: BillingPeriod, extra: Iterable[Entry]) -> Amounts:
    """Return what a period bills, with entries that are not in the ledger yet."""
    found: Amounts = {}
    _read(found, period.customer_id, [period.pk])
    for entry in extra:
        if entry.billing_period_id != period.pk or entry.kind == "rounding":
            continue
        is_fixed = entry.kind == LedgerEntry.Kind.RECURRING
        for key, amount in zip(entry.charge_keys, entry.amounts, strict=True):
            more = Parts(amount, ZERO) if is_fixed else Parts(ZERO, amount)
            _add(found, entry.usage_period_id, entry.snapshot_id, key, more)
    return found


def _add_earlier(
    found: Amounts, period: BillingPeriod, late: Sequence[BillingPeriod]
) -> None:
    """Add what earlier invoices billed of the periods that late usage belongs to."""
    earlier = BillingPeriod.objects.filter(
        customer_id=period.customer_id,
        start_at__gte=min(of.start_at for of in late),
        start_at__lt=period.start_at,
    )
    billed_in = list(earlier.values_list("pk", flat=True))
    _read(found, period.customer_id, billed_in, [of.pk for of in late])


def spans(terms: Sequence[Term], of: BillingPeriod, amounts: Amounts) -> Iterator[Span]:
    """Yield the snapshots in force at any time of a usage period, by same terms."""
    own = amounts.get(of.pk, {})
    meeting = [term for term in terms if term.meets(of)]
    last = {term.subscription_id: term.snapshot_id for term in meeting}
    groups: dict[_Same, list[Term]] = defaultdict(list)
    for term in meeting:
        if term.priced.plan.has_terms:
            groups[_same(term)].append(term)
    for group in groups.values():
        found: dict[str, Parts] = {}
        for term in group:
            for key, part in own.get(term.snapshot_id, {}).items():
                found[key] = _sum(found.get(key, NOTHING), part)
        is_last = last[group[-1].subscription_id] == group[-1].snapshot_id
        yield Span(tuple(group), of, found, is_last)


def _same(term: Term) -> _Same:
    """Return what snapshots have in common whose terms are one over a period."""
    plan = term.priced.plan
    return _Same(
        term.subscription_id,
        plan.currency,
        term.priced.prorate,
        plan.minimum,
        plan.maximum,
        plan.discounts,
    )


def worked_out(span: Span) -> list[PlanLine]:
    """Return the plan-level lines of a usage period for snapshots of the same terms.

    With proration amounts are shared by their days. Without, they are whole: a minimum
    is that of the plan in force at the end, an amount is taken off once, by the last
    plan; percentages and the maximum are of what was charged under the same terms.
    """
    of, plan, prorate = span.of, span.plan, span.term.priced.prorate
    if not prorate:
        end = span.term.end
        if end is not None and end < of.end_at:
            plan = replace(plan, minimum=None)
        if not span.is_last:
            kept = tuple(d for d in plan.discounts if d.percent is not None)
            plan = replace(plan, discounts=kept)
    charges = {k: part for k, part in span.amounts.items() if not is_plan_key(k)}
    return terms_of(
        plan,
        charges,
        starts_on=of.start_at.astimezone(ZoneInfo(of.timezone)).date(),
        share=span.share if prorate else lambda amount: amount,
    )


def entries(
    period: BillingPeriod, terms: Sequence[Term], extra: Iterable[Entry]
) -> list[Entry]:
    """Return what the plans of a period as a whole add to its invoice.

    `extra` are entries of the invoice that are not in the ledger yet, those in arrears
    too. What is posted already is not posted again.
    """
    if not any(term.priced.plan.has_terms for term in terms):
        return []
    found = _amounts(period, extra)
    late = list(BillingPeriod.objects.filter(pk__in=found.keys() - {period.pk}))
    if late:
        _add_earlier(found, period, late)
    made: list[Entry] = []
    for of in [period, *sorted(late, key=lambda one: one.start_at)]:
        for span in spans(terms, of, found):
            made += _entries(span, period)
    return made


def _entries(span: Span, period: BillingPeriod) -> list[Entry]:
    """Return what a span's lines differ from what was posted, fixed part apart.

    The part that falls on usage is no recurring amount: the wallet paid that usage.
    """
    lines = {row.line.charge_key: row for row in worked_out(span)}
    posted = {k: part for k, part in span.amounts.items() if is_plan_key(k)}
    rows: dict[LedgerEntry.Kind, dict[str, Decimal]] = defaultdict(dict)
    for key in [*lines, *(key for key in posted if key not in lines)]:
        row, before = lines.get(key), posted.get(key, NOTHING)
        fixed = row.fixed if row else ZERO
        usage = row.line.amount - fixed if row else ZERO
        if fixed != before.fixed:
            rows[LedgerEntry.Kind.RECURRING][key] = fixed - before.fixed
        if usage != before.usage:
            rows[LedgerEntry.Kind.ADJUSTMENT][key] = usage - before.usage
    return [
        Entry(
            id=ids.new_id(),
            subscription_id=span.term.subscription_id,
            snapshot_id=span.term.snapshot_id,
            usage_period_id=span.of.pk,
            billing_period_id=period.pk,
            kind=kind,
            currency=span.term.priced.currency,
            amount=sum(amounts.values(), ZERO),
            charge_keys=list(amounts),
            quantities=[ZERO] * len(amounts),
            amounts=list(amounts.values()),
            # A part is not what the steps of the whole line come to.
            steps=[
                pack_steps(lines[key].line._replace(quantity=ZERO))
                if key in lines and lines[key].line.amount == amount
                else NO_STEPS
                for key, amount in amounts.items()
            ],
            occurred_at=span.of.end_at - dt.timedelta(microseconds=1),
        )
        for kind, amounts in rows.items()
    ]


def lines(
    period: BillingPeriod, terms: Sequence[Term], extra: Iterable[Entry]
) -> dict[tuple[uuid.UUID, str], Line]:
    """Return a period's plan-level lines with their steps, by snapshot and key."""
    if not any(term.priced.plan.has_terms for term in terms):
        return {}
    return {
        (span.term.snapshot_id, row.line.charge_key): row.line
        for span in spans(terms, period, _amounts(period, extra))
        for row in worked_out(span)
    }


def printed(rows: Iterable[tuple[str, Decimal]], currency: str) -> list[Decimal]:
    """Round the lines of one contract, given by key and exact amount, in their order.

    Each is rounded once, half up. Minimum and maximum spend take up what the rounding
    of the others adds, so that the sum is the bound to the cent; and no discount takes
    a cent more than what is printed before it.
    """
    found: list[Decimal] = []
    exact = shown = ZERO
    for key, amount in rows:
        exact += amount
        part = round_minor(amount, currency)
        if key in (MINIMUM, MAXIMUM):
            part = round_minor(exact, currency) - shown
        elif is_plan_key(key) and shown + part < ZERO <= min(exact, shown):
            part = -shown
        found.append(part)
        shown += part
    return found
