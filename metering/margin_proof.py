"""The proof of margins: levels judged again from the ledger and the facts of cost."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

from django.db.models import F

from aforo.lib import clock, ids
from aforo.lib.invariants import rows
from aforo.lib.money import ZERO, plain
from billing.models import Customer, CustomerBooks
from guard.margin import figures, record
from guard.margin.figures import Total
from guard.models import Level, Scope

CHUNK = 500

SPENT = """
SELECT subscription_id, snapshot_id, sum(amount) FROM billing_ledgerentry
WHERE customer_id = %(customer)s AND usage_period_id = %(period)s
  AND kind IN ('usage', 'adjustment', 'reversal', 'reprice')
  AND (event_id IS NOT NULL OR session_id IS NOT NULL)
GROUP BY 1, 2
"""
# Each event under what it was rated; a void's facts add up to nothing.
COSTS = """
SELECT l.subscription_id, l.snapshot_id, f.currency, sum(f.amount)
FROM billing_ledgerentry l JOIN metering_costfact f ON f.event_id = l.event_id
WHERE l.customer_id = %(customer)s AND l.usage_period_id = %(period)s
  AND l.kind IN ('usage', 'adjustment') AND f.amount IS NOT NULL
GROUP BY 1, 2, 3
"""


def levels_follow_facts() -> Iterator[str]:
    """Return contracts whose margin, by ledger and costs, is at another level.

    Of customers that the edge was told of since their books changed: it is judged
    before. That nobody waits long for it is a law of the edge.
    """
    judged = CustomerBooks.objects.filter(
        projected_version__gte=F("version"),
        projected_config_version__gte=F("config_version"),
    )
    wanted = list(judged.order_by("customer_id").values_list("customer_id", flat=True))
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        kept = record.known(chunk)
        now = clock.now()
        for customer in figures.read(chunk, now):
            if _by_facts(customer):
                yield from _breaks(customer, kept[customer.id], now)


def _by_facts(customer: figures.Customer) -> bool:
    """Put what the ledger and the facts say in place of the counters.

    False where costs are in another currency: the rates of their times convert them.
    """
    about = {"customer": customer.id, "period": customer.period.pk}
    spent = {tuple(key): amount for *key, amount in rows(SPENT, **about)}
    costs: dict[tuple[uuid.UUID, ...], Decimal] = defaultdict(Decimal)
    currencies = {
        (r.subscription_id, r.snapshot_id): r.currency for r in customer.totals
    }
    for subscription, snapshot, currency, amount in rows(COSTS, **about):
        place = (subscription, snapshot)
        if amount and currencies.get(place) != currency:
            return False
        costs[place] += amount
    customer.totals = [
        Total(
            row.subscription_id,
            row.snapshot_id,
            row.currency,
            spent.get((row.subscription_id, row.snapshot_id), ZERO),
            costs[row.subscription_id, row.snapshot_id],
            row.unknown_count,
            row.state,
        )
        for row in customer.totals
    ]
    return True


def _breaks(
    customer: figures.Customer, kept: record.Known, now: dt.datetime
) -> Iterator[str]:
    """Return the contracts of one customer that are kept at another level."""
    for standing in figures.standings(customer, now):
        if standing.subject.scope != Scope.SUBSCRIPTION:
            continue
        row = kept.get(standing.subject)
        level = record.judged(standing, row, customer.period.pk)
        said = Level(row.level) if row else Level.OK
        if level != said:
            name = ids.public("sub", standing.subject.id)
            own = standing.figures
            yield (
                f"contract {name}: {said} is kept, revenue {plain(own.revenue)} and"
                f" cost {plain(own.cogs)} come to {level}"
            )


CHARGED = """
WITH booked AS (
  SELECT e.customer_id, e.usage_period_id AS period_id, e.subscription_id, e.agent_id,
    e.currency, sum(k.amount) AS amount, sum(k.quantity) AS quantity
  FROM billing_ledgerentry e JOIN billing_ledgerbasis b ON b.id = e.basis_id
  CROSS JOIN LATERAL unnest(b.charge_keys, aforo_figures(e.quantities),
      aforo_figures(e.amounts))
    AS k (charge_key, quantity, amount)
  WHERE e.kind NOT IN ('recurring', 'rounding') AND k.charge_key NOT LIKE 'plan:%%'
  GROUP BY 1, 2, 3, 4, 5),
counted AS (
  SELECT t.customer_id, t.period_id, t.subscription_id, t.agent_id, t.currency,
    sum((c.value->>1)::numeric) AS amount, sum((c.value->>0)::numeric) AS quantity
  FROM billing_agenttotal t CROSS JOIN LATERAL jsonb_each(t.charges) c
  WHERE t.subscription_id IS NOT NULL GROUP BY 1, 2, 3, 4, 5)
SELECT COALESCE(b.customer_id, c.customer_id), COALESCE(b.amount, 0),
  COALESCE(c.amount, 0)
FROM booked b FULL JOIN counted c ON b.customer_id = c.customer_id
  AND b.period_id = c.period_id AND b.subscription_id = c.subscription_id
  AND b.agent_id IS NOT DISTINCT FROM c.agent_id AND b.currency = c.currency
WHERE COALESCE(b.amount, 0) <> COALESCE(c.amount, 0)
  OR COALESCE(b.quantity, 0) <> COALESCE(c.quantity, 0)
LIMIT 100
"""
# Hours that were counted before their period was there are nobody's.
COST = """
SELECT p.customer_id, COALESCE(r.cost, 0), COALESCE(t.cost, 0)
FROM billing_billingperiod p
LEFT JOIN LATERAL (
  SELECT sum(r.cost) AS cost, min(r.created_at) AS since FROM metering_usagerollup r
  WHERE r.customer_id = p.customer_id AND r.hour >= p.start_at AND r.hour < p.end_at
) r ON true
LEFT JOIN LATERAL (
  SELECT sum(t.cost) AS cost FROM billing_agenttotal t WHERE t.period_id = p.id
) t ON true
WHERE COALESCE(r.cost, 0) <> COALESCE(t.cost, 0)
  AND (r.since IS NULL OR r.since >= p.created_at)
LIMIT 100
"""


def agents_add_up() -> Iterator[str]:
    """Return counters of agents that ledger and hourly sums do not explain."""
    for customer, booked, counted in rows(CHARGED):
        name = Customer(pk=customer).public_id
        yield f"customer {name}: {booked} booked, {counted} counted by agent"
    for customer, summed, counted in rows(COST):
        name = Customer(pk=customer).public_id
        yield f"customer {name}: cost {summed}, {counted} by agent"
