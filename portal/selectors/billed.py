"""Billed beside collected: what was rated, invoiced and paid, by customer and period.

Rated is the ledger by billing period, invoiced the invoices' lines before tax. What
prepaid credit paid is told by the wallets' entries. Payments of invoices are recorded
nowhere, so what is left after credit is open, and only that is said.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.db.models import Q

from aforo.lib import sql
from aforo.lib.money import ZERO
from billing.models import BillingPeriod, Customer, Invoice
from portal.ranges import instant
from portal.selectors.what_if import month_end, month_start

# A period belongs to the month in which it begins where the customer is: the earliest
# of them do so this much before the month of UTC.
EAST = dt.timedelta(hours=14)

RATED = """
SELECT l.billing_period_id, l.currency,
  coalesce(sum(l.amount) FILTER (WHERE l.usage_period_id = l.billing_period_id
    AND l.kind NOT IN ('recurring', 'rounding')), 0),
  coalesce(sum(l.amount) FILTER (WHERE l.usage_period_id = l.billing_period_id
    AND l.kind = 'recurring'), 0),
  coalesce(sum(l.amount) FILTER (WHERE l.usage_period_id <> l.billing_period_id
    AND l.kind <> 'rounding'), 0),
  coalesce(sum(l.amount) FILTER (WHERE l.kind = 'rounding'), 0)
FROM billing_billingperiod p JOIN billing_ledgerentry l
  ON l.customer_id = p.customer_id AND l.billing_period_id = p.id
WHERE p.id = ANY(%b) GROUP BY 1, 2
"""
PAID = """
SELECT e.billing_period_id, w.currency,
  -coalesce(sum(e.amount) FILTER (WHERE g.kind = 'purchased'), 0),
  -coalesce(sum(e.amount) FILTER (WHERE g.kind IS DISTINCT FROM 'purchased'), 0)
FROM billing_walletentry e JOIN billing_wallet w ON w.id = e.wallet_id
LEFT JOIN billing_creditgrant g ON g.id = e.grant_id
WHERE e.customer_id = ANY(%b) AND e.billing_period_id = ANY(%b)
  AND e.kind IN ('burn', 'return')
GROUP BY 1, 2
"""
BOUGHT = """
SELECT p.id, w.currency, sum(e.amount)
FROM billing_billingperiod p
JOIN billing_wallet w ON w.customer_id = p.customer_id
JOIN billing_walletentry e ON e.wallet_id = w.id
  AND e.created_at >= p.start_at AND e.created_at < p.end_at
JOIN billing_creditgrant g ON g.id = e.grant_id AND g.kind = 'purchased'
WHERE p.id = ANY(%b) AND e.kind = 'grant' GROUP BY 1, 2
"""


@dataclass(slots=True)
class Sums:
    """Amounts in one currency; each is exact."""

    usage: Decimal = ZERO  # Rated usage of the period itself.
    fees: Decimal = ZERO  # Recurring amounts.
    late: Decimal = ZERO  # Usage of periods that had their invoice already.
    rounding: Decimal = ZERO  # What makes printed lines of exact amounts.
    invoiced: Decimal = ZERO  # Invoices' lines before tax; void ones count nothing.
    tax: Decimal = ZERO
    credit_bought: Decimal = ZERO  # Paid from credit that the customer paid for.
    credit_given: Decimal = ZERO  # Paid from promotional and refilled credit.
    due: Decimal = ZERO  # Of issued invoices, after credit.
    bought: Decimal = ZERO  # Credit that was bought in these days.

    @property
    def rated(self) -> Decimal:
        """What the ledger says that the customer owes."""
        return self.usage + self.fees + self.late + self.rounding

    @property
    def difference(self) -> Decimal:
        """What is invoiced more than rated; negative: rated and not invoiced."""
        return self.invoiced - self.rated

    @property
    def credit(self) -> Decimal:
        """What prepaid credit paid."""
        return self.credit_bought + self.credit_given

    def __add__(self, other: Sums) -> Sums:
        """Return the sum; both are in one currency."""
        names = [field.name for field in fields(self)]
        return Sums(*(getattr(self, n) + getattr(other, n) for n in names))


@dataclass(frozen=True, slots=True)
class Row:
    """One customer's period in one currency."""

    customer: Customer
    period: BillingPeriod
    currency: str
    sums: Sums
    invoice: Invoice | None

    @property
    def why(self) -> str:
        """Why invoiced and rated differ, or why they do not have to be equal yet."""
        return _why(self.period.state, self.invoice, self.sums.difference)

    @property
    def is_fault(self) -> bool:
        """Whether the difference has no reason: an issued invoice equals the ledger."""
        issued = self.invoice and self.invoice.state == Invoice.State.FINALISED
        return bool(issued and self.sums.difference)

    @property
    def events_url(self) -> str:
        """The events of the period."""
        query = {
            "customer": self.customer.public_id,
            "since": instant(self.period.start_at),
            "until": instant(self.period.end_at),
            "currency": self.currency,
            "void": "no",
        }
        return f"/events?{urlencode(query)}"

    @property
    def bill_url(self) -> str:
        """The invoice, or the preview of what it would say now."""
        if self.invoice is not None:
            return f"/invoices/{self.invoice.public_id}"
        return f"/customers/{self.customer.public_id}/upcoming"

    @property
    def wallet_url(self) -> str:
        """The customer's wallet with its entries."""
        return f"/customers/{self.customer.public_id}?tab=wallet"


def _why(state: str, invoice: Invoice | None, difference: Decimal) -> str:
    """Return the reason of a difference in words."""
    if invoice is None:
        if not difference:
            return "nothing to invoice"
        if state == BillingPeriod.State.OPEN:
            return "not invoiced yet: the period is open"
        return "not invoiced yet: the period is closing"
    if invoice.state == Invoice.State.DRAFT:
        return "draft: minimums and rounding are posted when it is issued"
    if invoice.state == Invoice.State.VOID:
        return "the invoice is void"
    return "equal to the ledger" if not difference else "differs from the ledger"


class Found(NamedTuple):
    """The rows of a month, by customer, and their sums by currency."""

    rows: list[Row]
    totals: dict[str, Sums]

    @property
    def faults(self) -> list[Row]:
        """The rows whose difference nothing explains."""
        return [row for row in self.rows if row.is_fault]


def periods(day: dt.date, search: str = "") -> list[BillingPeriod]:
    """Return the billing periods that begin in the month of a day."""
    rows = BillingPeriod.objects.filter(
        start_at__gte=month_start(day) - EAST, start_at__lt=month_end(day) - EAST
    )
    if search:
        text = search.replace("\0", "")
        of = Q(customer__name__icontains=text) | Q(customer__external_id=text)
        rows = rows.filter(of)
    return list(rows.select_related("customer").order_by("customer__name", "pk"))


def months() -> list[dt.date]:
    """Return the first days of the months in which periods begin, newest first."""
    # Midday is in the month of the customer wherever it is.
    shift = dt.timedelta(hours=12)
    starts = BillingPeriod.objects.order_by().values_list("start_at", flat=True)
    found = {(at + shift).date().replace(day=1) for at in starts.distinct()}
    return sorted(found, reverse=True)


def month(day: dt.date, search: str = "") -> Found:
    """Return what was rated, invoiced and paid for a month; five statements."""
    chosen = {row.pk: row for row in periods(day, search)}
    keys = list(chosen)
    customers = list({row.customer_id for row in chosen.values()})
    sums: dict[tuple[uuid.UUID, str], Sums] = {}

    def of(period: uuid.UUID, currency: str) -> Sums:
        return sums.setdefault((period, currency), Sums())

    for period, currency, *amounts in _rows(RATED, keys):
        own = of(period, currency)
        own.usage, own.fees, own.late, own.rounding = amounts
    for period, currency, bought, given in _rows(PAID, customers, keys):
        own = of(period, currency)
        own.credit_bought, own.credit_given = bought, given
    for period, currency, amount in _rows(BOUGHT, keys):
        of(period, currency).bought = amount
    invoices: dict[tuple[uuid.UUID, str], Invoice] = {}
    for invoice in Invoice.objects.filter(period__in=keys).defer("seller", "buyer"):
        invoices[invoice.period_id, invoice.currency] = invoice
        own = of(invoice.period_id, invoice.currency)
        if invoice.state != Invoice.State.VOID:
            own.invoiced, own.tax = invoice.subtotal, invoice.tax
        if invoice.state == Invoice.State.FINALISED:
            own.due = invoice.due
    currencies: dict[uuid.UUID, list[str]] = {}
    for key, currency in sorted(sums):
        currencies.setdefault(key, []).append(currency)
    found = [
        Row(
            period.customer,
            period,
            currency,
            sums[key, currency],
            invoices.get((key, currency)),
        )
        for key, period in chosen.items()
        for currency in currencies.get(key, ())
    ]
    return Found(found, _totals(found))


def _totals(rows: Iterable[Row]) -> dict[str, Sums]:
    """Return the sums of rows by currency."""
    totals: dict[str, Sums] = {}
    for row in rows:
        totals[row.currency] = totals.get(row.currency, Sums()) + row.sums
    return dict(sorted(totals.items()))


def main_first(totals: Mapping[str, Sums], main: str) -> list[tuple[str, Sums]]:
    """Return the sums by currency: that of the seller first, then by name."""
    return sorted(totals.items(), key=lambda pair: (pair[0] != main, pair[0]))


def _rows(statement: str, *given: Any) -> list[tuple[Any, ...]]:
    """Return what a statement of this module finds."""
    with sql.cursor() as cursor:
        return cursor.execute(statement, list(given)).fetchall()
