"""Fixtures of the guard's tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings

from aforo.lib import crypto
from guard import door, drivers, projection, stores
from guard.tests import cluster
from guard.tests.doors import Asker, BareDoor, DjangoDoor, Door
from guard.tests.edge import Edge
from tests.factories import Shop, make_shop


@pytest.fixture
def store() -> Iterator[redis.Redis]:
    """The guard's Redis, emptied before and after."""
    with redis.Redis.from_url(settings.GUARD_REDIS_URL) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
def edge(store: redis.Redis) -> Edge:
    """Bob's customer on the edge, nothing projected yet."""
    return Edge(store)


@pytest.fixture(scope="session")
def cluster_store() -> Iterator[redis.Redis]:
    """A Redis Cluster of one node."""
    with cluster.one_node() as client:
        yield client


@pytest.fixture(params=["single", "cluster"])
def any_edge(request: pytest.FixtureRequest) -> Edge:
    """The same on a single server and on a cluster."""
    if request.param == "single":
        return Edge(request.getfixturevalue("store"))
    client: redis.Redis = request.getfixturevalue("cluster_store")
    client.flushdb()
    return Edge(client)


@pytest.fixture
def fresh_process(tmp_path: Path, settings: Any) -> Iterator[None]:
    """Doors as after their start: nothing remembered, an empty spool."""
    settings.GUARD_JOURNAL_DIR = tmp_path / "journal"
    # A busy machine must not turn a test of answers into one of outages.
    settings.GUARD_TIMEOUT_S = 5
    settings.GUARD_LOOKUP_S = 5
    caches = (
        door.memory,
        door.journal,
        door.recovery,
        door.blocking,
        stores.for_checks,
    )
    for cache in caches:
        cache.cache_clear()
    yield
    # A probe of the store that is under way would ask a database that the next test
    # may not have yet.
    for thread in threading.enumerate():
        if thread.name == "recovery":
            thread.join(2 * drivers.PROBE_S)
    for cache in caches:
        cache.cache_clear()


@pytest.fixture(params=[BareDoor, DjangoDoor], ids=["bare", "django"])
def any_door(request: pytest.FixtureRequest, fresh_process: None) -> Iterator[Door]:
    """Each door in turn."""
    opened = request.param()
    yield opened
    opened.close()


LIMITS = {
    "requests_per_minute": 1000,
    "spend_cap": "25.00",
    "estimate": {"input_tokens": "0.000003", "output_tokens": "0.000015"},
    "default_estimate": "0.01",
}


def tell_edge(*shops: Shop) -> None:
    """Project what a test's open transaction keeps from its commit hooks."""
    for shop in shops:
        projection.project(shop.customer.pk)
        projection.project_service_keys([shop.tenant.pk])


@pytest.fixture
def shop(db: None, store: redis.Redis) -> Shop:
    """A tenant with one customer and one agent, known to the edge."""
    made = make_shop(limits=LIMITS)
    tell_edge(made)
    return made


@pytest.fixture
def stored_shop(transactional_db: None, store: redis.Redis) -> Shop:
    """The same, committed: for doors that read Postgres over another connection."""
    return make_shop(limits=LIMITS)


@pytest.fixture
def edge_key(edge: Edge) -> str:
    """Bob's key; his customer is on the edge by hand, with no limits."""
    key = crypto.mint_key("sk", "live", edge.tag)
    edge.digest = crypto.hash_key(key)
    edge.project()
    return key


@pytest.fixture
def bob(any_door: Door, edge_key: str) -> Asker:
    """Bob's agent. Without a database: a test that needs one fails."""
    return Asker(any_door, f"Bearer {edge_key}")


@pytest.fixture
def caller(any_door: Door, shop: Shop) -> Asker:
    """The agent with its own secret."""
    return Asker(any_door, f"Bearer {shop.secret}")


@pytest.fixture
def gateway(any_door: Door, shop: Shop) -> Asker:
    """The tenant's gateway with its service key."""
    return Asker(any_door, f"Bearer {shop.service_secret}")
