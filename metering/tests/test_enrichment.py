"""What rating remembers between batches: true, or not used."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from aforo.core import stamps
from aforo.core.models import FxRate
from aforo.lib import clock, sql
from aforo.management.commands.verify import breaks
from billing import accounts, subscriptions, wallets
from billing.models import AgentGrant, CreditGrant, LedgerEntry
from catalog import products, registry
from catalog.models import Metric
from metering import enrichment, pipeline, relay
from metering.models import CostFact, Unrateable
from tests.factories import Shop, add_cost, make_shop, make_version, store_event

pytestmark = pytest.mark.django_db(transaction=True)

WRITES = ("INSERT", "UPDATE", "DELETE")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    enrichment.forget()
    yield
    enrichment.forget()


def by_tool(**prices: str) -> dict[str, Any]:
    """A plan with a price for calls of each tool."""
    return {
        "currency": "USD",
        "charges": [
            {
                "key": name,
                "name": name,
                "metric": "tool_calls",
                "filter": {"tool": [name]},
                "price": {"model": "per_unit", "unit_amount": price},
            }
            for name, price in prices.items()
        ],
    }


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect the statements that go through the raw cursor."""
    seen: list[str] = []

    class Seen(psycopg.Cursor[Any]):
        def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            seen.append(str(query).strip())
            return super().execute(query, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sql, "cursor", lambda: Seen(connection.connection))
        yield seen


def rated(shop: Shop, **event: Any) -> LedgerEntry:
    """Store an event, rate it and return its entry."""
    stored = store_event(shop, {"tool_calls": 1}, **event)
    assert pipeline.rate() == 1
    return LedgerEntry.objects.get(event_id=stored.pk)


def test_a_batch_reads_three_times_before_it_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shops = [make_shop() for _ in range(3)]
    add_cost(shops[0].tenant, model="m", unit="output_tokens", amount="0.01")

    def batch() -> None:
        for shop in shops:
            for number in range(4):
                store_event(
                    shop,
                    {"output_tokens": 5},
                    properties={"model": "m"},
                    session_key=f"s{number}",
                )

    batch()
    pipeline.rate()
    batch()
    with statements(monkeypatch) as seen:
        assert pipeline.rate() == 12
    # Claiming is a transaction of its own: it ends when the attempt is counted.
    claimed = next(i for i, text in enumerate(seen) if text.startswith("UPDATE"))
    own = seen[claimed + 1 :]
    before = next(i for i, text in enumerate(own) if text.startswith(WRITES))
    assert before == 3, own[:before]
    assert breaks_found() == {}


def breaks_found() -> dict[str, Any]:
    """Return the invariants that do not hold."""
    return {code: found for code, found in breaks().items() if found}


def test_what_is_remembered_answers_the_next_batches() -> None:
    shop = make_shop()
    rated(shop)
    hits, misses = enrichment.counts()
    for _ in range(20):
        rated(shop)
    after = enrichment.counts()
    assert (after[0] - hits, after[1] - misses) == (20, 0)


def test_a_change_rolled_back_leaves_nothing_remembered() -> None:
    shop = make_shop()
    rated(shop)
    rated(shop)
    version = make_version(shop.product, by_tool(search="9"))
    with transaction.atomic():
        subscriptions.change_plan(
            subscription=shop.subscription,
            plan_version=version,
            at=clock.now(),
            actor=None,
        )
        store_event(shop, {"tool_calls": 1})
        assert pipeline.rate() == 1
        transaction.set_rollback(True)
    assert rated(shop).snapshot.plan_version_id == shop.version.pk


def _new_plan(shop: Shop) -> None:
    subscriptions.change_plan(
        subscription=shop.subscription,
        plan_version=make_version(shop.product, by_tool(search="9")),
        at=clock.now(),
        actor=None,
    )


def _new_alias(shop: Shop) -> None:
    registry.add_tool(product=shop.product, name="search", aliases=["find"], actor=None)


def _new_wallet(shop: Shop) -> None:
    wallets.grant(
        customer=shop.customer,
        currency="USD",
        amount=Decimal(10),
        kind=CreditGrant.Kind.PROMOTIONAL,
        title="Welcome",
        actor=None,
    )


def test_a_stamp_sees_every_table_that_rating_remembers() -> None:
    shop = make_shop()
    tables = {
        "billing_customer": shop.customer.pk,
        "billing_team": shop.customer.pk,
        "billing_agent": shop.customer.pk,
        "billing_subscription": shop.customer.pk,
        "catalog_metric": shop.tenant.pk,
    }
    for table, scope in tables.items():
        before = stamps.read([scope])
        with connection.cursor() as cursor:
            column = "id" if table == "billing_customer" else "tenant_id"
            wanted = scope if table == "billing_customer" else shop.tenant.pk
            cursor.execute(
                f"UPDATE {table} SET tenant_id = tenant_id WHERE {column} = %s",
                [wanted],
            )
            assert cursor.rowcount > 0, table
        assert stamps.read([scope]) != before, table


def test_a_new_plan_counts_for_the_next_batch() -> None:
    shop = make_shop()
    rated(shop)
    rated(shop)
    _new_plan(shop)
    entry = rated(shop)
    assert entry.snapshot.plan_version_id != shop.version.pk


def test_a_new_alias_counts_for_the_next_batch() -> None:
    shop = make_shop(body=by_tool(search="0.02"))
    assert rated(shop, tool_name="find").amount == 0
    _new_alias(shop)
    assert rated(shop, tool_name="find").amount == Decimal("0.02")


def test_a_new_wallet_pays_from_the_next_batch() -> None:
    shop = make_shop(body=by_tool(search="0.02"))
    rated(shop, tool_name="search")
    _new_wallet(shop)
    rated(shop, tool_name="search")
    assert shop.customer.wallets.get().balance == Decimal("9.98")


def test_a_new_cost_counts_for_the_next_batch() -> None:
    shop = make_shop()
    add_cost(shop.tenant, model="other", unit="output_tokens", amount="1")

    def cost() -> Decimal | None:
        event = store_event(shop, {"output_tokens": 2}, properties={"model": "m"})
        pipeline.rate()
        return CostFact.objects.get(event=event).amount

    assert cost() is None
    add_cost(shop.tenant, model="m", unit="output_tokens", amount="0.01")
    assert cost() == Decimal("0.02")


def test_a_new_metric_counts_for_the_next_batch() -> None:
    shop = make_shop()
    store_event(shop, {"reviews": 1})
    pipeline.rate()
    assert Unrateable.objects.get().reason == "unknown_metric"
    products.create_metric(
        tenant=shop.tenant,
        code="reviews",
        name="Reviews",
        aggregation=Metric.Aggregation.SUM,
        field="reviews",
        unit="review",
        actor=None,
    )
    store_event(shop, {"reviews": 1})
    pipeline.rate()
    assert Unrateable.objects.count() == 1


def test_a_new_rate_of_exchange_counts_for_the_next_batch() -> None:
    body = by_tool(search="0.02") | {"currency": "EUR"}
    shop = make_shop(body=body)
    add_cost(shop.tenant, model="m", unit="output_tokens", amount="1")

    def spent() -> Decimal:
        store_event(shop, {"output_tokens": 1}, properties={"model": "m"})
        pipeline.rate()
        return shop.customer.usage_totals.get().cost

    assert spent() == 0  # Not known in the plan's currency.
    FxRate.objects.create(
        tenant=shop.tenant,
        base="USD",
        quote="EUR",
        rate=Decimal("0.9"),
        valid_from=clock.now() - dt.timedelta(days=2),
    )
    assert spent() == Decimal("0.9")


def test_the_entry_of_a_granted_agent_follows_its_owner() -> None:
    shop = make_shop()
    guest = accounts.create_customer(tenant=shop.tenant, name="Guest", actor=None)
    team = accounts.create_team(customer=guest, name="Guests", actor=None)
    AgentGrant.objects.create(
        tenant=shop.tenant,
        agent=shop.agent,
        team=team,
        customer=guest,
        valid_from=clock.now(),
    )
    before = stamps.read([guest.pk])
    shop.agent.tier = "gold"
    shop.agent.save(update_fields=["tier"])
    assert stamps.read([guest.pk]) != before


def test_what_nobody_uses_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("aforo.core.stamps.time.monotonic", lambda: now[0])
    memory: stamps.Memory[str] = stamps.Memory(2)
    first, second, third = (uuid.uuid4() for _ in range(3))
    memory.put(first, "1", "a")
    memory.put(second, "1", "b")
    assert memory.get(first, "1") == "a"
    memory.put(third, "1", "c")  # The one used longest ago makes room.
    assert memory.get(second, "1") is None
    now[0] = stamps.UNUSED_S
    memory.put(second, "1", "b")
    assert memory.get(first, "1") is None
    assert memory.get(second, "2") is None
    assert memory.get(second, "1") == "b"


def test_a_stamp_that_came_back_does_not_bring_back_what_it_stood_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scope = uuid.uuid4()
    memory: stamps.Memory[str] = stamps.Memory(2)
    before = stamps.read([scope])[scope]
    memory.put(scope, before, "of old")
    with sql.cursor() as cursor:
        cursor.execute("INSERT INTO core_changestamp (scope) VALUES (%b)", [scope])
    assert stamps.read([scope])[scope] != before
    assert stamps.prune(clock.now() + dt.timedelta(minutes=1)) > 0
    assert stamps.read([scope])[scope] == before
    # Rows go after an hour; by then nothing of before the change is believed.
    later = time.monotonic() + stamps.UNUSED_S
    monkeypatch.setattr("aforo.core.stamps.time.monotonic", lambda: later)
    assert memory.get(scope, before) is None


def test_old_stamps_go_and_what_is_remembered_is_read_again() -> None:
    shop = make_shop()
    rated(shop)
    rated(shop)
    assert stamps.prune(clock.now() + dt.timedelta(minutes=1)) > 0
    _, misses = enrichment.counts()
    rated(shop)
    assert enrichment.counts()[1] == misses + 1


def test_the_share_of_look_ups_is_told_once() -> None:
    store = relay.streams()
    day = clock.now().date()
    shop = make_shop()
    rated(shop)
    enrichment.note(store)
    before = enrichment.figures(store, day)
    rated(shop)
    rated(shop)
    enrichment.note(store)
    enrichment.note(store)
    after = enrichment.figures(store, day)
    assert (after[0] - before[0], after[1] - before[1]) == (2, 0)
