"""What customers are subscribed to, read in few statements for a batch of usage."""

from __future__ import annotations

import bisect
import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from aforo.lib import sql
from billing import periods
from billing.models import BillingPeriod, SubscriptionSnapshot
from catalog import effective
from catalog.plans import PricedPlan, load_plans


class Snapshot(NamedTuple):
    """One immutable version of a subscription."""

    id: uuid.UUID
    effective_from: dt.datetime
    # As this contract pays it, own prices included; None: it ended here.
    plan: PricedPlan | None
    level: str = ""  # The spend level that was given by hand.


@dataclass(slots=True)
class Contract:
    """A subscription with its snapshots, oldest first."""

    id: uuid.UUID
    product_id: uuid.UUID
    agent_id: uuid.UUID | None
    snapshots: list[Snapshot]

    def at(self, instant: dt.datetime) -> Snapshot | None:
        """Return the snapshot in force at an instant; None before and after."""
        index = bisect.bisect_right(
            self.snapshots, instant, key=lambda s: s.effective_from
        )
        found = self.snapshots[index - 1] if index else None
        return found if found is not None and found.plan is not None else None


class Period(NamedTuple):
    """A billing period of a customer."""

    id: uuid.UUID
    start_at: dt.datetime
    end_at: dt.datetime
    is_open: bool  # Not finalised: entries may still land here.


@dataclass(slots=True)
class Account:
    """A customer's contracts and periods, as a batch of usage needs them."""

    customer_id: uuid.UUID
    tenant_id: uuid.UUID
    contracts: list[Contract] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)

    def contract(
        self,
        *,
        product_id: uuid.UUID | None,
        agent_id: uuid.UUID | None,
        at: dt.datetime,
    ) -> tuple[Contract, Snapshot] | str:
        """Return the contract that pays for usage, or the reason why none does.

        An agent's own subscription goes before the customer's. The reasons are
        those of metering.Unrateable: no_subscription, ambiguous_product.
        """
        live = []
        for contract in self.contracts:
            if product_id is not None and contract.product_id != product_id:
                continue
            if contract.agent_id is not None and contract.agent_id != agent_id:
                continue
            snapshot = contract.at(at)
            if snapshot is not None:
                live.append((contract, snapshot))
        if len({contract.product_id for contract, _ in live}) > 1:
            return "ambiguous_product"
        own = [found for found in live if found[0].agent_id is not None]
        chosen = own or live
        return chosen[0] if chosen else "no_subscription"

    def plan_of(self, snapshot_id: uuid.UUID) -> PricedPlan | None:
        """Return what a snapshot pays; None when it is not of a contract that goes on.

        Paused contracts are not read, see CONTRACTS.
        """
        for contract in self.contracts:
            for snapshot in contract.snapshots:
                if snapshot.id == snapshot_id:
                    return snapshot.plan
        return None

    def period(self, period_id: uuid.UUID) -> Period:
        """Return one of the periods; raises KeyError when it is not the customer's."""
        for period in self.periods:
            if period.id == period_id:
                return period
        raise KeyError(period_id)

    def period_at(self, instant: dt.datetime) -> Period:
        """Return the period that holds an instant; it is made when it is missing."""
        for period in self.periods:
            if period.start_at <= instant < period.end_at:
                return period
        made = periods.period_at(self.customer_id, instant)
        period = Period(
            made.id,
            made.start_at,
            made.end_at,
            made.state != BillingPeriod.State.FINALISED,
        )
        self.periods.append(period)
        return period

    def billing_period(self, usage: Period, now: dt.datetime) -> Period:
        """Return the period whose invoice carries the usage of another.

        Its own while it is not finalised; then the earliest later one that is not.
        """
        if usage.is_open:
            return usage
        later = [p for p in self.periods if p.is_open and p.start_at >= usage.end_at]
        if later:
            return min(later, key=lambda p: p.start_at)
        return self.period_at(now)


def plans_of(
    snapshots: Iterable[SubscriptionSnapshot],
) -> dict[uuid.UUID, PricedPlan]:
    """Return what snapshots pay, by their ids; one that ends a contract is left out."""
    rows = [row for row in snapshots if row.plan_version_id is not None]
    plans = load_plans({row.plan_version_id for row in rows if row.plan_version_id})
    return {
        row.pk: effective.of_contract(
            plans[row.plan_version_id], row.overrides, row.commitment
        )
        for row in rows
        if row.plan_version_id
    }


# A paused contract pays for nothing: usage is listed and can be replayed afterwards.
CONTRACTS = """
SELECT s.customer_id, s.tenant_id, s.id, s.product_id, s.agent_id,
  n.id, n.effective_from, n.plan_version_id, n.overrides::text, n.commitment::text,
  COALESCE(n.overrides->>'level', '')
FROM billing_subscription s
JOIN billing_subscriptionsnapshot n ON n.subscription_id = s.id
WHERE s.customer_id = ANY(%b) AND s.state <> 'paused'
ORDER BY s.started_at, s.id, n.number
"""
PERIODS = """
SELECT customer_id, id, start_at, end_at, state <> 'finalised'
FROM billing_billingperiod WHERE customer_id = ANY(%b) ORDER BY start_at
"""


def load(customers: Iterable[tuple[uuid.UUID, uuid.UUID]]) -> dict[uuid.UUID, Account]:
    """Return the accounts of (customer id, tenant id) pairs, by customer id.

    Two statements, and one more for plan versions that this process has not seen.
    """
    accounts = {c: Account(c, t) for c, t in customers}
    with sql.cursor() as cursor:
        rows = cursor.execute(CONTRACTS, [list(accounts)]).fetchall()
        spans = cursor.execute(PERIODS, [list(accounts)]).fetchall()
    plans = load_plans({row[7] for row in rows if row[7] is not None})
    contracts: dict[uuid.UUID, Contract] = {}
    for customer, _, sub, product, agent, snapshot, since, version, *own, level in rows:
        contract = contracts.get(sub)
        if contract is None:
            contract = contracts[sub] = Contract(sub, product, agent, [])
            accounts[customer].contracts.append(contract)
        plan = effective.of_texts(plans[version], *own) if version else None
        contract.snapshots.append(Snapshot(snapshot, since, plan, level))
    for customer, period, start_at, end_at, is_open in spans:
        accounts[customer].periods.append(Period(period, start_at, end_at, is_open))
    return accounts
