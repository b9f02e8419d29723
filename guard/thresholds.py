"""Quota, wallet and commitment: who crossed a line is told, once, after the commit.

`look` is given what the projection has just read, so a batch that crosses nothing
costs a few comparisons and no statement: limits are remembered by config version, and
where each scope stood the last time by process. A process that starts reads what is
open; `open_customers` names those whose recovery another process may have missed.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import msgspec
from django.db import DatabaseError, transaction

from aforo.core.happenings import Kind, Severity, tell
from aforo.core.models import Happening
from aforo.lib import clock, ids, sql
from aforo.lib.money import display
from catalog import effective
from catalog.plans import load_plans
from catalog.pricing import Dimensions, state_from_json
from catalog.pricing.dimensions import OTHER
from catalog.pricing.state import Dims
from guard import alert_rules, facts
from guard.engine import keys, state
from guard.facts import CustomerFacts

logger = logging.getLogger(__name__)

KINDS: Final = (Kind.QUOTA, Kind.WALLET, Kind.COMMITMENT)
REMEMBERED_MAX: Final = 20_000
HUNDRED: Final = Decimal(100)
MICRO: Final = Decimal(1_000_000)

CONTRACTS = """
SELECT s.customer_id, s.id, c.name AS customer, p.name AS product, n.plan_version_id,
  n.overrides::text AS overrides, n.commitment::text AS commitment
FROM billing_subscription s
JOIN billing_customer c ON c.id = s.customer_id
JOIN catalog_product p ON p.id = s.product_id
JOIN LATERAL (
  SELECT plan_version_id, overrides, commitment FROM billing_subscriptionsnapshot n
  WHERE n.subscription_id = s.id AND n.effective_from <= %(now)s
  ORDER BY n.effective_from DESC LIMIT 1) n ON true
WHERE s.customer_id = ANY(%(ids)s) AND s.state <> 'cancelled'
  AND n.plan_version_id IS NOT NULL
"""
# What was there when credit was last added: what the percent is of.
BASES = """
SELECT w.customer_id, w.id, w.currency, w.overdraft_limit, w.enforced, g.id AS grant_id,
  e.balance_after + w.overdraft_limit AS base, c.name AS customer
FROM billing_wallet w
JOIN billing_customer c ON c.id = w.customer_id AND c.currency = w.currency
JOIN LATERAL (SELECT id FROM billing_creditgrant g WHERE g.wallet_id = w.id
  ORDER BY id DESC LIMIT 1) g ON true
JOIN billing_walletentry e ON e.grant_id = g.id AND e.kind = 'grant'
WHERE w.customer_id = ANY(%(ids)s)
"""
_totals = msgspec.msgpack.Decoder(state.SubscriptionTotals).decode
_customer_totals = msgspec.msgpack.Decoder(state.CustomerTotals).decode


@dataclass(slots=True)
class Contract:
    """What one subscription is held to."""

    id: uuid.UUID
    customer: str
    product: str
    quotas: list[tuple[str, int, str]]  # unit, limit, on_exceed
    commitments: dict[str, int]  # calls by charge


@dataclass(slots=True)
class Base:
    """What a wallet held when credit was last added."""

    row: Any
    micros: int


@dataclass(slots=True)
class Known:
    """What a process remembers of a customer."""

    config_version: int
    contracts: list[Contract]
    base: Base | None
    available: int
    # (kind, scope) → the line that is crossed.
    crossed: dict[tuple[str, str], Decimal] = field(default_factory=dict)


_known: dict[uuid.UUID, Known] = {}


def forget() -> None:
    """Remember nobody: for tests, and for a look that must not trust its memory."""
    _known.clear()


def look(found: Sequence[CustomerFacts]) -> None:
    """Tell which lines customers have crossed, or are on the good side of again.

    Inside the projection's transaction; a fault is logged and hinders nothing.
    """
    try:
        with transaction.atomic():
            _learn(found)
            for customer in found:
                _judge(customer, _known[customer.id])
    except (DatabaseError, msgspec.DecodeError, LookupError, ArithmeticError):
        logger.exception("the lines of %d customers were not looked at", len(found))
        for customer in found:  # What was told is rolled back.
            _known.pop(customer.id, None)


def _available(customer: CustomerFacts) -> int:
    return _customer_totals(customer.totals["cust"]).available


def _learn(found: Sequence[CustomerFacts]) -> None:
    """Read what this process does not know, or what has changed since."""
    strangers = []
    if len(_known) + len(found) > REMEMBERED_MAX:
        _known.clear()
    for customer in found:
        known = _known.get(customer.id)
        # More credit than before: some was added, and the percent is of that.
        if (
            known is None
            or known.config_version != customer.config_version
            or _available(customer) > known.available
        ):
            strangers.append(customer)
    if not strangers:
        return
    customers = [customer.id for customer in strangers]
    wanted = {"ids": customers, "now": clock.now()}
    contracts = _contracts(wanted)
    bases = {row.customer_id: row for row in facts.query(BASES, wanted)}
    crossed = _open(customers)
    for customer in strangers:
        row = bases.get(customer.id)
        base = Base(row, int(row.base * MICRO)) if row is not None else None
        _known[customer.id] = Known(
            config_version=customer.config_version,
            contracts=contracts.get(customer.id, []),
            base=base,
            available=_available(customer),
            crossed=crossed.get(customer.id, {}),
        )


def _contracts(wanted: Mapping[str, Any]) -> dict[uuid.UUID, list[Contract]]:
    """Return what customers' subscriptions are held to."""
    rows = facts.query(CONTRACTS, wanted)
    plans = load_plans({row.plan_version_id for row in rows})
    found: dict[uuid.UUID, list[Contract]] = {}
    for row in rows:
        limits = facts.limits_of(row, plans)
        priced = effective.of_texts(
            plans[row.plan_version_id], row.overrides, row.commitment
        )
        units = facts.units_of(plans[row.plan_version_id])
        quotas = [
            (units.get(q["metric"], q["metric"]), q["limit"], q["on_exceed"])
            for q in limits.get("quotas", ())
        ]
        commitments = {
            charge.key: charge.model.commitment.amount
            for charge in priced.plan.charges
            if isinstance(charge.model, Dimensions)
            and charge.model.commitment is not None
        }
        contract = Contract(row.id, row.customer, row.product, quotas, commitments)
        found.setdefault(row.customer_id, []).append(contract)
    return found


def _open(customers: Sequence[uuid.UUID]) -> dict[uuid.UUID, dict[Any, Decimal]]:
    """Return the lines of customers that were told and are still open."""
    rows = Happening.objects.filter(
        customer_id__in=customers, kind__in=KINDS, resolved_at__isnull=True
    ).order_by("pk")
    found: dict[uuid.UUID, dict[Any, Decimal]] = {}
    for row in rows:
        if row.customer_id is not None and "line" in row.figures:
            mine = found.setdefault(row.customer_id, {})
            mine[row.kind, row.scope] = Decimal(row.figures["line"])
    return found


def open_customers(most: int = 1_000) -> list[uuid.UUID]:
    """Return customers with a line that is open: they may have recovered unseen."""
    with sql.cursor() as cursor:
        rows = cursor.execute(
            "SELECT DISTINCT customer_id FROM core_happening WHERE resolved_at IS NULL"
            " AND severity <> 'ok' AND kind = ANY(%b) AND customer_id IS NOT NULL"
            " LIMIT %b",
            [[str(kind) for kind in KINDS], most],
        ).fetchall()
    return [row[0] for row in rows]


def _judge(customer: CustomerFacts, known: Known) -> None:
    """Compare one customer's totals with its lines."""
    totals = _customer_totals(customer.totals["cust"])
    known.available = totals.available
    window = str(totals.ends_at // 1000)
    usage: dict[uuid.UUID, list[Any]] = {}
    for row in customer.usage:
        usage.setdefault(row.subscription_id, []).append(row)
    for contract in known.contracts:
        packed = customer.totals.get(keys.usage_field(ids.public("sub", contract.id)))
        used = _totals(packed).quantities if packed else {}
        for unit, limit, on_exceed in contract.quotas:
            _quota(customer, known, contract, unit, limit, on_exceed, used, window)
        if contract.commitments:
            _commitments(customer, known, contract, usage, window)
    if known.base is not None and known.base.micros > 0:
        _wallet(customer, known, known.base, totals.available)


def _quota(
    customer: CustomerFacts,
    known: Known,
    contract: Contract,
    unit: str,
    limit: int,
    on_exceed: str,
    quantities: Mapping[str, int],
    window: str,
) -> None:
    """Judge one quota of one subscription."""
    used = quantities.get(unit, 0)
    if limit <= 0:
        return
    portion = HUNDRED * used / limit
    line = _reached(customer.tenant_id, Kind.QUOTA, portion)
    severity = Severity.WARN
    if line is not None and line >= HUNDRED:
        worst = {"deny": Severity.BLOCK, "throttle": Severity.THROTTLE}
        severity = worst.get(on_exceed, Severity.WARN)
    _say(
        customer,
        known,
        Kind.QUOTA,
        scope=f"{ids.public('sub', contract.id)}/{unit}",
        line=line,
        severity=severity,
        window=window,
        text=f"{percent(portion)} of monthly quota: {contract.customer} used {used:,}"
        f" of {limit:,} {_words(unit)} of {contract.product}",
        figures={"used": used, "limit": limit, "unit": unit, "on_exceed": on_exceed},
    )


def _commitments(
    customer: CustomerFacts,
    known: Known,
    contract: Contract,
    usage: Mapping[uuid.UUID, Sequence[Any]],
    window: str,
) -> None:
    """Judge the commitments of one subscription by the calls that were counted."""
    calls: dict[str, Decimal] = dict.fromkeys(contract.commitments, Decimal(0))
    for row in usage.get(contract.id, ()):
        counted = state_from_json(msgspec.json.decode(row.state))
        for charge in calls:
            dims = counted.get(charge)
            if isinstance(dims, Dims):
                calls[charge] += dims.use.get(OTHER, Decimal(0))
    for charge, amount in contract.commitments.items():
        portion = HUNDRED * calls[charge] / amount
        used = int(calls[charge])
        _say(
            customer,
            known,
            Kind.COMMITMENT,
            scope=f"{ids.public('sub', contract.id)}/{charge}",
            line=_reached(customer.tenant_id, Kind.COMMITMENT, portion),
            severity=Severity.WARN,
            window=window,
            text=f"{percent(portion)} of the commitment: {contract.customer} used"
            f" {used:,} of {amount:,} calls of {contract.product}",
            figures={"used": used, "limit": amount, "charge": charge},
        )


def _wallet(customer: CustomerFacts, known: Known, base: Base, available: int) -> None:
    """Judge what is left of the credit."""
    left = HUNDRED * max(available, 0) / base.micros
    below = [n for n in alert_rules.lines(customer.tenant_id, Kind.WALLET) if left <= n]
    line = min(below, default=None)
    row, amount = base.row, Decimal(available) / MICRO
    is_empty = line is not None and line <= 0
    _say(
        customer,
        known,
        Kind.WALLET,
        scope=ids.public("wal", row.id),
        line=line,
        severity=Severity.BLOCK if is_empty and row.enforced else Severity.WARN,
        window=row.grant_id.hex,
        text=f"{percent(left)} of the credit of {row.customer} is left:"
        f" {display(amount, row.currency)} of {display(row.base, row.currency)}",
        figures={"left": amount, "of": row.base, "currency": row.currency},
    )


def _reached(tenant_id: uuid.UUID, kind: Kind, portion: Decimal) -> Decimal | None:
    """Return the highest line that a rising figure has reached."""
    reached = [n for n in alert_rules.lines(tenant_id, kind) if portion >= n]
    return max(reached, default=None)


def percent(portion: Decimal) -> str:
    """Return a percentage as people read it, rounded down: 99.9 is not yet 100."""
    whole = int(portion)
    return f"{whole:,} %" if portion >= 1 or portion == 0 else "under 1 %"


def _words(unit: str) -> str:
    return unit.replace("_", " ")


def _say(
    customer: CustomerFacts,
    known: Known,
    kind: Kind,
    *,
    scope: str,
    line: Decimal | None,
    severity: Severity,
    window: str,
    text: str,
    figures: Mapping[str, Any],
) -> None:
    """Tell when the line is another than the last time."""
    place = (str(kind), scope)
    if known.crossed.get(place) == line:
        return
    if line is None:
        del known.crossed[place]
        severity = Severity.OK
    else:
        known.crossed[place] = line
    tell(
        kind,
        tenant=customer.tenant_id,
        scope=scope,
        severity=severity,
        text=text,
        key=f"{window}:{line}",
        figures={**figures, "line": line, "window": window},
        customer_id=customer.id,
        url=f"/customers/{ids.public('cus', customer.id)}"
        + ("?tab=wallet" if kind == Kind.WALLET else ""),
    )
