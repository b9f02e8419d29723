"""Where a confirmation or reversal belongs: to the period of the outcome itself.

Groups of events are kept by period and by version of the contract. What is said of an
outcome often comes in the next month; it is usage of the earlier period then, as late
usage is, and an invoice that was issued meanwhile is corrected by the next one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from aforo.lib import sql
from aforo.lib.money import ZERO
from billing.contracts import Account, Period, Snapshot
from billing.rating import Fact
from catalog.pricing import (
    Compound,
    Pieces,
    UsageEvent,
    group_key,
    state_from_json,
)
from catalog.pricing.outcomes import (
    completed_at,
    group_of_event,
    outcome_of,
    says,
    with_event,
)
from metering.batch import Item
from metering.enrichment import Known

# Groups of the same contract that other events of these correlations have made.
GROUPS = """
SELECT t.snapshot_id, t.period_id, g.charge_key, g.group_id, g.state::text
FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::uuid[])
  AS k (customer_id, subscription_id, charge_key, group_id)
JOIN billing_usagetotal t ON t.customer_id = k.customer_id
  AND t.subscription_id = k.subscription_id
JOIN billing_grouptotal g ON g.total_id = t.id AND g.charge_key = k.charge_key
  AND g.group_id = k.group_id
"""


class _Place(NamedTuple):
    """One group of one charge, under one version of a contract in one period."""

    snapshot_id: uuid.UUID
    period_id: uuid.UUID
    charge_key: str
    group: str


class _Said(NamedTuple):
    """An event that confirms or reverses an outcome of a charge."""

    item: Item
    fact: Fact
    charge_key: str
    group: str


def bring_home(items: Sequence[Item], known: Known) -> None:
    """Move confirmations and reversals to the periods of their outcomes.

    Only where the event's own period has no piece of the outcome and an earlier one
    has all of them; the newest such. The books are locked; one statement, and none
    where nothing was confirmed or reversed.
    """
    rules: dict[uuid.UUID, list[tuple[str, Compound]]] = {}
    said: list[_Said] = []
    for item in items:
        fact = item.fact
        if fact is None:
            continue
        key = fact.subscription_id
        if key not in rules:
            rules[key] = _rules(known.accounts[item.row.customer_id], key)
        if rules[key]:
            said += _said(item, fact, rules[key])
    if not said:
        return
    groups = _stored(said)
    _add_waiting(groups, said, items)
    for one in said:
        account = known.accounts[one.item.row.customer_id]
        home = _home(one, groups, account)
        if home is not None:
            snapshot, period = home
            one.item.fact = one.fact._replace(
                snapshot=snapshot,
                usage_period=period,
                billing_period=account.billing_period(period, known.now),
            )


def _rules(account: Account, subscription_id: uuid.UUID) -> list[tuple[str, Compound]]:
    """Return the outcomes with confirmation or reversal of any version of a contract.

    An outcome of an earlier version can be reversed though the one in force has none.
    """
    found = []
    for contract in account.contracts:
        for snapshot in contract.snapshots if contract.id == subscription_id else ():
            for charge in snapshot.plan.plan.charges if snapshot.plan else ():
                model = charge.model
                if isinstance(model, Compound) and model.has_signals:
                    found.append((charge.key, model))
    return found


def _said(
    item: Item, fact: Fact, rules: Sequence[tuple[str, Compound]]
) -> Iterator[_Said]:
    """Yield the outcomes that an event confirms or reverses, each once."""
    found = {
        (charge_key, group_of_event(model, fact.usage))
        for charge_key, model in rules
        if _is_said(model, fact.usage)
    }
    for charge_key, group in sorted(found):
        if group:
            yield _Said(item, fact, charge_key, group)


def _is_said(model: Compound, usage: UsageEvent) -> bool:
    """Tell whether an event confirms or reverses an outcome."""
    return says(model.confirm, usage) or says(model.reverse, usage)


def _stored(said: Sequence[_Said]) -> dict[_Place, Pieces]:
    """Return the groups that were rated before."""
    keys = {
        (
            one.item.row.customer_id,
            one.fact.subscription_id,
            one.charge_key,
            uuid.UUID(hex=one.group),
        )
        for one in said
    }
    columns = [list(column) for column in zip(*sorted(keys), strict=True)]
    found: dict[_Place, Pieces] = {}
    with sql.cursor() as cursor:
        for snapshot, period, charge, group, text in cursor.execute(GROUPS, columns):
            place = _Place(snapshot, period, charge, group.hex)
            key = group_key(charge, group.hex)
            state = state_from_json({key: msgspec.json.decode(text)})[key]
            if isinstance(state, Pieces):
                found[place] = state
    return found


def _add_waiting(
    groups: dict[_Place, Pieces], said: Sequence[_Said], items: Sequence[Item]
) -> None:
    """Add the pieces that come in the same batch."""
    wanted = {(o.fact.subscription_id, o.charge_key, o.group) for o in said}
    contracts = {o.fact.subscription_id for o in said}
    for item in items:
        fact = item.fact
        if fact is None or fact.snapshot.plan is None:
            continue
        if fact.subscription_id not in contracts:
            continue
        for charge in fact.snapshot.plan.plan.charges:
            model = charge.model
            if not isinstance(model, Compound) or not model.has_signals:
                continue
            group = group_of_event(model, fact.usage)
            if (fact.subscription_id, charge.key, group) not in wanted:
                continue
            place = _Place(fact.snapshot.id, fact.usage_period.id, charge.key, group)
            # Costs do not matter here, and may be unknown.
            usage = fact.usage._replace(cost=fact.usage.cost or ZERO)
            new = with_event(model, groups.get(place), usage)
            if new is not None:
                groups[place] = new


def _model(snapshot: Snapshot, charge_key: str) -> Compound | None:
    """Return the outcome that a version of a contract has under a key."""
    return outcome_of(snapshot.plan.plan, charge_key) if snapshot.plan else None


def _home(
    said: _Said, groups: dict[_Place, Pieces], account: Account
) -> tuple[Snapshot, Period] | None:
    """Return the version and period that has the outcome; None: where it is."""
    fact = said.fact
    own = _Place(fact.snapshot.id, fact.usage_period.id, said.charge_key, said.group)
    here = groups.get(own)
    if here is not None and any(here.counts):
        return None
    snapshots = {
        snapshot.id: snapshot
        for contract in account.contracts
        if contract.id == fact.subscription_id
        for snapshot in contract.snapshots
    }
    periods = {period.id: period for period in account.periods}
    found = []
    for place, pieces in groups.items():
        if place[2:] != own[2:] or place == own:
            continue
        snapshot = snapshots.get(place.snapshot_id)
        period = periods.get(place.period_id)
        if snapshot is None or period is None or not _is_before(snapshot, period, fact):
            continue
        model = _model(snapshot, place.charge_key)
        if model is None or not _is_said(model, fact.usage):
            continue
        done = completed_at(model, pieces)
        if done is not None and done <= fact.usage.occurred_at:
            found.append((done, snapshot, period))
    if not found:
        return None
    _, snapshot, period = max(found, key=lambda one: one[0])
    return snapshot, period


def _is_before(snapshot: Snapshot, period: Period, fact: Fact) -> bool:
    """Tell whether a group's place is earlier than an event's, in the same money."""
    assert snapshot.plan is not None
    assert fact.snapshot.plan is not None
    if snapshot.plan.currency != fact.snapshot.plan.currency:
        return False
    there = period.start_at, snapshot.effective_from
    return there < (fact.usage_period.start_at, fact.snapshot.effective_from)
