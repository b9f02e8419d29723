"""The invoice that would be issued now, by the code that issues it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from aforo.lib import clock
from aforo.lib.money import ZERO
from billing import bill, burndown, periods, recurring
from billing.bill import Bill
from billing.models import BillingPeriod, Customer


def preview(
    *, customer: Customer, currency: str, now: dt.datetime | None = None
) -> Bill | None:
    """Return the invoice of the period under way as if it ended with what is there.

    None where nothing has been charged yet. Nothing is written.
    """
    period = periods.find(customer.pk, now or clock.now())
    return None if period is None else preview_period(period, currency=currency)


def preview_period(period: BillingPeriod, *, currency: str) -> Bill | None:
    """Return the invoice of a period that is not finalised, as if it were now."""
    customer = period.customer
    terms = recurring.terms(customer.pk)
    states = bill.usage_states(period)
    unopened = period.opened_at is None
    extra = recurring.due(customer.pk, period) if unopened else []
    extra += bill.closing_entries(period, terms, states, extra)
    made = bill.build(
        customer=customer,
        period=period,
        currency=currency,
        terms=terms,
        states=states,
        extra=extra,
    )
    if not made.lines:
        return None
    wallet = burndown.find(customer.pk, currency)
    room = wallet.balance + wallet.overdraft_limit if wallet else ZERO
    return replace(made, credits_applied=bill.credit_target(made, room=room))
