"""What a customer used of a product last month, as a plan would count it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.cache import cache

from aforo.core import fx
from aforo.lib.invariants import rows
from aforo.lib.money import ZERO, plain
from billing import hierarchy, levels
from billing.models import Customer, Subscription
from catalog.models import Product
from catalog.pricing import (
    NO_STANDING,
    Plan,
    PlanState,
    Standing,
    UsageEvent,
    plan_to_json,
    rate_period,
    state_from_json,
    state_to_json,
)
from metering.batch import Body, decode, with_tool
from metering.costing import AMOUNT, CURRENCY, PRICED_WITH
from metering.measurements import priced
from portal.selectors.figures import Span, month_to_date

# What one page can count while somebody waits; backtests take any number.
EVENTS_MAX = 50_000
OFFERED_MAX = 200
REMEMBERED_S = 600
BY_PRICE = frozenset({"percentage", "dimensions", "compound", "recipe"})
EVENTS = f"""
SELECT e.event_id, e.occurred_at, e.event_type, e.body::text,
  {hierarchy.COLUMNS},
  {AMOUNT}, {CURRENCY}, e.tenant_id,
  l.session_id, e.correlation_id, l.tool_name
FROM metering_usageevent e
JOIN billing_ledgerentry l ON l.event_id = e.id AND l.kind IN ('usage', 'adjustment')
JOIN billing_subscription s ON s.id = l.subscription_id
{hierarchy.JOINS}{PRICED_WITH}
WHERE e.customer_id = %(customer)s AND s.product_id = %(product)s
  AND e.occurred_at >= %(start)s AND e.occurred_at < %(end)s
ORDER BY e.id LIMIT %(most)s
"""  # noqa: S608  # Only constants.


@dataclass(frozen=True, slots=True)
class MonthUsage:
    """A month of a customer, counted by a plan."""

    state: PlanState
    event_count: int
    cost: Decimal  # Of the events whose cost is known.
    unknown_count: int  # Events whose cost is not known.

    @property
    def known_cost(self) -> Decimal | None:
        """The cost; None when no event's cost is known."""
        return None if self.unknown_count >= self.event_count > 0 else self.cost


def last_month(now: dt.datetime) -> Span:
    """Return the calendar month before, in UTC."""
    end = month_to_date(now).start
    return Span(month_to_date(end - dt.timedelta(days=1)).start, end)


def offered(product: Product) -> list[Customer]:
    """Return the customers whose month can be taken: who subscribed to the product."""
    subscribed = Subscription.objects.filter(product=product).values("customer")
    return list(
        Customer.objects.filter(pk__in=subscribed).order_by("name")[:OFFERED_MAX]
    )


def count(
    plans: Sequence[Plan], customer: Customer, product: Product, span: Span
) -> list[MonthUsage] | None:
    """Return the month as each plan counts it; None when it is too long to count here.

    What was counted is remembered for ten minutes by what a plan counts, whatever its
    prices: so a changed price reads no event again.
    """
    names = [_name(plan, customer, product, span) for plan in plans]
    found = cache.get_many(names)
    if len(found) < len(set(names)):
        events = _events(customer, product, span, plans[0].currency)
        if events is None:
            return None
        known = [event.cost for event in events if event.cost is not None]
        standing = _standing(plans, customer, product)
        found = {
            name: {
                "state": state_to_json(rate_period(plan, events, standing)[1]),
                "events": len(events),
                "cost": plain(sum(known, ZERO)),
                "unknown": len(events) - len(known),
            }
            for name, plan in zip(names, plans, strict=True)
        }
        cache.set_many(found, REMEMBERED_S)
    return [_usage(found[name]) for name in names]


def _standing(plans: Sequence[Plan], customer: Customer, product: Product) -> Standing:
    """Return where the customer's newest contract for the product stands."""
    contracts = Subscription.objects.filter(customer=customer, product=product)
    newest = contracts.order_by("-started_at").values_list("pk", flat=True)[:1]
    found = levels.supposed(newest, plans) if any(p.levels for p in plans) else {}
    return next(iter(found.values()), NO_STANDING)


def _usage(data: dict[str, Any]) -> MonthUsage:
    """Return what was remembered."""
    return MonthUsage(
        state_from_json(data["state"]),
        data["events"],
        Decimal(data["cost"]),
        data["unknown"],
    )


def _name(plan: Plan, customer: Customer, product: Product, span: Span) -> str:
    """Return where a count is remembered: what decides it, prices left out."""
    written = plan_to_json(plan)
    counted = [
        # Where single events or groups of them decide, what is kept hangs on the price.
        {**row, "name": "", "price": row["price"]}
        if plan.levels
        or row["price"]["model"] in BY_PRICE
        or "window" in row.get("metric", {})
        else {**row, "name": "", "price": ""}
        for row in written["charges"]
    ]
    said = [plan.currency, counted, written.get("levels", [])]
    text = json.dumps(said, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"month-usage:{customer.pk}:{product.pk}:{span.start:%Y-%m}:{digest}"


def _events(
    customer: Customer, product: Product, span: Span, currency: str
) -> list[UsageEvent] | None:
    """Return the rated events of the month with their cost in a currency."""
    found = rows(
        EVENTS,
        customer=customer.pk,
        product=product.pk,
        start=span.start,
        end=span.end,
        most=EVENTS_MAX + 1,
    )
    if len(found) > EVENTS_MAX:
        return None
    rates = fx.Rates([customer.tenant_id])
    return [as_rated(row, decode(row[3]), rates, currency) for row in found]


def as_rated(row: Any, body: Body, rates: fx.Rates, currency: str) -> UsageEvent:
    """Return a stored event as rating saw it."""
    values = (value or "" for value in row[4:8])
    facets = dict(zip(hierarchy.FACETS, values, strict=True))
    cost = row[8]
    if cost is not None:
        cost = rates.convert(
            cost, tenant_id=row[10], base=row[9], quote=currency, at=row[1]
        )
    return UsageEvent(
        row[0],
        row[1],
        row[2],
        with_tool(body.properties, row[13]) | (facets if row[4] else {}),
        priced({name: Decimal(value) for name, value in body.measurements.items()}),
        cost,
        row[11].hex if row[11] else "",
        row[12],
    )
