"""Closing periods: open → closing → finalised, each step once, invoices with it."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Callable
from dataclasses import replace

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from aforo.core import audit
from aforo.core.models import User
from aforo.lib.crash import crashpoint
from aforo.lib.errors import AforoError
from aforo.lib.money import plain
from billing import (
    bill,
    books,
    burndown,
    hooks,
    issuing,
    pdf,
    periods,
    recurring,
    safety,
    subscriptions,
    wallets,
)
from billing.bill import Bill
from billing.books import Posting
from billing.models import BillingPeriod, CustomerBooks, Invoice, Subscription
from billing.preview import preview, preview_period

__all__ = ["close", "close_periods", "finalise", "preview", "ready_at", "release"]

State = BillingPeriod.State
log = logging.getLogger(__name__)

# How many periods one run takes on, so that it ends well within its time limit.
RUN_MAX = 500


def grace() -> dt.timedelta:
    """Return how long a closed period still takes usage that was under way."""
    return dt.timedelta(seconds=settings.INVOICE_GRACE_S)


def _period(period_id: uuid.UUID) -> BillingPeriod:
    """Return a period with its customer and seller."""
    return BillingPeriod.objects.select_related("customer__tenant").get(pk=period_id)


def close(period_id: uuid.UUID, *, now: dt.datetime) -> bool:
    """Take a period that has ended from open to closing; say whether it was open.

    Opens the next one, posts what is due at its start, and writes the drafts.
    Idempotent: the state is looked at under the books' lock.
    """
    customer_id = _period(period_id).customer_id
    with books.transaction(customer_id) as posting:
        period = _period(period_id)
        if period.state != State.OPEN or period.end_at > now:
            return False
        period.state = State.CLOSING
        period.closing_at = now
        period.save(update_fields=["state", "closing_at"])
        contracts = Subscription.objects.filter(customer_id=customer_id)
        if contracts.exclude(state=Subscription.State.CANCELLED).exists():
            periods.period_at(customer_id, period.end_at)
        recurring.open_due(posting)
        posting.touch()
    crashpoint("invoice.close")
    with books.transaction(customer_id):
        _write_drafts(period_id)
    return True


def _write_drafts(period_id: uuid.UUID) -> None:
    """Write the drafts of a closing period as the ledger stands."""
    period = _period(period_id)
    if period.state != State.CLOSING:
        return
    terms = recurring.terms(period.customer_id)
    extra = bill.closing_entries(period, terms, bill.usage_states(period))
    for currency in bill.currencies(period, extra):
        made = preview_period(period, currency=currency)
        if made is not None:
            issuing.write_draft(made)


def ready_at(period: BillingPeriod) -> dt.datetime:
    """Return when the grace of a closing period is over."""
    assert period.closing_at is not None
    return period.closing_at + grace()


def finalise(
    period_id: uuid.UUID,
    *,
    now: dt.datetime,
    reviewed_by: User | None = None,
    without_grace: bool = False,
) -> list[Invoice]:
    """Issue the invoices of a closing period whose grace is over, in one transaction.

    Nothing happens, and nothing is returned, while usage received before the
    cut-off waits to be rated, while an earlier period is not finalised, when this
    one is already, or while the books are parked. `reviewed_by` has looked at an
    invoice that a safety bound held back and lets it pass.
    """
    period = _period(period_id)
    if period.state != State.CLOSING:
        return []
    cut_off = now if without_grace else ready_at(period)
    if cut_off > now or hooks.pending_before([period.customer_id], cut_off):
        return []
    try:
        with transaction.atomic():
            issued = _finalise(period.customer_id, period_id, now, reviewed_by)
    except safety.Parked as reason:
        safety.park(period, str(reason), now)
        return []
    crashpoint("invoice.committed")
    return issued


def _finalise(
    customer_id: uuid.UUID,
    period_id: uuid.UUID,
    now: dt.datetime,
    reviewed_by: User | None,
) -> list[Invoice]:
    """Issue under the books' lock; then seal the period with their head."""
    with books.transaction(customer_id) as posting:
        crashpoint("invoice.lock")
        period = _period(period_id)
        if not _may_finalise(period, reviewed_by):
            return []
        bills = _final_bills(posting, period)
        if reviewed_by is None:
            for made in bills:
                safety.check(made)
        posting.touch()
        drafts = [_settled(posting, made) for made in bills]
        issued = [_issue(posting, draft, period, now, reviewed_by) for draft in drafts]
        safety.resolve(period.customer, now)
    sealed = CustomerBooks.objects.get(pk=customer_id)
    BillingPeriod.objects.filter(pk=period_id).update(
        state=State.FINALISED, finalised_at=now, seal=sealed.head
    )
    if reviewed_by is not None:
        CustomerBooks.objects.filter(pk=customer_id).update(
            parked_at=None, parked_reason=""
        )
    return issued


def _may_finalise(period: BillingPeriod, reviewed_by: User | None) -> bool:
    """Say, under the lock, whether the period is next in turn and not held back."""
    if period.state != State.CLOSING:
        return False
    earlier = BillingPeriod.objects.filter(
        customer_id=period.customer_id, start_at__lt=period.start_at
    ).exclude(state=State.FINALISED)
    if earlier.exists():
        return False
    parked = CustomerBooks.objects.filter(
        pk=period.customer_id, parked_at__isnull=False
    )
    return reviewed_by is not None or not parked.exists()


def _final_bills(posting: Posting, period: BillingPeriod) -> list[Bill]:
    """Post what is due at the period's end and return its bills by currency."""
    recurring.open_due(posting)
    terms = recurring.terms(period.customer_id)
    states = bill.usage_states(period)
    due = bill.closing_entries(period, terms, states, posting.entries)
    recurring.post(posting, due)
    return [
        bill.build(
            customer=period.customer,
            period=period,
            currency=currency,
            terms=terms,
            states=states,
            extra=posting.entries,
        )
        for currency in bill.currencies(period, posting.entries)
    ]


def _settled(posting: Posting, made: Bill) -> Invoice:
    """Post the rounding of a bill, settle its credit and write its draft."""
    for line in made.lines:
        entry = issuing.rounding_entry(made, line)
        if entry is not None:
            posting.append(entry)
    issuing.settle_credit(posting, made)
    paid = burndown.applied(made.customer.pk, made.period.pk, made.currency)
    draft = issuing.write_draft(replace(made, credits_applied=paid))
    crashpoint("invoice.lines")
    return draft


def _issue(
    posting: Posting,
    invoice: Invoice,
    period: BillingPeriod,
    now: dt.datetime,
    reviewed_by: User | None,
) -> Invoice:
    """Number one draft, and tell of it."""
    issuing.issue(invoice, period.customer, now)
    audit.record(
        tenant=invoice.tenant_id,
        actor=reviewed_by,
        action="invoice.issued",
        target=invoice,
        changes={
            "state": ["draft", "finalised"],
            "total": [None, f"{plain(invoice.total)} {invoice.currency}"],
        },
    )
    safety.tell_issued(invoice, period.customer)
    posting.outbox(
        "aforo.invoices",
        {
            "type": "invoice.issued",
            "id": invoice.public_id,
            "number": invoice.number,
            "customer_id": period.customer.public_id,
            "currency": invoice.currency,
            "total": plain(invoice.total),
            "due": plain(invoice.due),
            "issued_at": now.isoformat(),
        },
    )
    return invoice


def release(
    *, period: BillingPeriod, reviewed_by: User, now: dt.datetime
) -> list[Invoice]:
    """Issue the invoices that a safety bound held back, after a person looked.

    Raises AforoError 409 `not_parked`.
    """
    if not CustomerBooks.objects.filter(
        pk=period.customer_id, parked_at__isnull=False
    ).exists():
        raise AforoError("not_parked", 409, "Nothing is held back.")
    return finalise(period.pk, now=now, reviewed_by=reviewed_by)


def close_periods(now: dt.datetime) -> dict[str, int]:
    """Do whatever is due by the clock; return how much of each kind was done.

    Every part looks again under its own lock, so two runs at once, a run that died
    and a run that comes late do each thing once. One customer's fault is reported
    and stops nobody else.
    """
    done = {
        "cancelled": subscriptions.end_cancelled(now),
        "expired": wallets.expire_grants(now),
        "closed": 0,
        "opened": 0,
        "issued": 0,
        "printed": 0,
    }
    every = BillingPeriod.objects.all()
    ended = every.filter(state=State.OPEN, end_at__lte=now)
    # Closing one opens the next, which after a long standstill has ended too.
    while closed := _each(ended, lambda p: close(p.pk, now=now)):
        done["closed"] += closed
    unopened = every.filter(opened_at__isnull=True, start_at__lte=now)
    done["opened"] = _each(unopened, _open)
    waiting = every.filter(
        state=State.CLOSING,
        closing_at__lte=now - grace(),
        customer__books__parked_at__isnull=True,
    )
    done["issued"] = _each(waiting, lambda p: len(finalise(p.pk, now=now)))
    done["printed"] = _note_pdfs()
    return done


def _each(found: QuerySet[BillingPeriod], work: Callable[[BillingPeriod], int]) -> int:
    """Do the work on each period, oldest first; return the sum of what was done."""
    done = 0
    ordered = found.select_related("customer").order_by("start_at", "customer_id")
    for period in ordered[:RUN_MAX]:
        try:
            done += work(period)
        except Exception as error:
            log.exception("period %s of customer %s", period.pk, period.customer_id)
            safety.report(period, error)
    return done


def _open(period: BillingPeriod) -> int:
    """Post what is due at the start of a customer's periods."""
    with books.transaction(period.customer_id) as posting:
        return recurring.open_due(posting)


def _note_pdfs() -> int:
    """Note the digests of PDFs that have none yet; return how many.

    After the commit of the invoice and again in the next run if that fails, since
    an invoice is issued whether or not it can be printed now.
    """
    waiting = Invoice.objects.filter(state=Invoice.State.FINALISED, pdf_digest="")
    done = 0
    for invoice in waiting.order_by("issued_at")[:RUN_MAX]:
        crashpoint("invoice.pdf")
        try:
            digest = pdf.digest(pdf.render(invoice))
        except pdf.NotPrinted:
            log.exception("invoice %s cannot be printed", invoice.pk)
            continue
        Invoice.objects.filter(pk=invoice.pk).update(pdf_digest=digest)
        done += 1
    return done
