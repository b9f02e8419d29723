"""Fixtures of the guard's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from django.conf import settings

from guard.tests.edge import Edge


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
