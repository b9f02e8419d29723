"""Entries that were written before say the same after the ledger changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from aforo.lib.invariants import rows
from billing import invariants, ledger_bases
from billing.models import LedgerEntry
from metering import pipeline
from tests.factories import make_shop, store_event

BEFORE = """
SELECT id, charge_keys, quantities, amounts, steps FROM billing_ledgerentry ORDER BY id
"""


def migrate(targets: list[tuple[str, str]]) -> None:
    """Bring the database to a state."""
    MigrationExecutor(connection).migrate(targets)


def before() -> list[tuple[str, str]]:
    """Return the state of the app that the migration begins with."""
    known = MigrationExecutor(connection).loader.disk_migrations
    (made,) = (m for m in known.values() if m.name.endswith("_ledger_bases"))
    return [key for key in made.dependencies if key[0] == made.app_label]


@pytest.fixture
def latest(transactional_db: None) -> Iterator[list[tuple[str, str]]]:
    """The newest state of all apps, which the test leaves behind."""
    targets = MigrationExecutor(connection).loader.graph.leaf_nodes()
    yield targets
    migrate(targets)


def said() -> list[tuple[Any, ...]]:
    """Return what the entries say."""
    return [
        (e.id, e.charge_keys, e.quantities, e.amounts, e.steps)
        for e in LedgerEntry.objects.order_by("id")
    ]


def stored_bases() -> set[tuple[Any, ...]]:
    """Return the bases as texts."""
    return set(
        rows("SELECT id, charge_keys::text, steps::text FROM billing_ledgerbasis")
    )


@pytest.mark.timeout(300)
def test_there_and_back(latest: list[tuple[str, str]]) -> None:
    shop = make_shop()
    # Within a tier, over its end, in the next one, and nothing that has a price.
    for tokens in (700_000, 800_000, 1, 0):
        store_event(shop, {"output_tokens": tokens, "tool_calls": 2})
    store_event(shop, {})
    pipeline.rate()
    first, bases = said(), stored_bases()
    assert {e.own_steps is None for e in LedgerEntry.objects.all()} == {True, False}

    migrate(before())
    assert [(*own, json.loads(text)) for *own, text in rows(BEFORE)] == first
    migrate(latest)

    ledger_bases.forget()
    assert (said(), stored_bases()) == (first, bases)
    for law in invariants.INVARIANTS:
        assert list(law.check()) == [], law
    store_event(shop, {"output_tokens": 3, "tool_calls": 9})
    pipeline.rate()
    assert stored_bases() == bases
