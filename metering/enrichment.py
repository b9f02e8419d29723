"""What rating must know of customers and tenants, remembered between batches.

One entry of a customer holds all that leads from a credential's agent to a price:
contracts with their versions and plans, segment, agents and teams as of any time,
periods, wallets. One entry of a tenant holds its metrics, tools, rates of exchange and
costs. An entry is used only while its stamp (aforo.core.stamps) is the one read after
the books were locked, so a change counts for the next batch, in every process at once.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, cast

import redis

from aforo.core import fx
from aforo.core.stamps import Memory, remembered
from aforo.lib import clock, sql
from billing import contracts, hierarchy
from billing.contracts import Account
from billing.hierarchy import Course
from catalog import costs
from catalog.costs import CostBook
from catalog.tools import NO_TOOLS, Listed, Name, Registry, registry

log = logging.getLogger(__name__)

CUSTOMERS_MAX = 10_000
TENANTS_MAX = 200


class Stamp(NamedTuple):
    """How the scopes of one customer stood, read under its lock."""

    customer: str
    tenant: str
    world: str


class Named(Protocol):
    """An event as far as it names whom it belongs to."""

    @property
    def customer_id(self) -> uuid.UUID:
        """The customer that pays."""

    @property
    def tenant_id(self) -> uuid.UUID:
        """The tenant."""

    @property
    def agent_id(self) -> uuid.UUID | None:
        """The agent, if any."""


@dataclass(slots=True)
class CustomerEntry:
    """One customer, as it was when its stamp was read."""

    account: Account
    segment: Course  # Over time.
    wallets: tuple[str, ...]  # The currencies that it has a wallet in.
    agents: dict[uuid.UUID, Course] = field(default_factory=dict)  # Their AgentFacts.

    def fresh_account(self) -> Account:
        """Return the account for one batch, which may find periods of its own."""
        return replace(self.account, periods=list(self.account.periods))

    def facets(self, agent_id: uuid.UUID | None, at: dt.datetime) -> dict[str, str]:
        """Return what charges may ask about an agent of the customer, as of a time."""
        facts = self.agents.get(agent_id) if agent_id else None
        if facts is None:
            return {}
        return hierarchy.facets(facts.at(at), self.segment.at(at))


@dataclass(slots=True)
class TenantEntry:
    """One tenant's catalog, as far as rating asks for it."""

    metrics: frozenset[str]
    tools: dict[uuid.UUID, Registry]  # By product.
    rates: fx.Rates
    costs: CostBook

    def registry(self, product_id: uuid.UUID | None) -> Registry:
        """Return the tools of a product."""
        return self.tools.get(product_id, NO_TOOLS) if product_id else NO_TOOLS


FIGURES = "aforo:enrichment:"
FIGURES_KEPT_S = 3 * 86_400
_noted = [0, 0]
_customers: Memory[CustomerEntry] = Memory(CUSTOMERS_MAX)
_tenants: Memory[TenantEntry] = Memory(TENANTS_MAX)


def forget() -> None:
    """Forget what this process remembers; for tests that count statements."""
    _customers.clear()
    _tenants.clear()


def counts() -> tuple[int, int]:
    """Return how many look-ups of customers this process answered, and how many not."""
    return _customers.hits, _customers.misses


def note(store: redis.Redis) -> None:
    """Add what was looked up since the last note to the day's figures of all workers.

    They are for people: a store that does not answer loses some.
    """
    hits, misses = counts()
    fresh = hits - _noted[0], misses - _noted[1]
    if not any(fresh):
        return
    _noted[:] = hits, misses
    key = f"{FIGURES}{clock.now():%Y-%m-%d}"
    try:
        pipe = store.pipeline(transaction=False)
        pipe.hincrby(key, "hits", fresh[0])
        pipe.hincrby(key, "misses", fresh[1])
        pipe.expire(key, FIGURES_KEPT_S)
        pipe.execute()
    except redis.RedisError:
        log.warning("the look-ups of a batch are not counted", exc_info=True)


def figures(store: redis.Redis, day: dt.date) -> tuple[int, int]:
    """Return the look-ups of a day that were answered from memory, and that were not.

    Raises redis.RedisError when the store does not answer.
    """
    found = cast(list[bytes | None], store.hmget(f"{FIGURES}{day}", "hits", "misses"))
    return int(found[0] or 0), int(found[1] or 0)


@dataclass(slots=True)
class Known:
    """What the events of one batch are judged by."""

    customers: dict[uuid.UUID, CustomerEntry]
    tenants: dict[uuid.UUID, TenantEntry]
    accounts: dict[uuid.UUID, Account]
    now: dt.datetime


def of(
    rows: Collection[Named], found: Mapping[uuid.UUID, Stamp], now: dt.datetime
) -> Known:
    """Return what is known of the events' customers and tenants.

    `found` are the stamps of the customers, read after their books were locked. No
    statement while all of it is remembered.
    """
    tenants = {row.customer_id: row.tenant_id for row in rows}
    customers = remembered(
        _customers,
        {c: found[c].customer for c in tenants},
        lambda missing: _load_customers({c: tenants[c] for c in missing}),
    )
    owners = {
        tenants[c]: (stamp.tenant, stamp.world)
        for c, stamp in found.items()
        if c in tenants
    }
    of_tenants = remembered(_tenants, owners, _load_tenants)
    _add_agents(rows, customers)
    accounts = {key: entry.fresh_account() for key, entry in customers.items()}
    return Known(customers, of_tenants, accounts, now)


CUSTOMERS = """
SELECT c.id, ARRAY(SELECT w.currency::text FROM billing_wallet w
  WHERE w.customer_id = c.id ORDER BY w.id)
FROM billing_customer c WHERE c.id = ANY(%b)
"""


def _load_customers(
    wanted: Mapping[uuid.UUID, uuid.UUID],
) -> dict[uuid.UUID, CustomerEntry]:
    """Read customers, by id with their tenants."""
    accounts = contracts.load(wanted.items())
    with sql.cursor() as cursor:
        rows = cursor.execute(CUSTOMERS, [list(wanted)]).fetchall()
    segments = hierarchy.segments(wanted)
    return {
        key: CustomerEntry(accounts[key], segments[key], tuple(wallets))
        for key, wallets in rows
    }


def _add_agents(
    rows: Iterable[Named], customers: Mapping[uuid.UUID, CustomerEntry]
) -> None:
    """Put the agents of the events into their customers' entries."""
    missing: dict[uuid.UUID, set[uuid.UUID]] = {}
    for row in rows:
        agent_id = row.agent_id
        if agent_id and agent_id not in customers[row.customer_id].agents:
            missing.setdefault(agent_id, set()).add(row.customer_id)
    if not missing:
        return
    for agent_id, facts in hierarchy.agents(missing).items():
        for customer_id in missing[agent_id]:
            customers[customer_id].agents[agent_id] = facts


METRICS = "SELECT tenant_id, field FROM catalog_metric WHERE tenant_id = ANY(%b)"
# Each tool with every name it has had, oldest first.
TOOLS = """
SELECT t.tenant_id, t.product_id, t.name, t.deprecated_at, n.name, n.version,
  n.valid_from, n.valid_to
FROM catalog_tool t LEFT JOIN catalog_toolname n ON n.tool_id = t.id
WHERE t.tenant_id = ANY(%b) ORDER BY t.id, n.valid_from NULLS FIRST, n.id
"""


def _load_tenants(wanted: list[uuid.UUID]) -> dict[uuid.UUID, TenantEntry]:
    """Read tenants' catalogs."""
    fields: dict[uuid.UUID, set[str]] = {tenant: set() for tenant in wanted}
    products: dict[uuid.UUID, dict[uuid.UUID, dict[str, Listed]]] = {
        tenant: {} for tenant in wanted
    }
    with sql.cursor() as cursor:
        for tenant, name in cursor.execute(METRICS, [wanted]).fetchall():
            fields[tenant].add(name)
        for tenant, product, tool, ended_at, name, *known in cursor.execute(
            TOOLS, [wanted]
        ).fetchall():
            of_product = products[tenant].setdefault(product, {})
            before = of_product.get(tool) or Listed(tool, ended_at)
            more = () if name is None else (Name(name, *known),)
            of_product[tool] = replace(before, names=(*before.names, *more))
    books = costs.load(wanted)
    return {
        tenant: TenantEntry(
            frozenset(fields[tenant]),
            {key: registry(own.values()) for key, own in products[tenant].items()},
            fx.Rates([tenant]),
            books[tenant],
        )
        for tenant in wanted
    }
