"""Connections of the ingest doors: asynchronous, held by row-level security."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection as django_connection
from psycopg_pool import AsyncConnectionPool

# Connections of one process; a batch holds one for about 5 ms.
SIZE_MAX = 8
# How long a request waits for a connection before it is told to come back.
WAIT_S = 2.0
# How long a statement waits for another transaction that has the same event.
LOCK_WAIT_MS = 2000
STATEMENT_MS = 10_000

Connection = psycopg.AsyncConnection[Any]
_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncConnectionPool] = (
    weakref.WeakKeyDictionary()
)


def _options() -> dict[str, Any]:
    """Return how to connect: as Django does, in the web role, with short waits."""
    params = django_connection.get_connection_params()
    wanted = ("dbname", "user", "password", "host", "port", "sslmode", "sslrootcert")
    options = {name: params[name] for name in wanted if params.get(name)}
    options["connect_timeout"] = 2
    options["application_name"] = "aforo-ingest"
    options["options"] = (
        "-c role=aforo_web -c plan_cache_mode=force_custom_plan"
        f" -c lock_timeout={LOCK_WAIT_MS}"
        f" -c statement_timeout={STATEMENT_MS}"
        f" -c idle_in_transaction_session_timeout={STATEMENT_MS}"
    )
    return options


async def _pool() -> AsyncConnectionPool:
    """Return the pool of the running loop, opened when it is first needed."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        pool = AsyncConnectionPool(
            # Transactions are begun and ended here, with the tenant in one step.
            kwargs=_options() | {"autocommit": True},
            min_size=1,
            max_size=SIZE_MAX,
            timeout=WAIT_S,
            # Its pauses between attempts double up to this; at the default of five
            # minutes a server that is back would be ignored as long as it was away.
            reconnect_timeout=WAIT_S,
            open=False,
        )
        _pools[loop] = pool
        await pool.open()
    return pool


async def close() -> None:
    """Close the pool of the running loop."""
    pool = _pools.pop(asyncio.get_running_loop(), None)
    if pool is not None:
        await pool.close()


async def _begin(pool: AsyncConnectionPool, tenant_id: UUID | None) -> Connection:
    """Return a connection in a new transaction of a tenant.

    The server may have been restarted while connections were idle: a dead one is
    dropped and the next is taken, until there is none left to drop.
    """
    # One round trip: statements without parameters may come together.
    statement = f"BEGIN; SELECT set_config('aforo.tenant', '{tenant_id or ''}', true)"
    for spare in reversed(range(SIZE_MAX + 1)):
        connection = await pool.getconn()
        try:
            await connection.execute(statement)
            return connection
        except BaseException as error:
            await pool.putconn(connection)
            if not spare or not isinstance(error, psycopg.OperationalError):
                raise
    raise AssertionError("the last try returns or raises")


async def run_alone(statement: str) -> None:
    """Run one text that begins and ends its own transaction.

    Raises psycopg.OperationalError when there is no server.
    """
    pool = await _pool()
    async with pool.connection() as connection:
        await connection.execute(statement)


@asynccontextmanager
async def transaction(tenant_id: UUID | None) -> AsyncIterator[Connection]:
    """Give one transaction that sees the rows of one tenant; durable when left.

    Raises psycopg.OperationalError (PoolTimeout among them) when there is no server.
    """
    pool = await _pool()
    connection = await _begin(pool, tenant_id)
    try:
        yield connection
        await connection.execute("COMMIT")
    except Exception:
        with contextlib.suppress(psycopg.Error):
            await connection.rollback()
        raise
    finally:
        await pool.putconn(connection)
