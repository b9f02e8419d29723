"""What doors ask of Postgres when the edge cannot say: cold customers and outages.

Blocking functions, each one short transaction as the web role. A database error is a
RecordFault.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, ParamSpec, TypeVar

import psycopg
import psycopg_pool
import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.transaction import TransactionManagementError

from aforo.core.tenancy import as_web
from aforo.lib import clock, ids, sql
from guard import agent_facts, facts, projection, stores
from guard.engine import state
from guard.operations import RecordFault, Snapshot, StoreFault, Warm

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

WARM_S: Final = 2.0
CHANGES_WITHIN: Final = dt.timedelta(minutes=15)

_FAULTS: Final = (
    DatabaseError,
    InterfaceError,
    TransactionManagementError,
    psycopg.Error,
    psycopg_pool.PoolTimeout,
)

CREDENTIAL = "SELECT tenant_id, customer_id FROM aforo_find_credential(%(digest)s)"
CUSTOMER = "SELECT id FROM billing_customer WHERE tag = %(tag)s"
SERVICE_KEY = """
SELECT id, tenant_id, scopes, expires_at, revoked_at
FROM aforo_find_service_key(%(digest)s)
"""
CHANGES = "SELECT customer_id, config_version FROM aforo_config_changes(%(since)s)"
IDENTITIES: Final = {
    "cus": """
SELECT tag, '' FROM billing_customer WHERE id = %(id)s OR external_id = %(text)s
LIMIT 1
""",
    "agt": """
SELECT c.tag, '' FROM billing_agent a JOIN billing_customer c ON c.id = a.customer_id
WHERE a.id = %(id)s OR a.external_id = %(text)s LIMIT 1
""",
    "cid": """
SELECT c.tag, d.digest FROM billing_credential d
JOIN billing_customer c ON c.id = d.customer_id
WHERE d.client_id = %(text)s AND d.revoked_at IS NULL
ORDER BY d.created_at DESC LIMIT 1
""",
}


def _faults(call: Callable[P, T]) -> Callable[P, T]:
    """Turn a database error into a RecordFault."""

    @functools.wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except _FAULTS as error:
            logger.warning("the record did not answer: %s", error)
            raise RecordFault(str(error)) from error

    return guarded


@contextmanager
def _within(seconds: float, tenant_id: uuid.UUID | None) -> Iterator[None]:
    """Run the block as the web role, each statement within a time."""
    with as_web(tenant_id=tenant_id):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, true)",
                [str(int(seconds * 1000))],
            )
        yield


def _one(statement: str, **parameters: Any) -> Any:
    with sql.cursor() as cursor:
        return cursor.execute(statement, parameters).fetchone()


def _tenant(text: str) -> uuid.UUID | None:
    return ids.parse_public("ten", text) if text else None


def _find(warm: Warm, seconds: float) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Return (tenant, customer) of a caller's own key, or of a tenant's customer."""
    tenant = _tenant(warm.tenant_id)
    if tenant is None:
        with _within(seconds, None):
            found = _one(CREDENTIAL, digest=warm.digest)
        return (found[0], found[1]) if found else None
    with _within(seconds, tenant):
        row = _one(CUSTOMER, tag=warm.tag)
    return (tenant, row[0]) if row else None


@_faults
def warm(operation: Warm) -> bool:
    """Project one customer; return whether there is one.

    Raises StoreFault when the store does not take it.
    """
    found = _find(operation, WARM_S)
    if found is None:
        return False
    try:
        return projection.project(found[1]).customers == 1
    except redis.RedisError as error:
        raise StoreFault(stores.fault_kind(error) or "error") from error


@_faults
def snapshot(operation: Warm) -> Snapshot | None:
    """Return what a projection would write, read with a door's patience."""
    found = _find(operation, settings.GUARD_LOOKUP_S)
    if found is None:
        return None
    tenant, customer = found
    with _within(settings.GUARD_LOOKUP_S, tenant):
        for read in facts.read([customer]):
            return Snapshot(read.config, read.totals, read.config_version)
    return None


@_faults
def service_key(digest: str) -> state.ServiceKey | None:
    """Return a service key by its digest."""
    with _within(settings.GUARD_LOOKUP_S, None):
        row = _one(SERVICE_KEY, digest=digest)
    if row is None:
        return None
    key, tenant, scopes, expires, revoked = row
    return state.ServiceKey(
        id=ids.public("svk", key),
        tenant_id=ids.public("ten", tenant),
        scopes=tuple(scopes),
        revoked=revoked is not None,
        expires_at=agent_facts.milliseconds(expires) if expires else None,
    )


@_faults
def identity(tenant_id: str, field: str) -> state.Identity | None:
    """Return where an id of a tenant lives; field is one of guard.engine.keys."""
    kind, _, text = field.partition(":")
    prefix = kind if kind != "cid" else "agt"
    with _within(settings.GUARD_LOOKUP_S, _tenant(tenant_id)):
        row = _one(IDENTITIES[kind], id=ids.parse_public(prefix, text), text=text)
    return state.Identity(tag=row[0], digest=row[1]) if row else None


@_faults
def changes() -> dict[str, int]:
    """Return the config versions of customers that changed lately, by cus_… id."""
    with _within(settings.GUARD_LOOKUP_S, None), sql.cursor() as cursor:
        since = clock.now() - CHANGES_WITHIN
        rows = cursor.execute(CHANGES, {"since": since}).fetchall()
    return {ids.public("cus", customer): version for customer, version in rows}


@_faults
def catch_up(since: dt.datetime) -> None:
    """Project what changed while the store was away; raises redis.RedisError."""
    with transaction.atomic(), sql.cursor() as cursor:
        rows = cursor.execute(CHANGES, {"since": since}).fetchall()
    projection.project_customers(customer for customer, _ in rows)


@_faults
def catch_up_service_keys(tenant_ids: Iterable[str]) -> None:
    """Project the service keys of tenants, by ten_… id; raises redis.RedisError.

    A key that was revoked while the store was away is still good there.
    """
    for tenant_id in sorted(filter(None, map(_tenant, tenant_ids))):
        with as_web(tenant_id=tenant_id):
            projection.project_service_keys([tenant_id])
