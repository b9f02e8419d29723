"""What a period would have cost on another plan: nothing here is ever written."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace

from billing import bill, recurring
from billing.bill import BillLine
from billing.models import BillingPeriod, Subscription
from billing.recurring import Term
from catalog.plans import PricedPlan
from catalog.pricing import ChargeState, state_to_json


def contracts(period: BillingPeriod, product_id: uuid.UUID | None) -> list[Term]:
    """Return a customer's contracts of a period, each as if it had had one plan.

    All of its snapshots are one term, with the plan of the last; those of other
    products are left out, unless `product_id` is None.
    """
    subscriptions = Subscription.objects.filter(customer_id=period.customer_id)
    if product_id is not None:
        subscriptions = subscriptions.filter(product_id=product_id)
    wanted = set(subscriptions.values_list("pk", flat=True))
    found: dict[uuid.UUID, Term] = {}
    for term in recurring.terms(period.customer_id):
        if term.subscription_id not in wanted:
            continue
        first = found.get(term.subscription_id)
        found[term.subscription_id] = (
            replace(term, start=first.start, is_first=first.is_first) if first else term
        )
    return [term for term in found.values() if term.meets(period)]


def lines(
    contract: Term,
    period: BillingPeriod,
    *,
    priced: PricedPlan,
    state: Mapping[str, ChargeState],
) -> tuple[BillLine, ...]:
    """Return what a contract would have been billed for a period on another plan.

    `state` is its usage of the period under that plan.
    """
    term = replace(contract, priced=priced)
    entries = [
        *recurring.opening_entries(term, period),
        *recurring.credit_entries(term, period),
        *recurring.closing_entries(term, period, state_to_json(state)),
    ]
    return bill.supposed(term, period, state, entries)


def billed(
    period: BillingPeriod, *, currency: str, subscriptions: Collection[uuid.UUID]
) -> list[BillLine]:
    """Return the lines that the period's invoice has, or would have now.

    Without late usage of other periods, which is none of this one's.
    """
    terms = recurring.terms(period.customer_id)
    states = bill.usage_states(period)
    extra = []
    if period.state != BillingPeriod.State.FINALISED:
        if period.opened_at is None:
            extra += recurring.due(period.customer_id, period)
        extra += bill.closing_entries(period, terms, states, extra)
    made = bill.build(
        customer=period.customer,
        period=period,
        currency=currency,
        terms=terms,
        states=states,
        extra=extra,
    )
    return [
        line
        for line in made.lines
        if line.usage_period_id is None and line.subscription_id in subscriptions
    ]
