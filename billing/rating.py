"""From usage to money: price facts on top of a period's totals."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import msgspec

from aforo.lib import clock, ids, sql
from aforo.lib.money import ZERO
from billing.contracts import Period, Snapshot
from billing.ledger import Entry
from billing.models import LedgerEntry
from catalog.pricing import (
    NO_STANDING,
    ChargeState,
    Line,
    PlanState,
    Standing,
    Unrateable,
    UsageEvent,
    group_of,
    pack_steps,
    rate_by_level,
    rate_many,
    state_from_json,
    state_to_json,
)


class Fact(NamedTuple):
    """One event as billing sees it: who pays, under what, and what it cost."""

    id: uuid.UUID  # metering.UsageEvent.id
    usage: UsageEvent
    subscription_id: uuid.UUID
    snapshot: Snapshot
    usage_period: Period
    billing_period: Period
    tokens: int  # In and out.
    agent_id: uuid.UUID | None
    team_id: uuid.UUID | None
    session_id: uuid.UUID | None
    tool_name: str


# The fields of the lines of an event that touches no charge.
NO_LINE: tuple[tuple[()], ...] = ((),) * len(Line._fields)


class TotalKey(NamedTuple):
    """Which counter row a fact moves."""

    subscription_id: uuid.UUID
    snapshot_id: uuid.UUID
    period_id: uuid.UUID


@dataclass(slots=True)
class Total:
    """A counter row while a batch is rated; see billing.models.UsageTotal."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    customer_id: uuid.UUID
    key: TotalKey
    currency: str
    state: dict[str, ChargeState] = field(default_factory=dict)
    spend: Decimal = ZERO
    cost: Decimal = ZERO
    cost_unknown_count: int = 0
    event_count: int = 0
    token_count: int = 0
    # Of the sessions and correlations of this batch; see billing.models.GroupTotal.
    groups: dict[str, ChargeState] = field(default_factory=dict)

    def keep(self, after: PlanState) -> None:
        """Take over a state, the groups apart: they are rows of their own."""
        of_groups = {key for key in after if group_of(key)}
        self.groups = {key: after[key] for key in of_groups}
        self.state = {k: after[k] for k in after if k not in of_groups}


SELECT = """
SELECT t.id, t.tenant_id, t.customer_id, t.subscription_id, t.snapshot_id,
  t.period_id, t.currency, t.state::text, t.spend, t.cost, t.cost_unknown_count,
  t.event_count, t.token_count
FROM billing_usagetotal t
JOIN unnest(%b::uuid[], %b::uuid[], %b::uuid[])
  AS k (subscription_id, snapshot_id, period_id)
  USING (subscription_id, snapshot_id, period_id)
WHERE t.customer_id = ANY(%b)
"""


def load_totals(
    customers: Iterable[uuid.UUID], keys: Iterable[TotalKey]
) -> dict[TotalKey, Total]:
    """Return the counter rows that exist; the caller holds the books' locks."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    with sql.cursor() as cursor:
        rows = cursor.execute(
            SELECT, [*map(list, zip(*wanted, strict=True)), list(customers)]
        ).fetchall()
    found = {}
    for key, tenant, customer, sub, snapshot, period, currency, state, *sums in rows:
        total = Total(
            key,
            tenant,
            customer,
            TotalKey(sub, snapshot, period),
            currency,
            state_from_json(msgspec.json.decode(state)),
            *sums,
        )
        found[total.key] = total
    return found


SAVE = """
INSERT INTO billing_usagetotal AS t (
  id, created_at, tenant_id, customer_id, subscription_id, snapshot_id, period_id,
  currency, state, spend, recurring, cost, cost_unknown_count, event_count,
  token_count)
SELECT r.id, %b, r.tenant_id, r.customer_id, r.subscription_id, r.snapshot_id,
  r.period_id, r.currency, r.state::jsonb, r.spend, 0, r.cost, r.cost_unknown_count,
  r.event_count, r.token_count
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[],
  %b::text[], %b::text[], %b::numeric[], %b::numeric[], %b::bigint[], %b::bigint[],
  %b::bigint[])
  AS r (id, tenant_id, customer_id, subscription_id, snapshot_id, period_id, currency,
    state, spend, cost, cost_unknown_count, event_count, token_count)
ON CONFLICT (customer_id, subscription_id, snapshot_id, period_id) DO UPDATE SET
  state = excluded.state, spend = excluded.spend, cost = excluded.cost,
  cost_unknown_count = excluded.cost_unknown_count,
  event_count = excluded.event_count, token_count = excluded.token_count
"""


def save_totals(totals: Iterable[Total]) -> None:
    """Write the counter rows; nobody else can have moved them under the lock."""
    rows = sorted(totals, key=lambda t: (t.customer_id, t.key))
    if not rows:
        return
    columns = [
        [t.id for t in rows],
        [t.tenant_id for t in rows],
        [t.customer_id for t in rows],
        [t.key.subscription_id for t in rows],
        [t.key.snapshot_id for t in rows],
        [t.key.period_id for t in rows],
        [t.currency for t in rows],
        [msgspec.json.encode(state_to_json(t.state)).decode() for t in rows],
        [t.spend for t in rows],
        [t.cost for t in rows],
        [t.cost_unknown_count for t in rows],
        [t.event_count for t in rows],
        [t.token_count for t in rows],
    ]
    with sql.cursor() as cursor:
        cursor.execute(SAVE, [clock.now(), *columns])


def new_total(
    *, tenant_id: uuid.UUID, customer_id: uuid.UUID, key: TotalKey, currency: str
) -> Total:
    """Return a counter row that starts at nothing."""
    return Total(ids.new_id(), tenant_id, customer_id, key, currency)


def rate_group(
    total: Total, facts: Sequence[Fact], standing: Standing = NO_STANDING
) -> list[Entry | Unrateable]:
    """Price facts of one counter row in order, and move the row.

    Returns one ledger entry, or the reason why there is none, for every fact. Where
    the plan has spend levels, `standing` says where the subscription stands.
    """
    priced = facts[0].snapshot.plan
    assert priced is not None, "a fact has a plan"
    before = {**total.state, **total.groups}
    usage = [fact.usage for fact in facts]
    levels: Sequence[str | None]
    if priced.plan.levels:
        rated = rate_by_level(priced.plan, before, usage, standing)
        outcomes, levels, after = rated.outcomes, rated.levels, rated.after
    else:
        outcomes, after = rate_many(priced.plan, before, usage)
        levels = [None] * len(outcomes)
    total.keep(after)
    results: list[Entry | Unrateable] = []
    for fact, outcome, level in zip(facts, outcomes, levels, strict=True):
        if isinstance(outcome, Unrateable):
            results.append(outcome)
            continue
        entry = _entry(fact, outcome, priced.currency, level)
        results.append(entry)
        total.spend += entry.amount
        total.event_count += 1
        total.token_count += fact.tokens
        if fact.usage.cost is None:
            total.cost_unknown_count += 1
        else:
            total.cost += fact.usage.cost
    return results


def _entry(
    fact: Fact, lines: Sequence[Line], currency: str, level: str | None
) -> Entry:
    """Return the ledger entry of a fact that comes to such lines."""
    # All lines' fields in one call: this is done for every event.
    fields = zip(*lines, strict=True) if lines else NO_LINE
    keys, _, quantities, amounts, *_ = fields
    late = fact.billing_period.id != fact.usage_period.id
    return Entry(
        id=ids.new_id(),
        subscription_id=fact.subscription_id,
        snapshot_id=fact.snapshot.id,
        usage_period_id=fact.usage_period.id,
        billing_period_id=fact.billing_period.id,
        kind=LedgerEntry.Kind.ADJUSTMENT if late else LedgerEntry.Kind.USAGE,
        currency=currency,
        amount=sum(amounts, ZERO),
        charge_keys=keys,
        quantities=quantities,
        amounts=amounts,
        steps=[pack_steps(line) for line in lines],
        occurred_at=fact.usage.occurred_at,
        event_id=fact.id,
        event_type=fact.usage.event_type,
        tool_name=fact.tool_name,
        agent_id=fact.agent_id,
        team_id=fact.team_id,
        session_id=fact.session_id,
        spend_level=level,
    )
