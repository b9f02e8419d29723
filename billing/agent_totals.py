"""What each agent used and cost in a period: counters beside those of subscriptions.

Prices that look back (volume tiers, minimums of a month) post their differences with
whatever event crossed a step. So an agent's revenue is not the sum of its entries: it
is its quantity of each charge at the charge's average price.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import msgspec

from aforo.lib import clock, ids, sql
from aforo.lib.money import CONTEXT, ZERO
from billing.ledger import Entry, Owned
from billing.models.books import LedgerEntry
from catalog.pricing.terms import is_plan_key

# Sorts where an agent or a contract is not known.
NOBODY = uuid.UUID(int=0)
FIXED = frozenset({LedgerEntry.Kind.RECURRING, LedgerEntry.Kind.ROUNDING})

_json = msgspec.json.Encoder(decimal_format="string").encode


class Key(NamedTuple):
    """One counter; NOBODY is what is not known, or what stands for all contracts."""

    customer_id: uuid.UUID
    period_id: uuid.UUID
    subscription_id: uuid.UUID
    agent_id: uuid.UUID
    currency: str


@dataclass(slots=True)
class Charged:
    """What is added to the charges of one counter: key → [quantity, amount]."""

    tenant_id: uuid.UUID
    charges: dict[str, list[Decimal]] = field(default_factory=dict)

    def add(self, key: str, quantity: Decimal, amount: Decimal) -> None:
        """Add to one charge."""
        found = self.charges.get(key)
        if found is None:
            self.charges[key] = [quantity, amount]
        else:
            found[0] += quantity
            found[1] += amount


ADD_CHARGES = """
INSERT INTO billing_agenttotal AS t (
  id, created_at, tenant_id, customer_id, period_id, subscription_id, agent_id,
  currency, charges, cost, cost_unknown_count)
SELECT r.id, %b, r.tenant_id, r.customer_id, r.period_id, r.subscription_id,
  r.agent_id, r.currency, r.charges::jsonb, 0, 0
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[],
  %b::text[], %b::text[])
  AS r (id, tenant_id, customer_id, period_id, subscription_id, agent_id, currency,
    charges)
ON CONFLICT (customer_id, period_id, subscription_id, agent_id, currency)
DO UPDATE SET charges = (
  SELECT jsonb_object_agg(key, jsonb_build_array(quantity::text, amount::text)) FROM (
    SELECT key, sum((value->>0)::numeric) AS quantity,
      sum((value->>1)::numeric) AS amount
    FROM (SELECT * FROM jsonb_each(t.charges)
      UNION ALL SELECT * FROM jsonb_each(excluded.charges)) AS parts
    GROUP BY key) AS sums)
"""
# The period is that of the hour: a month that begins inside an hour of UTC gets that
# hour's cost where the hour began.
ADD_COSTS = """
INSERT INTO billing_agenttotal AS t (
  id, created_at, tenant_id, customer_id, period_id, subscription_id, agent_id,
  currency, charges, cost, cost_unknown_count)
SELECT gen_random_uuid(), %b, r.tenant_id, r.customer_id, p.id, NULL, r.agent_id,
  r.currency, '{}', sum(r.cost), sum(r.unknown)
FROM unnest(%b::uuid[], %b::uuid[], %b::timestamptz[], %b::uuid[], %b::text[],
  %b::numeric[], %b::bigint[])
  AS r (tenant_id, customer_id, hour, agent_id, currency, cost, unknown)
JOIN billing_billingperiod p ON p.customer_id = r.customer_id
  AND p.start_at <= r.hour AND p.end_at > r.hour
GROUP BY r.tenant_id, r.customer_id, p.id, r.agent_id, r.currency
ORDER BY r.customer_id, p.id, r.agent_id, r.currency
ON CONFLICT (customer_id, period_id, subscription_id, agent_id, currency)
DO UPDATE SET cost = t.cost + excluded.cost,
  cost_unknown_count = t.cost_unknown_count + excluded.cost_unknown_count
"""


def add_entries(rows: Iterable[tuple[Owned, Entry]]) -> None:
    """Count what entries of usage charge; the caller holds the books' locks.

    Fixed amounts and what holds for a plan as a whole are nobody's usage.
    """
    found: dict[Key, Charged] = {}
    for owner, entry in rows:
        if entry.kind in FIXED:
            continue
        key = Key(
            owner.customer_id,
            entry.usage_period_id,
            entry.subscription_id,
            entry.agent_id or NOBODY,
            entry.currency,
        )
        for charge, quantity, amount in zip(
            entry.charge_keys, entry.quantities, entry.amounts, strict=True
        ):
            if is_plan_key(charge):
                continue
            if key not in found:
                found[key] = Charged(owner.tenant_id)
            found[key].add(charge, quantity, amount)
    if not found:
        return
    ordered = sorted(found)
    columns = [
        [ids.new_id() for _ in ordered],
        [found[key].tenant_id for key in ordered],
        [key.customer_id for key in ordered],
        [key.period_id for key in ordered],
        [key.subscription_id for key in ordered],
        [None if key.agent_id == NOBODY else key.agent_id for key in ordered],
        [key.currency for key in ordered],
        [_json(found[key].charges).decode() for key in ordered],
    ]
    with sql.cursor() as cursor:
        cursor.execute(ADD_CHARGES, [clock.now(), *columns])


class Cost(NamedTuple):
    """What an hour's cost of an agent's usage moves by."""

    tenant_id: uuid.UUID
    customer_id: uuid.UUID
    hour: dt.datetime
    agent_id: uuid.UUID | None
    currency: str
    amount: Decimal
    unknown_count: int  # Events whose cost is not known.


def add_costs(costs: Sequence[Cost]) -> None:
    """Count costs, rated usage or not; the caller holds the books' locks."""
    moved = [cost for cost in costs if cost.amount or cost.unknown_count]
    if not moved:
        return
    with sql.cursor() as cursor:
        columns = [list(column) for column in zip(*moved, strict=True)]
        cursor.execute(ADD_COSTS, [clock.now(), *columns])


Charges = Mapping[str, tuple[Decimal, Decimal]]


def revenues(
    charges: Mapping[uuid.UUID | None, Charges],
) -> dict[uuid.UUID | None, Decimal]:
    """Return what one contract's usage earned by each agent (None: by none).

    An agent's quantity of each charge at its average price; they add up to what the
    usage earned, but for what nobody has a quantity of.
    """
    sums: dict[str, list[Decimal]] = {}
    for own in charges.values():
        for key, (quantity, amount) in own.items():
            known = sums.setdefault(key, [ZERO, ZERO])
            known[0] += quantity
            known[1] += amount
    found = {}
    for agent, own in charges.items():
        earned = ZERO
        for key, (quantity, amount) in own.items():
            whole, price = sums[key]
            # Nothing to share by: it stays where it was posted.
            earned += CONTEXT.divide(price * quantity, whole) if whole else amount
        found[agent] = earned
    return found
