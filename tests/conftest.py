"""Fixtures of the tests that cross apps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from django.conf import settings

from guard.tests.conftest import any_door, fresh_process, gateway, shop

# Fixtures of the guard's own tests that tests across apps use too.
__all__ = ["any_door", "fresh_process", "gateway", "shop"]


@pytest.fixture
def store() -> Iterator[redis.Redis]:
    """The guard's Redis, emptied before and after."""
    with redis.Redis.from_url(settings.GUARD_REDIS_URL) as client:
        client.flushdb()
        yield client
        client.flushdb()
