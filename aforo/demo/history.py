"""The demo's month of history: when it ends, and the invoices that wait for it."""

from __future__ import annotations

import datetime as dt

from django.db import transaction

from aforo.core import audit
from aforo.core.models import AuditEntry, Tenant
from aforo.demo import cast, stretch
from aforo.lib import clock
from billing import books, invoicing
from billing.models import BillingPeriod, Customer, CustomerBooks

LENGTH = dt.timedelta(days=stretch.DAYS)
BEGUN = "demo.history_begun"
LOADED = "demo.history_loaded"
WAITING = "The demo's history is not complete; manage.py demo completes it."
State = BillingPeriod.State


def end_of(tenant: Tenant) -> dt.datetime:
    """Return when the history ends: the minute in which it was first replayed.

    Kept in the tenant's audit, so that every later replay sends the same events.
    """
    entry = _entry(tenant, BEGUN)
    if entry is None:
        now = clock.now().replace(second=0, microsecond=0)
        entry = audit.record(
            tenant=tenant,
            action=BEGUN,
            target=tenant,
            changes={"end": [None, now.isoformat()]},
        )
    return dt.datetime.fromisoformat(entry.changes["end"][1])


def is_loaded(tenant: Tenant) -> bool:
    """Say whether the whole history is in the books."""
    return _entry(tenant, LOADED) is not None


def _entry(tenant: Tenant, action: str) -> AuditEntry | None:
    return AuditEntry.objects.filter(tenant=tenant, action=action).first()


def hold_invoices(customer: Customer) -> None:
    """Let no invoice of the past month be issued before its usage has come."""
    with books.transaction(customer.pk):
        CustomerBooks.objects.filter(pk=customer.pk).update(
            parked_at=clock.now(), parked_reason=WAITING
        )


def complete(tenant: Tenant) -> int:
    """Note that the history is in and issue the invoices of the months that ended.

    Returns how many. The grace for late usage has passed in the story that the
    history tells, so nobody waits for it. Repeating it changes nothing.
    """
    customers = Customer.objects.filter(tenant=tenant, external_id__in=cast.CUSTOMERS)
    issued = sum(_issue(customer) for customer in customers.order_by("id"))
    if not is_loaded(tenant):
        audit.record(tenant=tenant, action=LOADED, target=tenant)
    return issued


def _issue(customer: Customer) -> int:
    """Take a customer's books into use and issue what is due."""
    with books.transaction(customer.pk):
        CustomerBooks.objects.filter(pk=customer.pk, parked_reason=WAITING).update(
            parked_at=None, parked_reason=""
        )
    now = clock.now()
    issued = 0
    ended = BillingPeriod.objects.filter(customer=customer, end_at__lte=now)
    for period in ended.exclude(state=State.FINALISED).order_by("start_at"):
        invoicing.close(period.pk, now=now)
        with transaction.atomic():
            BillingPeriod.objects.filter(pk=period.pk, state=State.CLOSING).update(
                closing_at=period.end_at
            )
        issued += len(invoicing.finalise(period.pk, now=now))
    return issued
