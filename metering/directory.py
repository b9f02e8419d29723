"""Who is calling and whom they name: read in few statements, known for a second."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from aforo.core.service_calls import FIND_KEY, holder
from aforo.lib import ids
from metering.flight import Flights
from metering.pool import Connection, transaction

# A revocation must take effect within a second, reading it included.
TTL_S = 0.8
ENTRIES_MAX = 50_000


class Product(NamedTuple):
    """A product as far as reporting usage needs it."""

    id: UUID
    code: str
    self_reporting: bool
    implicit_idle_s: int | None  # None: calls without a session stay without one.


class Catalog(NamedTuple):
    """A tenant's products by id and code, and where its metrics count wholes."""

    products: dict[str, Product]
    whole: frozenset[str]  # Measurements that a metric counts in whole numbers.


class Customer(NamedTuple):
    """A payer; usage before `sealed_until` comes after its invoice."""

    id: UUID
    sealed_until: dt.datetime | None
    product_ids: list[UUID]  # What it subscribes to.


class Grant(NamedTuple):
    """A time in which another team or customer may use an agent."""

    team_id: UUID
    customer_id: UUID
    valid_from: dt.datetime
    valid_to: dt.datetime | None


class Agent(NamedTuple):
    """An app or agent, its owner and those who may use it too."""

    id: UUID
    customer_id: UUID
    team_id: UUID
    grants: tuple[Grant, ...]
    # The teams that owned it before, each with the time until which, rising.
    former: tuple[tuple[UUID, dt.datetime], ...] = ()

    def team_at(self, instant: dt.datetime) -> UUID:
        """Return the team that owned it at an instant."""
        held = (team for team, until in self.former if instant < until)
        return next(held, self.team_id)


class Team(NamedTuple):
    """A team and the customer that it belongs to."""

    id: UUID
    customer_id: UUID


class Subscription(NamedTuple):
    """A contract: whose and for what."""

    id: UUID
    customer_id: UUID
    product_id: UUID


class Credential(NamedTuple):
    """A caller's own secret, without the secret."""

    id: UUID
    customer_id: UUID
    agent_id: UUID
    client_id: str | None
    product_ids: list[UUID]
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None

    @property
    def ends_at(self) -> dt.datetime | None:
        """When it ceases, or ceased, to be good."""
        ends = [end for end in (self.expires_at, self.revoked_at) if end is not None]
        return min(ends, default=None)


class Caller(NamedTuple):
    """Who authenticated: a service key with its scopes, or a caller's credential."""

    tenant_id: UUID
    scopes: frozenset[str]
    credential: Credential | None
    ends_at: dt.datetime | None
    key_id: UUID | None = None  # Of the service key.


Known = TypeVar("Known")


class Memory(Generic[Known]):
    """What was read less than a second ago."""

    def __init__(self) -> None:
        self._entries: dict[Any, tuple[float, Known]] = {}

    def get(self, key: Any) -> Known | None:
        """Return what is known under a key, unless it is too old."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None and entry[0] > time.monotonic() else None

    def put(self, key: Any, value: Known) -> None:
        """Remember a value; when there are too many, all are forgotten."""
        if len(self._entries) >= ENTRIES_MAX:
            self._entries.clear()
        self._entries[key] = time.monotonic() + TTL_S, value

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


_callers: Memory[Caller] = Memory()
_catalogs: Memory[Catalog] = Memory()
_named: Memory[Any] = Memory()


def forget() -> None:
    """Forget everything that was read."""
    for memory in (_callers, _catalogs, _named):
        memory.clear()


OWN_CREDENTIAL = """
SELECT tenant_id, id, customer_id, agent_id, client_id, product_ids, expires_at,
  revoked_at
FROM aforo_find_credential(%b)
"""


async def caller(prefix: str, digest: str) -> Caller | None:
    """Return who holds a secret, by its digest; None when nobody does."""
    found = _callers.get(digest)
    return found or await _callers_read.join((prefix, digest), {})


async def _read_caller(key: tuple[str, str], _: dict[str, set[str]]) -> Caller | None:
    prefix, digest = key
    statement = FIND_KEY if prefix == "svc" else OWN_CREDENTIAL
    async with transaction(None) as connection:
        row = await (await connection.execute(statement, [digest])).fetchone()
    if row is None:
        return None
    if prefix == "svc":
        service = holder(row)
        key_id = service.key_id
        found = Caller(service.tenant_id, service.scopes, None, service.ends_at, key_id)
    else:
        own = Credential(*row[1:])
        found = Caller(row[0], frozenset(), own, own.ends_at)
    _callers.put(digest, found)
    return found


_callers_read = Flights(_read_caller)

# Ours and the tenant's own ids apart, so that each is found by its index; the
# second condition is the one of the partial indexes.
_BY_ID = "id = ANY(%(ids)b::uuid[])"
_BY_NAME = "external_id = ANY(%(texts)b::text[]) AND external_id <> ''"
_GRANTS = """(SELECT json_agg(json_build_array(g.team_id, g.customer_id, g.valid_from,
  g.valid_to)) FROM billing_agentgrant g WHERE g.agent_id = x.id)"""
_FORMER = """(SELECT json_agg(json_build_array(f.team_id, f.valid_to)
  ORDER BY f.valid_to) FROM billing_formerfacets f WHERE f.subject_id = x.id)"""
_SEALED = """(SELECT max(p.end_at) FROM billing_billingperiod p
  WHERE p.customer_id = x.id AND p.state = 'finalised')"""
_SUBSCRIBED = """ARRAY(SELECT DISTINCT s.product_id FROM billing_subscription s
  WHERE s.customer_id = x.id AND s.state <> 'cancelled')"""


def _either(columns: str, table: str) -> str:
    """Return the statement that finds rows by our ids and by the tenant's."""
    return (
        f"SELECT external_id, {columns} FROM {table} x WHERE {_BY_ID}"  # noqa: S608
        f" UNION ALL SELECT external_id, {columns} FROM {table} x WHERE {_BY_NAME}"
    )


_CREDENTIAL = """c.id, c.customer_id, c.agent_id, c.client_id, c.product_ids,
  c.expires_at, c.revoked_at FROM billing_credential c"""
# In the order in which they are read: credentials lead to agents, both to customers.
STATEMENTS = {
    "key": f"SELECT c.digest, {_CREDENTIAL} WHERE c.digest = ANY(%(texts)b::text[])",
    # The one that lives longest comes last, so it is the one that is kept.
    "client": f"SELECT c.client_id, {_CREDENTIAL}"
    " WHERE c.client_id = ANY(%(texts)b::text[])"
    " ORDER BY least(c.revoked_at, c.expires_at) NULLS LAST, c.id",
    "agent": _either(
        f"id, customer_id, team_id, {_GRANTS}, {_FORMER}", "billing_agent"
    ),
    "customer": _either(f"id, {_SEALED}, {_SUBSCRIBED}", "billing_customer"),
    "team": _either("id, customer_id", "billing_team"),
    "subscription": "SELECT '', id, customer_id, product_id"
    " FROM billing_subscription WHERE id = ANY(%(ids)b::uuid[])",
}
PREFIXES = {"customer": "cus", "agent": "agt", "team": "tem", "subscription": "sub"}
PRODUCTS = """
SELECT id, code, self_reporting, CASE WHEN implicit_sessions THEN session_idle_s END
FROM catalog_product
"""
WHOLES = "SELECT DISTINCT field FROM catalog_metric WHERE integer_only"


def _grant(team: str, customer: str, start: str, end: str | None) -> Grant:
    """Return a grant from its JSON."""
    parse = dt.datetime.fromisoformat
    return Grant(UUID(team), UUID(customer), parse(start), parse(end) if end else None)


def _record(kind: str, columns: tuple[Any, ...]) -> Any:
    """Return the value that a row of a look-up stands for."""
    if kind == "customer":
        return Customer(*columns)
    if kind == "agent":
        grants = tuple(_grant(*grant) for grant in columns[3] or ())
        former = tuple(
            (UUID(team), dt.datetime.fromisoformat(end))
            for team, end in columns[4] or ()
        )
        return Agent(columns[0], columns[1], columns[2], grants, former)
    if kind == "team":
        return Team(*columns)
    if kind == "subscription":
        return Subscription(*columns)
    return Credential(*columns)


@dataclass(slots=True)
class Book:
    """What one request knows: the catalog, and rows by kind and by name as sent."""

    tenant_id: UUID
    catalog: Catalog
    rows: dict[str, dict[str, Any]]

    def find(self, kind: str, name: str) -> Any | None:
        """Return the row that a name stands for in this tenant, if any."""
        return self.rows[kind].get(name)


async def book(tenant_id: UUID, wanted: dict[str, set[str]]) -> Book:
    """Return all that the names of a request stand for.

    `wanted` holds names by kind. The agents of the credentials found are added, and
    the customers of both, under our own ids.
    """
    known = _catalogs.get(tenant_id)
    if known is not None:
        made = Book(tenant_id, known, {kind: {} for kind in STATEMENTS})
        if not any(_missing(made, kind, wanted) for kind in STATEMENTS):
            return made
    return await _books_read.join(tenant_id, wanted)


async def _read_book(tenant_id: UUID, wanted: dict[str, set[str]]) -> Book:
    known = _catalogs.get(tenant_id)
    async with transaction(tenant_id) as connection:
        catalog = known or await _read_catalog(connection, tenant_id)
        made = Book(tenant_id, catalog, {kind: {} for kind in STATEMENTS})
        for kind in STATEMENTS:
            await _read(connection, made, kind, _missing(made, kind, wanted))
    return made


_books_read = Flights(_read_book)


def _missing(made: Book, kind: str, wanted: dict[str, set[str]]) -> set[str]:
    """Return the names of a kind that must be read, as far as is known by now."""
    names = set(wanted.get(kind, ()))
    rows = made.rows
    credentials = (*rows["key"].values(), *rows["client"].values())
    if kind == "agent":
        names |= {ids.public("agt", c.agent_id) for c in credentials}
    elif kind == "customer":
        owned = (*credentials, *rows["agent"].values())
        names |= {ids.public("cus", row.customer_id) for row in owned}
    return _from_memory(made, kind, names)


def _from_memory(made: Book, kind: str, names: set[str]) -> set[str]:
    """Take over what is still known, and return the names that must be read."""
    missing = set()
    rows = made.rows[kind]
    for name in names:
        if name in rows:
            continue
        known = _named.get((made.tenant_id, kind, name))
        if known is None:
            missing.add(name)
        else:
            rows[name] = known
    return missing


async def _read(connection: Connection, made: Book, kind: str, names: set[str]) -> None:
    """Read the rows of one kind that the names stand for."""
    if not names:
        return
    prefix = PREFIXES.get(kind, "")
    ours = {n: ids.parse_public(prefix, n) for n in names} if prefix else {}
    given = {
        "ids": [value for value in ours.values() if value is not None],
        "texts": [name for name in names if ours.get(name) is None],
    }
    by_id = {value: name for name, value in ours.items() if value is not None}
    cursor = await connection.execute(STATEMENTS[kind], given)
    for text, *columns in await cursor.fetchall():
        record = _record(kind, tuple(columns))
        # Found by our id, or else by the tenant's own.
        name = by_id.get(record.id, text) if prefix else text
        for known_as in {name, text} & names:
            made.rows[kind][known_as] = record
            _named.put((made.tenant_id, kind, known_as), record)


async def _read_catalog(connection: Connection, tenant_id: UUID) -> Catalog:
    """Read a tenant's products and whole-number metrics: a few dozen rows."""
    products: dict[str, Product] = {}
    for row in await (await connection.execute(PRODUCTS)).fetchall():
        product = Product(*row)
        products[product.code] = products[ids.public("prd", product.id)] = product
    rows = await (await connection.execute(WHOLES)).fetchall()
    catalog = Catalog(products, frozenset(field for (field,) in rows))
    _catalogs.put(tenant_id, catalog)
    return catalog
