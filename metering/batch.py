"""A batch of events on its way to the books: read, attribute, find who pays."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from psycopg import Cursor

from aforo.core import fx
from aforo.lib import sql
from aforo.lib.money import ZERO
from billing import contracts
from billing.contracts import Account
from billing.rating import Fact
from catalog import costs
from catalog.costs import Cost, CostBook
from catalog.pricing import UsageEvent
from catalog.tools import NO_TOOLS, PROPERTY, Listed, Name, Registry, registry
from metering.measurements import contradiction, priced, unknown


class Body(msgspec.Struct):
    """The canonical body of a stored event, as far as rating reads it."""

    properties: dict[str, str] = {}
    measurements: dict[str, str] = {}
    cost: dict[str, str] | None = None
    usage: Any = None
    product: str | None = None  # Named by the reporter, perhaps unknown.


class Row(NamedTuple):
    """A stored event, as rating reads it."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    customer_id: uuid.UUID
    event_id: str
    event_type: str
    tool_name: str
    status: str
    request_id: str
    session_key: str
    correlation_id: str
    occurred_at: dt.datetime
    received_at: dt.datetime
    agent_id: uuid.UUID | None
    team_id: uuid.UUID | None
    product_id: uuid.UUID | None
    body: str


EVENTS = """
SELECT id, tenant_id, customer_id, event_id, event_type, tool_name, status, request_id,
  session_key, correlation_id, occurred_at, received_at, agent_id, team_id, product_id,
  body::text
FROM metering_usageevent WHERE id = ANY(%b) ORDER BY id
"""
AGENTS = """
SELECT a.id, a.agent_type, a.tier, t.tier, c.segment
FROM billing_agent a JOIN billing_team t ON t.id = a.team_id
JOIN billing_customer c ON c.id = a.customer_id WHERE a.id = ANY(%b)
"""
METRICS = """
SELECT tenant_id, field FROM catalog_metric WHERE tenant_id = ANY(%b)
"""
# The tools that the events name, each with every name it has had, oldest first.
TOOLS = """
SELECT t.product_id, t.name, t.deprecated_at, n.name, n.version, n.valid_from,
  n.valid_to
FROM catalog_tool t LEFT JOIN catalog_toolname n ON n.tool_id = t.id
WHERE t.tenant_id = ANY(%(tenants)b) AND (t.name = ANY(%(names)b::text[])
  OR t.id IN (SELECT tool_id FROM catalog_toolname
    WHERE tenant_id = ANY(%(tenants)b) AND name = ANY(%(names)b::text[])))
ORDER BY t.id, n.valid_from NULLS FIRST, n.id
"""


@dataclass(slots=True)
class Item:
    """One event with what was found out about it."""

    row: Row
    body: Body
    measurements: dict[str, Decimal]
    cost: Cost
    tool: str  # The name that the tool was registered under, or else the event's.
    session_id: uuid.UUID | None = None
    # The reason why it has no price, and its detail; or the fact to price.
    refusal: tuple[str, str] | None = None
    fact: Fact | None = None
    # It was listed as unrateable before: costed and counted, but not priced.
    replayed: bool = False
    # Costed before: the cost was not known then and is now …
    cost_found: bool = False
    # … and what to add to sums in the currency of the plan; None: nothing.
    cost_change: Decimal | None = None
    # What to append to the facts, by currency; None: nothing.
    cost_facts: dict[str, Decimal] | None = None
    # Filled by rating.
    amount: Decimal = ZERO
    currency: str = ""
    # The cost in the currency of the plan; None when it is not known.
    cost_amount: Decimal | None = None

    @property
    def reported_cost(self) -> Decimal | None:
        """What the provider itself said the call cost; kept beside ours."""
        reported = (self.body.cost or {}).get("amount")
        return Decimal(reported) if reported is not None else None

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        get = self.measurements.get
        return int(get("input_tokens", ZERO) + get("output_tokens", ZERO))


@dataclass(slots=True)
class Context:
    """What the events of a batch are judged by."""

    accounts: dict[uuid.UUID, Account]
    books: dict[uuid.UUID, CostBook]
    metrics: dict[uuid.UUID, frozenset[str]]
    agents: dict[uuid.UUID, dict[str, str]]
    tools: dict[uuid.UUID, Registry]  # By product.
    rates: fx.Rates
    now: dt.datetime


_decode = msgspec.json.Decoder(Body).decode


def read(event_ids: Sequence[uuid.UUID]) -> list[Row]:
    """Return the events in the order in which they were stored."""
    with sql.cursor() as cursor:
        # Binary: times and ids are read three times as fast.
        rows = cursor.execute(EVENTS, [list(event_ids)], binary=True).fetchall()
    return [Row(*row) for row in rows]


def context(rows: Sequence[Row], now: dt.datetime) -> Context:
    """Load what a batch is judged by, in a fixed number of statements."""
    accounts = contracts.load({(r.customer_id, r.tenant_id) for r in rows})
    tenants = {r.tenant_id for r in rows}
    agent_ids = {r.agent_id for r in rows if r.agent_id is not None}
    fields: dict[uuid.UUID, set[str]] = {t: set() for t in tenants}
    with sql.cursor() as cursor:
        for tenant, name in cursor.execute(METRICS, [list(tenants)]).fetchall():
            fields[tenant].add(name)
        found = cursor.execute(AGENTS, [list(agent_ids)]).fetchall()
        registries = _registries(cursor, rows, tenants)
    return Context(
        accounts=accounts,
        books=costs.load(tenants),
        metrics={t: frozenset(names) for t, names in fields.items()},
        agents={
            key: {
                "agent.type": kind,
                "agent.tier": tier,
                "team.tier": team_tier,
                "customer.segment": segment,
            }
            for key, kind, tier, team_tier, segment in found
        },
        tools=registries,
        rates=fx.Rates(tenants),
        now=now,
    )


def _registries(
    cursor: Cursor[Any], rows: Sequence[Row], tenants: Collection[uuid.UUID]
) -> dict[uuid.UUID, Registry]:
    """Return the tools that the events name, by product; no statement without any.

    Read in the transaction that rates, and not remembered: an alias counts for the
    next batch, and the few rows that a batch names cost less than asking for changes.
    """
    names = {row.tool_name for row in rows} - {""}
    if not names:
        return {}
    asked = {"tenants": list(tenants), "names": list(names)}
    listed: dict[uuid.UUID, dict[str, Listed]] = {}
    for product, tool, deprecated_at, name, *known in cursor.execute(TOOLS, asked):
        of_product = listed.setdefault(product, {})
        before = of_product.get(tool) or Listed(tool, deprecated_at)
        more = () if name is None else (Name(name, *known),)
        of_product[tool] = replace(before, names=(*before.names, *more))
    return {product: registry(found.values()) for product, found in listed.items()}


def judge(row: Row, known: Context, session_id: uuid.UUID | None) -> Item:
    """Return the event with its cost, and who pays for it or why nobody does."""
    body = _decode(row.body)
    measurements = {name: Decimal(text) for name, text in body.measurements.items()}
    book = known.books[row.tenant_id]
    tool = _canonical(row, row.product_id, known) if row.tool_name else ""
    cost = book.cost(
        event_type=row.event_type,
        model=body.properties.get("model", ""),
        # A rate of the name itself comes first: listing a tool moves no cost.
        tool=row.tool_name if book.has_tool(row.tool_name) else tool,
        measurements=measurements,
        at=row.occurred_at,
        properties=body.properties,
    )
    item = Item(row, body, measurements, cost, tool, session_id)
    item.cost_amount = cost.amount
    item.currency = cost.currency
    item.refusal = _refusal(item, known)
    if item.refusal is None:
        _attribute(item, known)
    return item


def _canonical(row: Row, product_id: uuid.UUID | None, known: Context) -> str:
    """Return the name that the event's tool was registered under, or its own."""
    tools = known.tools.get(product_id, NO_TOOLS) if product_id else NO_TOOLS
    return tools.canonical(row.tool_name, row.occurred_at)


def with_tool(properties: dict[str, str], tool: str) -> dict[str, str]:
    """Return the properties with the tool under the name that prices it.

    The ledger entry keeps that name, so rating again needs no registry: whatever is
    listed, renamed or ended later, an entry is explained by what it says itself.
    """
    if not tool or properties.get(PROPERTY) == tool:
        return properties
    return {**properties, PROPERTY: tool}


def _refusal(item: Item, known: Context) -> tuple[str, str] | None:
    """Return why the event cannot be priced whatever the contract says."""
    if item.body.product and item.row.product_id is None:
        return "unknown_product", f"No product is called `{item.body.product}`."
    if item.body.usage is not None and not item.measurements:
        return "usage_not_read", "The usage block has a form that is not known."
    strangers = unknown(item.measurements, known.metrics[item.row.tenant_id])
    if strangers:
        return "unknown_metric", strangers
    wrong = contradiction(item.measurements)
    return ("inconsistent_measurements", wrong) if wrong else None


def _attribute(item: Item, known: Context) -> None:
    """Find the contract, the periods and the cost in the plan's currency."""
    row = item.row
    account = known.accounts[row.customer_id]
    found = account.contract(
        product_id=row.product_id, agent_id=row.agent_id, at=row.occurred_at
    )
    if isinstance(found, str):
        item.refusal = found, ""
        return
    contract, snapshot = found
    assert snapshot.plan is not None, "a snapshot in force has a plan"
    item.currency = snapshot.plan.currency
    if item.cost.amount is not None:
        item.cost_amount = known.rates.convert(
            item.cost.amount,
            tenant_id=row.tenant_id,
            base=item.cost.currency,
            quote=item.currency,
            at=row.occurred_at,
        )
    priced_as = row.tool_name
    if priced_as:
        product_id = contract.product_id
        item.tool = _canonical(row, product_id, known)
        tools = known.tools.get(product_id, NO_TOOLS)
        priced_as = tools.priced_as(priced_as, row.occurred_at, snapshot.plan.tools)
    usage_period = account.period_at(row.occurred_at)
    facets = known.agents.get(row.agent_id) if row.agent_id else None
    properties = with_tool(item.body.properties, priced_as)
    item.fact = Fact(
        id=row.id,
        usage=UsageEvent(
            row.event_id,
            row.occurred_at,
            row.event_type,
            {**properties, **facets} if facets else properties,
            priced(item.measurements),
            item.cost_amount,
            item.session_id.hex if item.session_id else "",
            row.correlation_id,
        ),
        subscription_id=contract.id,
        snapshot=snapshot,
        usage_period=usage_period,
        billing_period=account.billing_period(usage_period, known.now),
        tokens=item.tokens,
        agent_id=row.agent_id,
        team_id=row.team_id,
        session_id=item.session_id,
        tool_name=priced_as,
    )
