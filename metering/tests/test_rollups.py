"""Hourly sums: exact under batches, replays, corrections; proved against the facts."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from aforo.lib import clock
from metering import pipeline, rollup_proof, rollups, unrateable
from metering.batch import Row
from metering.models import Unrateable, UsageEvent, UsageRollup
from metering.rollups import Delta, Key
from tests.factories import Shop, add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db
MODEL = "gpt-4o"


@pytest.fixture
def shop() -> Shop:
    """A seller whose model costs something."""
    shop = make_shop()
    add_cost(shop.tenant, model=MODEL, unit="input_uncached_tokens", amount="0.000002")
    return shop


def use(shop: Shop, quantity: int = 1000, **more: Any) -> UsageEvent:
    """Store a call of the model."""
    return store_event(
        shop,
        {"input_tokens": quantity, "latency_ms": 250},
        properties={"model": MODEL},
        **more,
    )


def breaks() -> list[str]:
    """Return what the proof finds."""
    return list(rollup_proof.sums_equal_facts())


def key_of(row: UsageRollup) -> Key:
    """Return the key of a stored sum."""
    return Key(
        row.customer_id,
        row.hour,
        row.product_id or rollups.NOBODY,
        row.agent_id or rollups.NOBODY,
        row.team_id or rollups.NOBODY,
        row.event_type,
        row.model,
        row.provider,
        row.tool_name,
        row.currency,
    )


def test_sums_say_team_provider_and_every_measurement(shop: Shop) -> None:
    use(shop)
    use(shop, 500, status="FAILED")
    pipeline.rate()
    row = UsageRollup.objects.get()
    assert (row.team_id, row.provider) == (shop.team.pk, "test")
    assert (row.event_count, row.error_count, row.input_tokens) == (2, 1, 1500)
    assert row.more == {"latency_ms": 500}
    assert (row.duration_ms, row.cost) == (500, Decimal("0.003"))
    use(shop)
    pipeline.rate()  # A second batch adds to the same row.
    row.refresh_from_db()
    assert (row.event_count, row.more) == (3, {"latency_ms": 750})
    assert breaks() == []


def test_a_cost_that_is_found_later_moves_no_count(shop: Shop) -> None:
    store_event(
        shop,
        {"input_tokens": 10, "mystery": 1},
        properties={"model": "new-model"},
    )
    pipeline.rate()
    assert UsageRollup.objects.get().cost_unknown_count == 1
    assert breaks() == []
    add_cost(shop.tenant, model="new-model", unit="input_uncached_tokens", amount="0.5")
    unrateable.replay(list(Unrateable.objects.values_list("pk", flat=True)), actor=None)
    row = UsageRollup.objects.get()
    assert (row.event_count, row.cost, row.cost_unknown_count) == (1, 5, 0)
    assert breaks() == []


def test_negative_deltas_take_an_event_back(shop: Shop) -> None:
    use(shop)
    pipeline.rate()
    before = UsageRollup.objects.values().get()
    use(shop, 300, status="FAILED")
    pipeline.rate()
    row = UsageRollup.objects.get()
    delta = Delta(row.tenant_id, cost=Decimal("-0.0006"), rated=-1)
    delta.revenue = before["revenue"] - row.revenue
    measured = {"input_tokens": Decimal(300), "latency_ms": Decimal(250)}
    delta.count(status="FAILED", measurements=measured, sign=-1)
    with transaction.atomic():
        rollups.apply({key_of(row): delta})
    assert UsageRollup.objects.values().get() == before
    # The facts still have both: the proof names the hour.
    assert any("the events give 2/1/1300" in line for line in breaks())
    assert any("latency_ms" in line for line in breaks())


def test_a_sum_that_is_wrong_in_one_hour_is_found(shop: Shop) -> None:
    hour = dt.timedelta(hours=1)
    use(shop, at=clock.now() - hour)
    use(shop, at=clock.now() - 2 * hour)
    pipeline.rate()
    first, second = UsageRollup.objects.order_by("hour")
    # The customer's totals stay right.
    UsageRollup.objects.filter(pk=first.pk).update(revenue=first.revenue + 1)
    UsageRollup.objects.filter(pk=second.pk).update(revenue=second.revenue - 1)
    assert len([line for line in breaks() if "the ledger has" in line]) == 2


def test_an_event_says_its_provider_before_the_rates_do(shop: Shop) -> None:
    event = store_event(
        shop,
        {"input_tokens": 1},
        properties={"model": MODEL, "provider": "azure"},
    )
    pipeline.rate()
    assert UsageRollup.objects.get().provider == "azure"
    assert breaks() == []
    names = [name for name in Row._fields if name not in ("body", "session_id")]
    row = Row._make([*(getattr(event, name) for name in names), "", None])
    key = rollups.key_of(row, properties={}, provider="test", tool="", currency="USD")
    assert (key.provider, key.product_id) == ("test", shop.product.pk)


def test_views_of_sessions_and_tools(shop: Shop) -> None:
    for status, took in (("SUCCESS", 100), ("SUCCESS", 200), ("FAILED", 300)):
        store_event(
            shop,
            {"tool_calls": 1, "tool_duration_ms": took},
            event_type="mcp.tool_invoked",
            tool_name="search",
            status=status,
            session_key="run-1",
        )
    store_event(shop, {"input_tokens": 7, "output_tokens": 5}, session_key="run-1")
    pipeline.rate()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, agent_id, tool_invocation_count, avg_tool_duration_ms,"
            " total_tokens, success_rate FROM mcp_session_summary"
        )
        assert cursor.fetchall() == [
            (
                shop.tenant.pk,
                shop.agent.pk,
                3,
                Decimal(200),
                12,
                Decimal("0.750000"),
            )
        ]
        cursor.execute(
            "SELECT tool_name, invocation_count, error_count, total_duration_ms"
            " FROM mcp_tool_invocations"
        )
        assert cursor.fetchall() == [("search", 3, 1, Decimal(600))]
        # Row-level security holds for who asks, not for who made the view.
        cursor.execute("SET LOCAL ROLE aforo_web")
        cursor.execute(
            "SELECT set_config('aforo.tenant', %s, true)", [str(uuid.uuid4())]
        )
        cursor.execute("SELECT count(*) FROM mcp_session_summary")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM mcp_tool_invocations")
        assert cursor.fetchone() == (0,)
        cursor.execute("RESET ROLE")
