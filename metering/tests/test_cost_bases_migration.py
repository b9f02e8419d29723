"""Costs that were stored before say the same after the tables changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from aforo.lib.invariants import rows
from metering import cost_bases, invariants, pipeline
from metering.models import CostFact
from tests.factories import add_cost, make_shop, store_event

LINES = """
SELECT event_id, lines::text FROM metering_costfact WHERE lines <> '[]' ORDER BY id
"""


def migrate(targets: list[tuple[str, str]]) -> None:
    """Bring the database to a state."""
    MigrationExecutor(connection).migrate(targets)


def before() -> list[tuple[str, str]]:
    """Return the state of the app that the migration begins with."""
    known = MigrationExecutor(connection).loader.disk_migrations
    (made,) = (m for m in known.values() if m.name.endswith("_cost_bases"))
    return [key for key in made.dependencies if key[0] == made.app_label]


@pytest.fixture
def latest(transactional_db: None) -> Iterator[list[tuple[str, str]]]:
    """The newest state of all apps, which the test leaves behind."""
    targets = MigrationExecutor(connection).loader.graph.leaf_nodes()
    yield targets
    migrate(targets)


def said(fact: CostFact) -> list[list[str]]:
    """Return a cost's lines as they were stored before."""
    texts = iter(fact.figures.split())
    assert fact.basis is not None
    return [
        [unit, next(texts), price, next(texts), rate]
        for unit, price, rate in fact.basis.parts
    ]


@pytest.mark.timeout(300)
def test_there_and_back(latest: list[tuple[str, str]]) -> None:
    shop = make_shop()
    for unit, amount in (("input_uncached_tokens", "2"), ("output_tokens", "3.5")):
        add_cost(shop.tenant, model="gpt-4o", unit=unit, amount=amount)
    for measured in ({"input_tokens": 7, "output_tokens": 4}, {"output_tokens": 9}, {}):
        store_event(shop, {"calls": 1} | measured, properties={"model": "gpt-4o"})
    store_event(shop, {"input_tokens": 8, "output_tokens": 1}, properties={})
    pipeline.rate()
    first: dict[uuid.UUID, Any] = {
        fact.event_id: said(fact) for fact in CostFact.objects.exclude(basis=None)
    }
    bases = set(rows("SELECT id, parts::text FROM metering_costbasis"))
    assert len(first) == len(bases) == 2

    migrate(before())
    assert {key: json.loads(text) for key, text in rows(LINES)} == first
    migrate(latest)

    cost_bases.forget()
    again = CostFact.objects.exclude(basis=None)
    assert {fact.event_id: said(fact) for fact in again} == first
    assert set(rows("SELECT id, parts::text FROM metering_costbasis")) == bases
    assert list(invariants.costs_can_be_read()) == []
    store_event(shop, {"output_tokens": 9}, properties={"model": "gpt-4o"})
    pipeline.rate()
    assert set(rows("SELECT id, parts::text FROM metering_costbasis")) == bases
