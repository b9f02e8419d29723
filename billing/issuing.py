"""Writing invoices: drafts that follow the ledger, numbers without gaps."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from django.conf import settings

from aforo.lib import ids, sql
from aforo.lib.crash import crashpoint
from aforo.lib.money import ZERO
from billing import bill, burndown
from billing.bill import Bill, BillLine
from billing.books import Posting
from billing.ledger import Entry
from billing.models import Customer, Invoice, InvoiceLine, LedgerEntry
from catalog.pricing import NO_STEPS


def parties(customer: Customer) -> tuple[dict[str, str], dict[str, str]]:
    """Return seller and buyer as an invoice keeps them."""
    tenant = customer.tenant
    seller = {
        "name": tenant.name,
        "legal_name": tenant.legal_name,
        "address": tenant.address,
        "tax_id": tenant.tax_id,
        "email": tenant.email,
    }
    buyer = {
        "id": customer.public_id,
        "name": customer.name,
        "legal_name": customer.legal_name,
        "address": customer.address,
        "country": customer.country,
        "tax_id": customer.tax_id,
        "email": customer.email,
    }
    return seller, buyer


def write_draft(made: Bill) -> Invoice:
    """Write, or write anew, the draft of a bill.

    One a customer, currency and period; the caller holds the books.
    """
    seller, buyer = parties(made.customer)
    invoice, _ = Invoice.objects.update_or_create(
        customer=made.customer,
        currency=made.currency,
        period=made.period,
        kind=Invoice.Kind.PERIOD,
        defaults={
            "tenant_id": made.customer.tenant_id,
            "seller": seller,
            "buyer": buyer,
            "subtotal": made.subtotal,
            "credits_applied": made.credits_applied,
            "tax_label": made.tax_label,
            "tax_rate": made.tax_rate,
            "tax": made.tax,
            "total": made.total,
            "due": made.due,
        },
    )
    invoice.lines.all().delete()
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            tenant_id=made.customer.tenant_id,
            invoice=invoice,
            position=position,
            subscription_id=line.subscription_id,
            charge_key=line.charge_key,
            usage_period_id=line.usage_period_id,
            name=line.name,
            quantity=line.quantity,
            unit=line.unit,
            exact_amount=line.exact_amount,
            amount=line.amount,
            steps=line.steps,
        )
        for position, line in enumerate(made.lines, start=1)
    )
    return invoice


def rounding_entry(made: Bill, line: BillLine) -> Entry | None:
    """Return the entry that makes the ledger equal to a printed line."""
    residual = line.amount - line.exact_amount
    if not residual:
        return None
    return Entry(
        id=ids.new_id(),
        subscription_id=line.subscription_id,
        snapshot_id=line.snapshot_id,
        usage_period_id=line.usage_period_id or made.period.pk,
        billing_period_id=made.period.pk,
        kind=LedgerEntry.Kind.ROUNDING,
        currency=made.currency,
        amount=residual,
        charge_keys=[line.charge_key],
        quantities=[ZERO],
        amounts=[residual],
        steps=[NO_STEPS],
        occurred_at=made.period.end_at - dt.timedelta(microseconds=1),
    )


def settle_credit(posting: Posting, made: Bill) -> None:
    """Bring what the wallet paid to whole minor units; see bill.credit_target."""
    wallet = burndown.find(made.customer.pk, made.currency)
    if wallet is None:
        return
    room = wallet.balance + wallet.overdraft_limit
    burnt = made.credits_applied
    for _ in range(2):
        wanted = bill.credit_target(made, room=room) - burnt
        burnt += burndown.burn(
            posting=posting,
            currency=made.currency,
            amount=wanted,
            title="Rounding of the invoice",
            billing_period_id=made.period.pk,
        )
        if bill.floor_minor(burnt, made.currency) == burnt:
            return
        # A lot expired just now: what is left of it is no room.
        room = ZERO
    raise AssertionError("the credit of an invoice is no whole minor unit")


NEXT_NUMBER = """
INSERT INTO billing_invoicecounter AS c (id, created_at, tenant_id, prefix, last)
VALUES (%b, %b, %b, %b, 1)
ON CONFLICT (tenant_id, prefix) DO UPDATE SET last = c.last + 1
RETURNING last
"""


def next_number(customer: Customer, issued_at: dt.datetime) -> str:
    """Return the next number of the tenant's year, such as INV-2026-0001.

    The counter's row stays locked until the commit and a rollback gives the number
    back, so there are no gaps; it is the last lock that a transaction takes.
    """
    tenant = customer.tenant
    year = issued_at.astimezone(ZoneInfo(tenant.timezone)).year
    prefix = f"{tenant.invoice_prefix}-{year}"
    with sql.cursor() as cursor:
        row = cursor.execute(
            NEXT_NUMBER, [ids.new_id(), issued_at, tenant.pk, prefix]
        ).fetchone()
    assert row is not None
    return f"{prefix}-{row[0]:04d}"


def issue(invoice: Invoice, customer: Customer, now: dt.datetime) -> None:
    """Give a draft its number: from now on it never changes."""
    crashpoint("invoice.tax")
    zone = ZoneInfo(customer.tenant.timezone)
    invoice.issued_at = now
    terms = dt.timedelta(days=settings.INVOICE_DUE_DAYS)
    invoice.due_on = now.astimezone(zone).date() + terms
    invoice.number = next_number(customer, now)
    crashpoint("invoice.number")
    invoice.state = Invoice.State.FINALISED
    invoice.save()
    crashpoint("invoice.finalised")
