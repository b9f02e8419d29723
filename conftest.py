"""Fixtures that every app's tests may use; tests/plugin.py starts the services."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import pytest
import redis
from django.conf import settings
from django.db import transaction
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.backends.postgresql.operations import DatabaseOperations
from hypothesis import settings as laws

from billing import ledger_bases
from metering import cost_bases
from tests import harness

# Laws are tried on so many random examples; `make test-full` chooses the longer one.
laws.register_profile("quick", max_examples=200, deadline=None)
laws.register_profile("full", max_examples=10_000, deadline=None)
laws.load_profile("quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give laws the time that ten thousand examples take."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.timeout(1800))


def _flush_append_only(self: BaseDatabaseOperations, sql_list: Iterable[str]) -> None:
    """Empty the tables after a test that committed, the append-only ones too.

    Their triggers refuse TRUNCATE, as they should; `replica` passes triggers by.
    """
    atomic = transaction.atomic(using=self.connection.alias)
    with atomic, self.connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in sql_list:
            cursor.execute(statement)
        # No model of Django: the stamps of what is gone go with it.
        cursor.execute("DELETE FROM core_changestamp")
    # Nor does anybody go on to believe that these are there.
    cost_bases.forget()
    ledger_bases.forget()


DatabaseOperations.execute_sql_flush = _flush_append_only  # type: ignore[method-assign]


@pytest.fixture
def guard_redis() -> Iterator[redis.Redis]:
    """A client of the guard's Redis database, emptied before and after."""
    with redis.Redis.from_url(
        settings.GUARD_REDIS_URL, decode_responses=True
    ) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture(scope="session")
def superuser_url() -> str:
    """URL of the test cluster's superuser: for what the product itself may never do."""
    return os.environ["AFORO_TEST_SUPERUSER_URL"]


@pytest.fixture
def instance() -> Iterator[harness.Instance]:
    """A whole private Aforo (Postgres, Redis, web, worker, beat) without demo data."""
    with harness.short_folder() as folder:
        running = harness.Instance(folder)
        running.start()
        try:
            yield running
        finally:
            running.stop()
