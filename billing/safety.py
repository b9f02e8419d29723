"""Safety bounds: an invoice that looks wrong waits for a person, and says so."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from decimal import Decimal
from statistics import median
from typing import Any

from django.db import transaction

from aforo.core import audit
from aforo.core.happenings import Kind, Severity, tell
from aforo.core.models import Notification
from aforo.lib import clock
from aforo.lib.money import display, plain
from billing import books
from billing.bill import Bill
from billing.models import (
    BillingPeriod,
    Customer,
    CustomerBooks,
    Invoice,
    InvoiceLine,
)
from catalog.pricing import is_plan_key

LINES_MAX = 5_000
# A line so many times the median of the lines before it, of which there are enough.
MEDIAN_FACTOR = 10
MEDIAN_COUNT_MIN = 3


class Parked(Exception):
    """A bound was hit: a person looks before the invoice is issued."""


def check(made: Bill) -> None:
    """Raise Parked for a bill that a person should see before it is issued."""
    if made.total < 0:
        raise Parked(f"The total is negative: {plain(made.total)} {made.currency}.")
    if len(made.lines) > LINES_MAX:
        raise Parked(f"The invoice has {len(made.lines):,} lines.")
    before = _amounts_before(made)
    for line in made.lines:
        amounts = before[line.subscription_id, line.charge_key]
        # What the plan as a whole adds is bounded by what it says.
        if is_plan_key(line.charge_key):
            continue
        if line.usage_period_id or len(amounts) < MEDIAN_COUNT_MIN:
            continue
        usual = median(amounts)
        if usual > 0 and line.amount > MEDIAN_FACTOR * usual:
            raise Parked(
                f"{line.name} is {plain(line.amount)} {made.currency};"
                f" the median of {len(amounts)} invoices is {plain(usual)}."
            )


def _amounts_before(made: Bill) -> dict[tuple[uuid.UUID, str], list[Decimal]]:
    """Return what earlier invoices charged, by subscription and charge."""
    before: dict[tuple[uuid.UUID, str], list[Decimal]] = defaultdict(list)
    past = InvoiceLine.objects.filter(
        invoice__customer=made.customer,
        invoice__currency=made.currency,
        invoice__state=Invoice.State.FINALISED,
        usage_period__isnull=True,
    )
    for sub, key, amount in past.values_list("subscription_id", "charge_key", "amount"):
        before[sub, key].append(amount)
    return before


def park(period: BillingPeriod, reason: str, now: dt.datetime) -> None:
    """Hold back a customer's invoices until somebody looked, and say so once."""
    customer = period.customer
    with books.transaction(customer.pk):
        CustomerBooks.objects.filter(pk=customer.pk).update(
            parked_at=now, parked_reason=reason[:300]
        )
        audit.record(
            tenant=customer.tenant_id,
            action="invoice.parked",
            target=customer,
            reason=reason,
        )
        _notify(
            customer,
            kind="invoice.parked",
            text=f"The invoice of {customer} is held back. {reason}",
        )


def report(period: BillingPeriod, error: Exception) -> None:
    """Tell the tenant's people that a period could not be closed."""
    with transaction.atomic():
        _notify(
            period.customer,
            kind="invoice.failed",
            text=f"The invoice of {period.customer} failed: {type(error).__name__}.",
        )


def _notify(customer: Customer, *, kind: str, text: str) -> None:
    """Leave a notification, at most one of its kind for the customer."""
    Notification.objects.get_or_create(
        tenant_id=customer.tenant_id,
        dedupe_key=f"{kind}:{customer.pk}",
        resolved_at=None,
        defaults={
            "severity": Notification.Severity.BLOCK,
            "kind": kind,
            "text": text[:300],
        },
    )
    _tell_failed(customer, kind, text)


def _tell_failed(customer: Customer, kind: str, text: str) -> None:
    """Tell once that the customer's invoices do not go out."""
    tell(
        Kind.INVOICING,
        tenant=customer.tenant_id,
        scope=customer.public_id,
        severity=Severity.BLOCK,
        text=text,
        key=f"{kind}:{clock.now():%Y-%m-%d}",
        figures={"customer": str(customer), "cause": kind},
        customer_id=customer.pk,
        url=f"/customers/{customer.public_id}?tab=invoices",
    )


def tell_issued(invoice: Invoice, customer: Customer) -> None:
    """Tell that an invoice was issued, and that what failed before is over."""
    amount = display(invoice.total, invoice.currency)
    text = f"Invoice {invoice.number} of {customer} is issued: {amount}"
    common: dict[str, Any] = {
        "tenant": invoice.tenant_id,
        "severity": Severity.OK,
        "text": text,
        "key": invoice.public_id,
        "figures": {
            "number": invoice.number,
            "total": invoice.total,
            "due": invoice.due,
            "currency": invoice.currency,
        },
        "customer_id": customer.pk,
        "url": f"/invoices/{invoice.public_id}",
    }
    tell(Kind.INVOICE_ISSUED, scope=invoice.public_id, **common)
    tell(Kind.INVOICING, scope=customer.public_id, **common)


def resolve(customer: Customer, now: dt.datetime) -> None:
    """Take back what was said about the customer's invoices: one was issued."""
    Notification.objects.filter(
        tenant_id=customer.tenant_id,
        dedupe_key__in=[
            f"{kind}:{customer.pk}" for kind in ("invoice.parked", "invoice.failed")
        ],
        resolved_at__isnull=True,
    ).update(resolved_at=now)
