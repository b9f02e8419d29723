"""What an invoice says, worked out from the ledger: for previews and for real."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from aforo.lib import sql
from aforo.lib.money import CONTEXT, ZERO, minor_units, plain, q12, round_minor
from billing import burndown, plan_terms, recurring
from billing.ledger import Entry
from billing.line_order import Place, ordered, printed
from billing.models import BillingPeriod, Customer, UsageTotal
from billing.plan_terms import Span
from billing.recurring import Term
from catalog.pricing import (
    Charge,
    ChargeState,
    Flat,
    Included,
    Line,
    Percentage,
    closing,
    explain_step,
    opening,
    price,
    state_from_json,
    state_to_json,
    true_ups,
)
from catalog.pricing.recipes import is_underneath
from catalog.pricing.terms import Parts, is_plan_key, line_charge

HUNDRED = Decimal(100)
States = Mapping[uuid.UUID, dict[str, Any]]  # By snapshot: a period's usage.


@dataclass(frozen=True, slots=True)
class BillLine:
    """One charge of one subscription, late usage of another period apart."""

    subscription_id: uuid.UUID
    snapshot_id: uuid.UUID  # The last one that charged it.
    charge_key: str
    usage_period_id: uuid.UUID | None  # Set when the usage is of another period.
    name: str
    quantity: Decimal
    unit: str
    exact_amount: Decimal  # Sum of the ledger, 12 places.
    amount: Decimal  # Rounded once, half up, to the currency's minor unit.
    recurring: Decimal  # The part of the exact amount that no usage caused.
    steps: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bill:
    """An invoice before it is written: total = subtotal + tax, due = total − credit."""

    customer: Customer
    period: BillingPeriod
    currency: str
    lines: tuple[BillLine, ...]
    subtotal: Decimal
    credits_applied: Decimal
    tax_label: str
    tax_rate: Decimal  # In percent.
    tax: Decimal

    @property
    def total(self) -> Decimal:
        """What is charged, with tax."""
        return self.subtotal + self.tax

    @property
    def due(self) -> Decimal:
        """What is left to pay."""
        return self.total - self.credits_applied


@dataclass(slots=True)
class _Group:
    """Sums of the ledger for one line."""

    quantity: Decimal = ZERO
    amount: Decimal = ZERO
    recurring: Decimal = ZERO
    snapshots: set[uuid.UUID] = field(default_factory=set)


# Subscription, charge and, for late usage, its period.
Key = tuple[uuid.UUID, str, uuid.UUID | None]

SUMS = """
SELECT e.subscription_id, k.charge_key,
  CASE WHEN e.usage_period_id <> e.billing_period_id THEN e.usage_period_id END,
  e.snapshot_id, sum(k.quantity), sum(k.amount),
  coalesce(sum(k.amount) FILTER (WHERE e.kind = 'recurring'), 0)
FROM billing_ledgerentry e
JOIN billing_ledgerbasis b ON b.id = e.basis_id
CROSS JOIN LATERAL unnest(b.charge_keys, aforo_figures(e.quantities),
  aforo_figures(e.amounts))
  AS k (charge_key, quantity, amount)
WHERE e.customer_id = %b AND e.billing_period_id = %b AND e.currency = %b
  AND e.kind <> 'rounding'
GROUP BY 1, 2, 3, 4
"""


def _sums(
    period: BillingPeriod, currency: str, extra: Iterable[Entry]
) -> dict[Key, _Group]:
    """Return the ledger's sums per line, with entries that are not written yet."""
    groups: dict[Key, _Group] = defaultdict(_Group)
    with sql.cursor() as cursor:
        rows = cursor.execute(SUMS, [period.customer_id, period.pk, currency])
        for sub, key, late, snapshot, quantity, amount, fixed in rows.fetchall():
            _add(groups[sub, key, late], snapshot, quantity, amount, fixed)
    for entry in extra:
        if entry.billing_period_id != period.pk or entry.currency != currency:
            continue
        late = entry.usage_period_id if entry.usage_period_id != period.pk else None
        for key, quantity, amount in zip(
            entry.charge_keys, entry.quantities, entry.amounts, strict=True
        ):
            fixed = amount if entry.kind == "recurring" else ZERO
            group = groups[entry.subscription_id, key, late]
            _add(group, entry.snapshot_id, quantity, amount, fixed)
    return groups


def _add(
    group: _Group,
    snapshot: uuid.UUID,
    quantity: Decimal,
    amount: Decimal,
    fixed: Decimal,
) -> None:
    """Add to the sums of a line."""
    group.quantity += quantity
    group.amount += amount
    group.recurring += fixed
    group.snapshots.add(snapshot)


def usage_states(period: BillingPeriod) -> dict[uuid.UUID, dict[str, Any]]:
    """Return where each snapshot's usage of a period stands."""
    totals = UsageTotal.objects.filter(customer_id=period.customer_id, period=period)
    return dict(totals.values_list("snapshot_id", "state"))


def closing_entries(
    period: BillingPeriod,
    terms: Sequence[Term],
    states: States,
    extra: Sequence[Entry] = (),
) -> list[Entry]:
    """Return what is due as the period ends: amounts in arrears, then plans' terms.

    `extra` are entries of the period that are not in the ledger yet.
    """
    entries: list[Entry] = []
    for term in terms:
        if term.meets(period):
            state = states.get(term.snapshot_id, {})
            entries += recurring.closing_entries(term, period, state)
    return entries + plan_terms.entries(period, terms, [*extra, *entries])


def currencies(period: BillingPeriod, extra: Iterable[Entry]) -> list[str]:
    """Return the currencies in which a period has entries."""
    with sql.cursor() as cursor:
        rows = cursor.execute(
            "SELECT DISTINCT currency FROM billing_ledgerentry"
            " WHERE customer_id = %b AND billing_period_id = %b",
            [period.customer_id, period.pk],
        ).fetchall()
    found = {row[0] for row in rows}
    found |= {e.currency for e in extra if e.billing_period_id == period.pk}
    return sorted(found)


def build(
    *,
    customer: Customer,
    period: BillingPeriod,
    currency: str,
    terms: Sequence[Term],
    states: States,
    extra: Sequence[Entry] = (),
) -> Bill:
    """Return what the invoice of a period says now.

    `extra` are entries that are not in the ledger yet. The credit is what wallets
    paid so far; `credit_target` says what they will have paid.
    """
    groups = _sums(period, currency, extra)
    by_snapshot = {term.snapshot_id: term for term in terms}
    place = {term.snapshot_id: index for index, term in enumerate(terms)}
    late_ids = {key[2] for key in groups if key[2] is not None}
    late = {p.pk: p for p in BillingPeriod.objects.filter(pk__in=late_ids)}
    overall = plan_terms.lines(period, terms, extra)
    drawn = []
    for (_, charge_key, late_id), group in groups.items():
        group_terms = [
            by_snapshot[s] for s in sorted(group.snapshots, key=lambda s: place[s])
        ]
        order, charge = line_charge(group_terms[-1].priced.plan, charge_key)
        of = late[late_id] if late_id else None
        line = _line(charge, group, group_terms, currency, of)
        if of is None:
            steps = _steps(line, group_terms, states, currency, overall)
            line = replace(line, steps=steps)
        start = of.start_at if of else dt.datetime.min.replace(tzinfo=dt.UTC)
        drawn.append((Place(of is not None, start, group_terms[0].start, order), line))
    lines = printed(ordered(drawn), currency)
    subtotal = sum((line.amount for line in lines), ZERO)
    tenant = customer.tenant
    rate = tenant.tax_rate if customer.tax_rate is None else customer.tax_rate
    return Bill(
        customer=customer,
        period=period,
        currency=currency,
        lines=lines,
        subtotal=subtotal,
        credits_applied=burndown.applied(customer.pk, period.pk, currency),
        tax_label=tenant.tax_label,
        tax_rate=rate,
        tax=round_minor(subtotal * rate / HUNDRED, currency),
    )


def _line(
    charge: Charge,
    group: _Group,
    terms: Sequence[Term],
    currency: str,
    late: BillingPeriod | None,
) -> BillLine:
    """Return the line of one group, rounded once."""
    exact = q12(group.amount)
    name = charge.name
    if terms[-1].agent:
        name = f"{name}, {terms[-1].agent}"
    if late is not None:
        name = f"{name}, late usage of {month(late)}"
    return BillLine(
        subscription_id=terms[-1].subscription_id,
        snapshot_id=terms[-1].snapshot_id,
        charge_key=charge.key,
        usage_period_id=late.pk if late else None,
        name=name[:200],
        quantity=group.quantity,
        unit=_unit(charge, currency),
        exact_amount=exact,
        amount=round_minor(exact, currency),
        recurring=q12(group.recurring),
    )


def _unit(charge: Charge, currency: str) -> str:
    """Return what a line's quantity counts; a percentage is taken of money."""
    inner = charge.model.overage if isinstance(charge.model, Included) else charge.model
    if isinstance(inner, Percentage):
        return charge.unit or currency
    return "" if isinstance(inner, Flat) else charge.unit


def month(period: BillingPeriod) -> str:
    """Return the month that a period is, such as October 2026."""
    middle = period.start_at + (period.end_at - period.start_at) / 2
    return f"{middle.astimezone(ZoneInfo(period.timezone)):%B %Y}"


def _steps(
    line: BillLine,
    terms: Sequence[Term],
    states: States,
    currency: str,
    overall: Mapping[tuple[uuid.UUID, str], Line],
) -> list[dict[str, str]]:
    """Return how a line's amount comes about, step by step, in words and figures."""
    steps = []
    if is_plan_key(line.charge_key):
        found = (overall.get((term.snapshot_id, line.charge_key)) for term in terms)
        return [row for own in found if own for row in _step_rows(own, currency)]
    for term in terms:
        plan = term.priced.plan
        state = state_from_json(states.get(term.snapshot_id, {}))
        for priced in (
            *price(plan, state),
            *closing(plan, state),
            *true_ups(plan, state),
        ):
            if priced.charge_key == line.charge_key:
                steps += _step_rows(priced, currency)
    rest = line.exact_amount - sum((Decimal(s["amount"]) for s in steps), ZERO)
    if rest:
        prorated = any(term.priced.prorate for term in terms) and line.recurring
        label = "for the days of the period" if prorated else "corrections"
        steps.append({"label": label, "amount": plain(rest)})
    return steps


def _step_rows(line: Line, currency: str) -> list[dict[str, str]]:
    """Return a priced line's steps as an invoice line keeps them."""
    return [
        {
            "label": explain_step(step, currency).rpartition(" = ")[0],
            "quantity": plain(step.quantity),
            "unit_amount": plain(step.unit_amount),
            "per": plain(step.per),
            "flat_amount": plain(step.flat_amount),
            "amount": plain(step.amount),
        }
        for step in line.steps
        # What units are made of is the seller's to see, not the customer's.
        if not is_underneath(step.kind)
    ]


def floor_minor(value: Decimal, currency: str) -> Decimal:
    """Return whole minor units, rounded down."""
    unit = Decimal(1).scaleb(-minor_units(currency))
    return value.quantize(unit, rounding=ROUND_FLOOR, context=CONTEXT)


def credit_target(bill: Bill, *, room: Decimal) -> Decimal:
    """Return the credit that the invoice shows, in whole minor units.

    Usage is paid by the wallet event by event, to 12 places; the invoice rounds by
    line. Where all usage was paid, the wallet also bears (or gets back) the
    rounding, as far as it has room; otherwise the fraction goes back to it.
    """
    burnt = bill.credits_applied
    used = sum((line.exact_amount - line.recurring for line in bill.lines), ZERO)
    if not burnt or burnt < used:
        return floor_minor(burnt, bill.currency)
    target = sum(
        (
            line.amount - round_minor(line.recurring, bill.currency)
            for line in bill.lines
        ),
        ZERO,
    )
    target = max(ZERO, min(target, bill.subtotal))
    if target - burnt > room:
        return floor_minor(burnt + room, bill.currency)
    return target


def supposed(
    term: Term,
    period: BillingPeriod,
    state: Mapping[str, ChargeState],
    entries: Iterable[Entry],
) -> tuple[BillLine, ...]:
    """Return the lines that a term's usage and recurring entries would come to.

    Nothing of it has to be in the ledger; the invoice of a period whose ledger holds
    just that has the same lines.
    """
    plan, currency = term.priced.plan, term.priced.currency
    groups: dict[str, _Group] = defaultdict(_Group)
    for sign, lines in ((1, price(plan, state)), (-1, opening(plan))):
        for line in lines:
            group = groups[line.charge_key]
            quantity, amount = line.quantity * sign, line.amount * sign
            _add(group, term.snapshot_id, quantity, amount, ZERO)
    for entry in entries:
        for key, quantity, amount in zip(
            entry.charge_keys, entry.quantities, entry.amounts, strict=True
        ):
            _add(groups[key], term.snapshot_id, quantity, amount, amount)
    parts = {
        key: Parts(group.recurring, group.amount - group.recurring)
        for key, group in groups.items()
    }
    overall = {}
    for row in plan_terms.worked_out(Span((term,), period, parts, True)):
        key = row.line.charge_key
        overall[term.snapshot_id, key] = row.line
        _add(groups[key], term.snapshot_id, ZERO, row.line.amount, row.fixed)
    states = {term.snapshot_id: state_to_json(state)}
    made = []
    for key in sorted(groups, key=lambda key: line_charge(plan, key)[0]):
        found = groups[key]
        if not (found.quantity or found.amount):
            continue
        line_made = _line(line_charge(plan, key)[1], found, [term], currency, None)
        steps = _steps(line_made, [term], states, currency, overall)
        made.append(replace(line_made, steps=steps))
    return printed(made, currency)
