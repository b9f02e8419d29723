"""Postgres facts → Redis: absolute, versioned, written by nobody else.

A change, a repair and a rebuild are the same call. Every write path here is
idempotent by (customer, version); the only rows it changes are the projected versions
of billing.CustomerBooks, those that nobody holds locked.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis
from django.db import connection, transaction

from aforo.core.tenancy import enter
from aforo.lib import clock, ids, sql
from guard import agent_facts, facts, margin, stores
from guard.engine import keys, scripts, settle, state
from guard.facts import CustomerFacts

logger = logging.getLogger(__name__)
Seen = Callable[[Sequence[CustomerFacts]], None]

CHUNK: Final = 500
ON_ITS_WAY: Final = dt.timedelta(seconds=30)
# Set when everything was projected; a store without it has lost what it knew.
EPOCH_KEY: Final = "aforo:guard:epoch"

TENANTS_OF = "SELECT customer_id, tenant_id FROM aforo_tenants_of(%(ids)s)"
# Rows that a rating transaction holds are left for the next call.
PROJECTED = """
UPDATE billing_customerbooks b
SET projected_version = greatest(b.projected_version, w.version),
  projected_config_version = greatest(b.projected_config_version, w.config_version)
FROM unnest(%(ids)s::uuid[], %(versions)s::bigint[], %(configs)s::bigint[])
  AS w (customer_id, version, config_version)
WHERE b.customer_id = w.customer_id AND b.customer_id IN (
  SELECT customer_id FROM billing_customerbooks WHERE customer_id = ANY(%(ids)s)
  ORDER BY customer_id FOR UPDATE SKIP LOCKED)
"""
BEHIND = """
SELECT customer_id FROM billing_customerbooks
WHERE version > projected_version OR config_version > projected_config_version
UNION
SELECT n.customer_id FROM billing_subscriptionsnapshot n
WHERE n.effective_from BETWEEN %(since)s AND %(now)s
LIMIT %(most)s
"""
ALL = """
SELECT id FROM billing_customer WHERE id > %(after)s ORDER BY id LIMIT %(most)s
"""
PART = """
SELECT id FROM billing_customer WHERE mod(abs(hashtext(id::text)), %(of)s) = %(turn)s
"""
TAGS = "SELECT tag FROM billing_customer WHERE id = ANY(%(ids)s)"
# Shared locks: two that write the same key's state would do it in any order.
SERVICE_KEYS = """
SELECT t.tag, k.id, k.tenant_id, k.digest, k.scopes, k.expires_at, k.revoked_at
FROM core_servicekey k JOIN core_tenant t ON t.id = k.tenant_id
WHERE k.tenant_id = ANY(%(ids)s)
  AND (%(before)s::timestamptz IS NULL OR k.created_at < %(before)s)
ORDER BY k.id FOR SHARE OF k
"""
REVOKED = "SELECT DISTINCT tenant_id FROM core_servicekey WHERE revoked_at > %(since)s"


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of the projection did."""

    customers: int
    settled: int


@contextmanager
def as_tenant(tenant_id: uuid.UUID) -> Iterator[None]:
    """Read inside a transaction that row-level security lets see one tenant.

    Somebody else's open transaction keeps the tenant that it speaks for.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        enter(tenant_id=tenant_id)
        yield


def _rows(statement: str, **parameters: Any) -> list[Any]:
    with sql.cursor() as cursor:
        return cursor.execute(statement, parameters).fetchall()


def _state(customer: CustomerFacts, *, config: bool, repair: bool) -> settle.State:
    """Return what project.lua is told of a customer."""
    return settle.State(
        customer.tag,
        config_version=customer.config_version if config else None,
        config=customer.config,
        version=customer.version,
        totals=customer.totals,
        settled=customer.settled,
        repair=repair,
    )


def write(
    client: redis.Redis,
    customers: Sequence[CustomerFacts],
    *,
    config: bool,
    repair: bool = False,
) -> int:
    """Write facts to the store in one batch; return how many holds were settled."""
    if not customers:
        return 0
    # In a pipeline nobody can give a lost script again.
    client.script_load(scripts.PROJECT.text)
    with client.pipeline(transaction=False) as pipe:
        for customer in customers:
            call = settle.prepare(_state(customer, config=config, repair=repair))
            pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
        for customer in customers:
            if customer.identities:
                place = keys.identities_key(customer.tenant_tag)
                pipe.hset(place, mapping=dict[Any, Any](customer.identities))
        replies = pipe.execute()
    done = replies[: len(customers)]
    return sum(settle.interpret(reply).settled for reply in done)


def _note(customers: Sequence[CustomerFacts], *, config: bool) -> None:
    """Remember what the edge has."""
    ordered = sorted(customers, key=lambda customer: customer.id)
    with sql.cursor() as cursor:
        cursor.execute(
            PROJECTED,
            {
                "ids": [c.id for c in ordered],
                "versions": [c.version for c in ordered],
                "configs": [c.config_version if config else -1 for c in ordered],
            },
        )


def _project_one_tenant(
    tenant_id: uuid.UUID,
    customer_ids: Sequence[uuid.UUID],
    *,
    config: bool,
    repair: bool,
    judge: bool,
    seen: Seen | None,
) -> Report:
    count = settled = 0
    for start in range(0, len(customer_ids), CHUNK):
        chunk = customer_ids[start : start + CHUNK]
        if judge:
            # Kept whatever becomes of the edge: a transaction of its own.
            with as_tenant(tenant_id):
                margin.relevel(chunk)
        with as_tenant(tenant_id):
            found = facts.read(chunk, config=config)
            settled += write(
                stores.for_projection(), found, config=config, repair=repair
            )
            _note(found, config=config)
            if seen is not None:
                seen(found)
        count += len(found)
    return Report(count, settled)


def project_customers(
    customer_ids: Iterable[uuid.UUID],
    *,
    config: bool = True,
    repair: bool = False,
    judge: bool = True,
    seen: Seen | None = None,
) -> Report:
    """Bring the edge up to the record for these customers.

    Without `config` only totals and holds: what a rating transaction changes. Without
    `judge` the levels of their margins stay as they are kept; whoever says so sees to
    it that they were judged since their books changed. `seen` is given what was read,
    inside the transaction that read it. Raises
    redis.RedisError when the store does not answer.
    """
    wanted = sorted(set(customer_ids))
    tenants: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for customer, tenant in _rows(TENANTS_OF, ids=wanted):
        tenants[tenant].append(customer)
    done = [
        _project_one_tenant(
            tenant,
            sorted(mine),
            config=config,
            repair=repair,
            judge=judge,
            seen=seen,
        )
        for tenant, mine in sorted(tenants.items())
    ]
    return Report(sum(d.customers for d in done), sum(d.settled for d in done))


def project(customer_id: uuid.UUID) -> Report:
    """Bring the edge up to the record for one customer."""
    return project_customers([customer_id])


def restrict(customer_id: uuid.UUID) -> None:
    """Let the edge refuse what the running transaction forbids, before its commit.

    The caller has raised config_version and changed its rows; both are seen here
    because it is the same transaction. When it is rolled back, the edge is ahead of
    the record until reconciliation repairs it. Without a store there is no edge to
    tell: degraded doors ask the record.
    """
    found = facts.read([customer_id])
    try:
        write(stores.for_projection(), found, config=True)
    except redis.RedisError:
        logger.exception("a restriction could not be told to the edge")


def behind(now: dt.datetime, *, most: int = 5_000) -> list[uuid.UUID]:
    """Return customers whose edge state is older than the record, or soon was.

    A snapshot that takes effect by itself changes no version, so those of the last
    minute count too.
    """
    since = now - dt.timedelta(seconds=70)
    return [row[0] for row in _rows(BEHIND, now=now, since=since, most=most)]


def all_customers() -> Iterator[list[uuid.UUID]]:
    """Yield every customer that this connection may see, in chunks."""
    after = uuid.UUID(int=0)
    while True:
        chunk = [row[0] for row in _rows(ALL, after=after, most=CHUNK)]
        if not chunk:
            return
        yield chunk
        after = chunk[-1]


def tags(customer_ids: Sequence[uuid.UUID]) -> list[str]:
    """Return the tags of customers."""
    return [row[0] for row in _rows(TAGS, ids=list(customer_ids))]


def part_of_all(turn: int, *, of: int) -> list[uuid.UUID]:
    """Return one of so many parts of all customers that this connection may see."""
    return [row[0] for row in _rows(PART, of=of, turn=turn)]


def _service_keys(
    tenant_ids: Iterable[uuid.UUID], before: dt.datetime | None = None
) -> dict[str, dict[str, bytes]]:
    """Return service keys of tenants by tag and digest, and keep them as they are.

    Until the transaction ends nobody revokes one: what is written of them is true.
    """
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for tag, key, tenant, digest, scopes, expires, revoked in _rows(
        SERVICE_KEYS, ids=list(tenant_ids), before=before
    ):
        found[tag][digest] = state.pack(
            state.ServiceKey(
                id=ids.public("svk", key),
                tenant_id=ids.public("ten", tenant),
                scopes=tuple(scopes),
                revoked=revoked is not None,
                expires_at=agent_facts.milliseconds(expires) if expires else None,
            )
        )
    return found


def project_service_keys(tenant_ids: Iterable[uuid.UUID]) -> None:
    """Write the service keys of tenants that the transaction may see."""
    client = stores.for_projection()
    with transaction.atomic():
        for tag, fields in _service_keys(tenant_ids).items():
            client.hset(keys.service_keys_key(tag), mapping=dict[Any, Any](fields))


def project_revoked_service_keys(since: dt.datetime) -> None:
    """Write again which service keys were revoked since then."""
    revoked = [row[0] for row in _rows(REVOKED, since=since)]
    if revoked:
        project_service_keys(revoked)


def repair_service_keys(client: redis.Redis, tenant_ids: Iterable[uuid.UUID]) -> int:
    """Write the service keys that the edge has otherwise; return how many.

    One that was issued a moment ago is still on its way there.
    """
    count, settled = 0, clock.now() - ON_ITS_WAY
    with transaction.atomic():
        for tag, fields in _service_keys(tenant_ids, settled).items():
            place = keys.service_keys_key(tag)
            told = client.hmget(place, list(fields))
            wrong = {
                digest: value
                for (digest, value), known in zip(fields.items(), told, strict=True)
                if value != known
            }
            if wrong:
                client.hset(place, mapping=dict[Any, Any](wrong))
                count += len(wrong)
    return count


def rebuild_all() -> Report:
    """Project everything: after a flush, or onto a new store (worker or owner only)."""
    count = settled = 0
    tenants = [row[0] for row in _rows("SELECT id FROM core_tenant")]
    project_service_keys(tenants)
    late = behind(clock.now())
    for chunk in all_customers():
        # Most were judged when their books changed: the edge alone has lost it.
        done = project_customers(chunk, judge=False)
        count, settled = count + done.customers, settled + done.settled
    project_customers(late)
    stores.for_projection().set(EPOCH_KEY, clock.now().isoformat())
    return Report(count, settled)


def is_flushed() -> bool:
    """Return whether the store lost what it knew."""
    return not stores.for_projection().exists(EPOCH_KEY)
