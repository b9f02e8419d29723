"""A batch of events on its way to the books: read, attribute, find who pays."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import msgspec

from aforo.core.stamps import WORLD
from aforo.lib import sql
from aforo.lib.money import ZERO
from billing.rating import Fact
from catalog.costs import Cost
from catalog.pricing import UsageEvent
from catalog.tools import PROPERTY
from metering import blocks
from metering.blocks import Stored
from metering.claims import Claim
from metering.enrichment import Known, Stamp
from metering.measurements import contradiction, priced, unknown


class Body(msgspec.Struct):
    """The canonical body of a stored event, as far as rating reads it."""

    properties: dict[str, str] = {}
    measurements: dict[str, str] = {}
    cost: dict[str, str] | None = None
    usage: msgspec.Raw = msgspec.Raw(b"")  # The provider's block, not decoded.
    reading: Stored | None = None  # What was made of the block when it came.
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
    credential_id: uuid.UUID | None
    session_id: uuid.UUID | None  # None: its session is not made yet.


# The events with their sessions, as far as those are known, and with the stamps of
# their customers: this looks after the books were locked, so it sees every change
# that was made before.
EVENTS = f"""
WITH owners AS MATERIALIZED (
  SELECT customer_id, tenant_id FROM billing_customerbooks WHERE customer_id = ANY(%b)
), scopes AS MATERIALIZED (
  SELECT scope, aforo_stamp(scope) AS stamp FROM (
    SELECT customer_id AS scope FROM owners
    UNION SELECT tenant_id FROM owners UNION SELECT '{WORLD}'::uuid
  ) AS s
)
SELECT own.stamp, shared.stamp, world.stamp,
  e.id, e.tenant_id, e.customer_id, e.event_id, e.event_type, e.tool_name, e.status,
  e.request_id, e.session_key, e.correlation_id, e.occurred_at, e.received_at,
  e.agent_id, e.team_id, e.product_id, e.body::text,
  e.credential_id, s.id
FROM {{source}}
-- One by one: a join might read the sessions of all time.
LEFT JOIN LATERAL (SELECT id FROM metering_session
  WHERE customer_id = e.customer_id AND key = e.session_key AND e.session_key <> ''
  LIMIT 1) AS s ON true
JOIN scopes own ON own.scope = e.customer_id
JOIN scopes shared ON shared.scope = e.tenant_id
JOIN scopes world ON world.scope = '{WORLD}'
ORDER BY e.id
"""  # noqa: S608 - of our own constant
# The ids come from the claim, so that the plan knows how many they are; what was taken
# off its row since then is left out.
TAKE = EVENTS.format(
    source="""unnest(%b::uuid[], %b::uuid[]) AS t (event_id, queue_id)
JOIN metering_pendingevents p ON p.id = t.queue_id AND t.event_id = ANY(p.event_ids)
JOIN metering_usageevent e ON e.id = t.event_id""",
)
READ = EVENTS.format(
    source="metering_usageevent e JOIN unnest(%b::uuid[]) AS t (id) ON e.id = t.id",
)


class Batch(NamedTuple):
    """Stored events in the order in which they were stored, and what they hang on."""

    rows: list[Row]
    stamps: dict[uuid.UUID, Stamp]  # By customer.


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
    # Replayed, and its usage could not be read when it was counted.
    usage_found: bool = False
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


_decode = msgspec.json.Decoder(Body).decode


def take(claimed: Sequence[Claim], customers: Collection[uuid.UUID]) -> Batch:
    """Return the customers' events of queue rows; their books are locked."""
    pairs = [(event_id, row.id) for row in claimed for event_id in row.event_ids]
    events, rows = [event_id for event_id, _ in pairs], [row_id for _, row_id in pairs]
    return _read(TAKE, customers, events, rows)


def read(event_ids: Sequence[uuid.UUID], customers: Collection[uuid.UUID]) -> Batch:
    """Return events by id; the customers' books are locked."""
    return _read(READ, customers, list(event_ids))


def decode(text: str) -> Body:
    """Return a stored body as rating reads it.

    A block that was not understood when it came is read by the reader of today;
    `reading.refused` says that it still is not.
    """
    body = _decode(text)
    known = body.reading
    if not len(bytes(body.usage)) or (known and not known.refused):
        return body
    if known is None and body.measurements:
        return body  # Of the time when a block was kept and not read.
    found = blocks.again(body.usage, known, body.properties)
    sent = known.sent if known else {}
    body.reading = Stored(found.refused, list(found.reading.doubts), sent)
    if not found.refused:
        body.measurements = found.measurements
        body.properties = blocks.with_context(body.properties, found.reading)
    return body


def _read(
    statement: str, customers: Collection[uuid.UUID], *wanted: list[uuid.UUID]
) -> Batch:
    """Return what a statement finds of the customers whose books are locked."""
    with sql.cursor() as cursor:
        # Binary: times and ids are read three times as fast.
        found = cursor.execute(
            statement, [list(customers), *wanted], binary=True
        ).fetchall()
    rows, stamps = [], {}
    for own, shared, world, *columns in found:
        row = Row(*columns)
        rows.append(row)
        stamps[row.customer_id] = Stamp(own, shared, world)
    return Batch(rows, stamps)


# A block that could not be read says nothing of what the call cost.
NOT_MEASURED = Cost(None, "USD", (), "", "", "the usage block was not understood")


def judge(row: Row, known: Known, session_id: uuid.UUID | None) -> Item:
    """Return the event with its cost, and who pays for it or why nobody does."""
    body = decode(row.body)
    measurements = {name: Decimal(text) for name, text in body.measurements.items()}
    book = known.tenants[row.tenant_id].costs
    tool = _canonical(row, row.product_id, known) if row.tool_name else ""
    unread = body.reading is not None and body.reading.refused
    cost = (
        NOT_MEASURED
        if unread
        else book.cost(
            event_type=row.event_type,
            model=body.properties.get("model", ""),
            # A rate of the name itself comes first: listing a tool moves no cost.
            tool=row.tool_name if book.has_tool(row.tool_name) else tool,
            measurements=measurements,
            at=row.occurred_at,
            properties=body.properties,
        )
    )
    item = Item(row, body, measurements, cost, tool, session_id)
    item.cost_amount = cost.amount
    item.currency = cost.currency
    item.refusal = _refusal(item, known)
    if item.refusal is None:
        _attribute(item, known)
    return item


def _canonical(row: Row, product_id: uuid.UUID | None, known: Known) -> str:
    """Return the name that the event's tool was registered under, or its own."""
    tools = known.tenants[row.tenant_id].registry(product_id)
    return tools.canonical(row.tool_name, row.occurred_at)


def with_tool(properties: dict[str, str], tool: str) -> dict[str, str]:
    """Return the properties with the tool under the name that prices it.

    The ledger entry keeps that name, so rating again needs no registry: whatever is
    listed, renamed or ended later, an entry is explained by what it says itself.
    """
    if not tool or properties.get(PROPERTY) == tool:
        return properties
    return {**properties, PROPERTY: tool}


def _refusal(item: Item, known: Known) -> tuple[str, str] | None:
    """Return why the event cannot be priced whatever the contract says."""
    if item.body.product and item.row.product_id is None:
        return "unknown_product", f"No product is called `{item.body.product}`."
    reading = item.body.reading
    if reading is not None and reading.refused:
        return reading.refused, blocks.said(reading.doubts)
    strangers = unknown(item.measurements, known.tenants[item.row.tenant_id].metrics)
    if strangers:
        return "unknown_metric", strangers
    wrong = contradiction(item.measurements)
    return ("inconsistent_measurements", wrong) if wrong else None


def _attribute(item: Item, known: Known) -> None:
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
        item.cost_amount = known.tenants[row.tenant_id].rates.convert(
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
        tools = known.tenants[row.tenant_id].registry(product_id)
        priced_as = tools.priced_as(priced_as, row.occurred_at, snapshot.plan.tools)
    usage_period = account.period_at(row.occurred_at)
    facets = known.customers[row.customer_id].facets(row.agent_id, row.occurred_at)
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
