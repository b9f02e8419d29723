"""What Postgres says of customers, read in few statements, as edge state."""

from __future__ import annotations

import datetime as dt
import functools
import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from psycopg.rows import namedtuple_row

from aforo.lib import clock, ids, money, sql
from billing import periods
from catalog import effective
from catalog.plans import PricedPlan, load_plans
from catalog.pricing import Source, state_from_json
from catalog.pricing.state import Tally, Windows, quantity_of
from guard import (
    agent_facts,
    estimates,
    person_facts,
    recipe_facts,
    rules,
    standing_facts,
    statements,
)
from guard.engine import keys, state

# A secret that ended longer ago is simply unknown.
ENDED_KEPT: Final = dt.timedelta(days=1)
BOUNDS: Final = 3  # This period's end and two more: months without a projection.
DEFAULT_ESTIMATE: Final = "0.01"


Row = Any
Rows = dict[uuid.UUID, list[Row]]


@dataclass(slots=True)
class CustomerFacts:
    """Everything that the edge must know of one customer."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    tenant_tag: str
    tag: str
    version: int
    config_version: int
    # What was last noted to be at the edge; −1: nothing.
    projected_version: int
    projected_config_version: int
    totals: dict[str, bytes]
    settled: list[str]
    usage: list[Row]  # The counters of the period, as they are kept.
    # Both empty when only totals were read.
    config: dict[str, bytes] = field(default_factory=dict)
    identities: dict[str, bytes] = field(default_factory=dict)


def query(statement: str, parameters: Mapping[str, Any]) -> list[Row]:
    """Return rows with their columns as attributes; jsonb comes as text."""
    with sql.cursor() as cursor:
        cursor.row_factory = namedtuple_row
        return cursor.execute(statement, parameters).fetchall()


def _by_customer(statement: str, parameters: Mapping[str, Any]) -> Rows:
    """Return rows grouped by their customer."""
    grouped: Rows = defaultdict(list)
    for row in query(statement, parameters):
        grouped[row.customer_id].append(row)
    return grouped


# A read of many customers asks for the same few zones; each month takes 60 µs.
@functools.lru_cache(maxsize=1024)
def _month_end(timezone: str, now: dt.datetime) -> dt.datetime:
    """Return the end of the calendar month of a zone."""
    return periods.month_bounds(now, ZoneInfo(timezone))[1]


@functools.lru_cache(maxsize=1024)
def _ends(timezone: str, first: dt.datetime) -> tuple[int, ...]:
    """Return an end and those of the periods after it, in milliseconds."""
    found = [first]
    while len(found) < BOUNDS:
        found.append(periods.bounds_after(found[-1], ZoneInfo(timezone)))
    return tuple(agent_facts.milliseconds(end) for end in found)


def _bounds(customer: Row, now: dt.datetime) -> tuple[int, ...]:
    """Return this period's end and the next ones."""
    zone = customer.timezone
    return _ends(zone, customer.end_at or _month_end(zone, now))


def limits_of(
    subscription: Row, plans: Mapping[uuid.UUID, PricedPlan]
) -> dict[str, Any]:
    """Return what limits hold: the plan's, with the customer's own before them."""
    said = json.loads(subscription.overrides)
    plan = plans[subscription.plan_version_id]
    return rules.merged(estimates.limits_of(plan, said), said.get("limits", {}))


def _priced(subscription: Row, plans: Mapping[uuid.UUID, PricedPlan]) -> PricedPlan:
    """Return what the contract pays: in its currency, at its own prices."""
    said = json.loads(subscription.overrides)
    return effective.of_contract(plans[subscription.plan_version_id], said, {})


def units_of(plan: PricedPlan) -> dict[str, str]:
    """Return by which name estimates speak of a metric: its measurement."""
    units = {}
    for charge in plan.plan.charges:
        if charge.metric is not None:
            measured = charge.metric.source is Source.MEASUREMENT
            units[charge.metric.key] = charge.metric.field if measured else "requests"
    return units


def _subscription(
    row: Row, plan: PricedPlan, limits: Mapping[str, Any], wallet: bool
) -> state.Subscription:
    """Return the edge's record of a subscription."""
    units = units_of(plan)
    return state.Subscription(
        id=ids.public("sub", row.id),
        state=row.state,
        starts_at=agent_facts.milliseconds(row.started_at),
        ends_at=agent_facts.milliseconds(row.ends_at) if row.ends_at else None,
        requests_per_minute=limits.get("requests_per_minute"),
        tokens_per_minute=limits.get("tokens_per_minute"),
        spend_cap=agent_facts.micros(limits.get("spend_cap")),
        quotas=tuple(
            state.Quota(
                metric=units.get(quota["metric"], quota["metric"]),
                limit=quota["limit"],
                on_exceed=quota["on_exceed"],
            )
            for quota in limits.get("quotas", ())
        ),
        estimate_prices=recipe_facts.prices_of(limits, plan.plan),
        default_estimate=money.micros_up(
            Decimal(limits.get("default_estimate", DEFAULT_ESTIMATE))
        ),
        wallet=wallet or limits.get("wallet_required", False),
        features=tuple(row.features),
        on_outage=limits.get("on_outage", "open"),
        max_call_s=row.max_call_s,
        throttle_model=limits.get("throttle_model"),
        loop=rules.loop(limits),
        shadow=rules.shadow(limits, units),
    )


def _quantities(
    rows: Sequence[Row], plans: Mapping[uuid.UUID, PricedPlan]
) -> dict[str, int]:
    """Return what a subscription used in the period, per unit, rounded up."""
    used: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        used["tokens"] += row.token_count
        used["requests"] += row.event_count
        plan = plans[row.plan_version_id].plan
        units = units_of(plans[row.plan_version_id])
        counted = state_from_json(msgspec.json.decode(row.state))
        for charge in plan.charges:
            tally = counted.get(charge.key)
            if charge.metric is None or not isinstance(tally, Tally | Windows):
                continue
            unit = units[charge.metric.key]
            if unit in {"tokens", "requests"}:
                continue
            if isinstance(tally, Windows):
                used[unit] += tally.quantity
            else:
                used[unit] += quantity_of(charge.metric.aggregation, tally)
        for unit, quantity in recipe_facts.weighed_quantities(plan, counted).items():
            if unit not in {"tokens", "requests", *units.values()}:
                used[unit] += quantity
    # In one order, whatever the rows' is: the same usage is the same bytes.
    return {unit: -int(-value // 1) for unit, value in sorted(used.items())}


def _totals(
    customer: Row,
    rows: Sequence[Row],
    wallets: Sequence[Row],
    plans: Mapping[uuid.UUID, PricedPlan],
    now: dt.datetime,
    standing: standing_facts.Standing,
    spends: Mapping[uuid.UUID, Mapping[str, int]],
) -> dict[str, bytes]:
    """Return the fields of use: this period's spend and usage, the wallet's rest."""
    by_subscription: dict[uuid.UUID, list[Row]] = defaultdict(list)
    for row in rows:
        by_subscription[row.subscription_id].append(row)
    spend = sum((r.spend for r in rows if r.currency == customer.currency), Decimal(0))
    available = sum(
        (w.available for w in wallets if w.currency == customer.currency), Decimal(0)
    )
    return state.totals_fields(
        customer=state.CustomerTotals(
            spend=money.micros_up(spend),
            ends_at=_bounds(customer, now)[0],
            available=money.micros_down(available),
        ),
        subscriptions={
            ids.public("sub", subscription): state.SubscriptionTotals(
                spend=money.micros_up(sum((r.spend for r in mine), Decimal(0))),
                quantities=_quantities(mine, plans),
            )
            for subscription, mine in by_subscription.items()
        },
        margins=standing.margins.get(customer.id),
        levels=standing.levels.get(customer.id),
        spends=spends.get(customer.id),
    )


def _identities(
    customer: Row, credentials: Sequence[Row], agents: Sequence[Row]
) -> dict[str, bytes]:
    """Return where the customer's ids live, for calls that name them."""
    here = state.pack(state.Identity(tag=customer.tag))
    found = {
        keys.customer_identity_field(name): here
        for name in (ids.public("cus", customer.id), customer.external_id)
        if name
    }
    for agent in agents:
        for name in agent_facts.names(agent):
            if agent.customer_id == customer.id:
                found[keys.agent_identity_field(name)] = here
    for credential in credentials:
        if credential.client_id and credential.revoked_at is None:
            place = state.Identity(tag=customer.tag, digest=credential.digest)
            found[keys.client_identity_field(credential.client_id)] = state.pack(place)
    return found


@dataclass(slots=True)
class _Config:
    """Rows of the configuration, by customer."""

    credentials: Rows
    agents: Rows
    subscriptions: Rows
    decided: Rows


def _read_config(parameters: Mapping[str, Any]) -> _Config:
    """Read credentials, agents (granted ones too), contracts, people's word."""
    credentials = _by_customer(statements.CREDENTIALS, parameters)
    wanted = {row.agent_id for rows in credentials.values() for row in rows}
    found = query(statements.AGENTS, {**parameters, "agents": list(wanted)})
    by_id = {row.id: row for row in found}
    agents: Rows = defaultdict(list)
    for row in found:
        agents[row.customer_id].append(row)
    for customer, rows in credentials.items():
        foreign = {r.agent_id for r in rows} - {a.id for a in agents[customer]}
        agents[customer] += [by_id[agent] for agent in foreign]
    return _Config(
        credentials,
        agents,
        _by_customer(statements.SUBSCRIPTIONS, parameters),
        _by_customer(statements.DECIDED, parameters),
    )


def _config(
    customer: Row,
    rows: _Config,
    wallets: Sequence[Row],
    plans: Mapping[uuid.UUID, PricedPlan],
    now: dt.datetime,
) -> dict[str, bytes]:
    """Return the fields of cfg of one customer."""
    credentials = rows.credentials.get(customer.id, [])
    decided = rows.decided.get(customer.id, [])
    enforced = any(w.enforced and w.currency == customer.currency for w in wallets)
    subscriptions, products = {}, {}
    for row in rows.subscriptions.get(customer.id, []):
        product = ids.public("prd", row.product_id)
        agent = ids.public("agt", row.agent_id) if row.agent_id else ""
        subscriptions[keys.subscription_field(product, agent)] = _subscription(
            row, _priced(row, plans), limits_of(row, plans), enforced
        )
        products[product] = [product, row.code]
    return state.config_fields(
        customer=state.Customer(
            id=ids.public("cus", customer.id),
            tenant_id=ids.public("ten", customer.tenant_id),
            external_id=customer.external_id or None,
            state=customer.state,
            currency=customer.currency,
            spend_cap=agent_facts.micros(customer.spend_cap),
            products=tuple(products),
            bounds=_bounds(customer, now),
            throttled_until=person_facts.throttled_until(decided, None),
        ),
        credentials={row.digest: agent_facts.credential(row) for row in credentials},
        agents=person_facts.slowed(
            [
                (row.id, agent_facts.record(row, customer.id))
                for row in rows.agents.get(customer.id, [])
            ],
            decided,
        ),
        subscriptions=subscriptions,
        products=products,
        exemptions=person_facts.exemptions(decided),
        observe_until=person_facts.observe_until(decided),
    )


def read(
    customer_ids: Iterable[uuid.UUID], *, config: bool = True
) -> list[CustomerFacts]:
    """Return the facts of customers that the transaction may see.

    Twelve statements for any number of customers, eight without configuration, and one
    more for plan versions that this process has not met. The version is read first,
    then what is settled, then totals: so these are never older than what they are
    written as, and no hold is dropped whose usage they lack.
    """
    now = clock.now()
    ended = now - ENDED_KEPT
    parameters: dict[str, Any] = {"ids": list(customer_ids), "now": now, "ended": ended}
    customers = query(statements.CUSTOMERS, parameters)
    settled = _by_customer(statements.SETTLED, parameters)
    spans = [row.period_id for row in customers if row.period_id is not None]
    totals = _by_customer(statements.TOTALS, {"periods": spans})
    spends = agent_facts.spends(spans)
    wallets = _by_customer(statements.WALLETS, parameters)
    standing = standing_facts.read(query, parameters, set(spans))
    rows = _read_config(parameters) if config else _Config({}, {}, {}, {})
    versions = {
        row.plan_version_id
        for group in (*totals.values(), *rows.subscriptions.values())
        for row in group
    }
    plans = load_plans(versions)
    found = []
    for customer in customers:
        own = wallets.get(customer.id, [])
        facts = CustomerFacts(
            id=customer.id,
            tenant_id=customer.tenant_id,
            tenant_tag=customer.tenant_tag,
            tag=customer.tag,
            version=customer.version,
            config_version=customer.config_version,
            projected_version=customer.projected_version,
            projected_config_version=customer.projected_config_version,
            totals=_totals(
                customer, totals.get(customer.id, []), own, plans, now, standing, spends
            ),
            settled=[
                request
                for row in settled.get(customer.id, [])
                for request in json.loads(row.settled)
            ],
            usage=totals.get(customer.id, []),
        )
        if config:
            facts.config = _config(customer, rows, own, plans, now)
            facts.identities = _identities(
                customer,
                rows.credentials.get(customer.id, []),
                rows.agents.get(customer.id, []),
            )
        found.append(facts)
    return found
