"""A loop on a running instance: warned, throttled, blocked, each within a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.scenarios import stage as scene
from tests.scenarios.stage import Reply, Shop, Stage, until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

# A call earns $3. It costs $2 on the small model and $4.50 on the big one.
COSTS = {"small": "0.000002", "big": "0.0000045"}
LIMITS = {"throttle_model": "small", "requests_per_minute": 100_000}
LEVELLED = {
    "levels": [
        {"key": "build", "name": "Build", "limits_multiplier": "2"},
        {
            "key": "scale",
            "name": "Scale",
            "spend_from": "50",
            "limits_multiplier": "4",
        },
    ],
    "currency": "USD",
    "charges": [
        {
            "key": "input",
            "name": "Input",
            "metric": "input_tokens",
            "price": {"model": "per_unit", "unit_amount": "1", "per": 1_000_000},
        }
    ],
}
WITHIN_S = 1.0
SCOPES = ["ingest", "guard"]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    shop = {"costs": COSTS, "limits": LIMITS, "scopes": SCOPES}
    few = {"requests_per_minute": 60}
    levelled = {"body": LEVELLED, "limits": few, "scopes": SCOPES}
    with scene.opened(levelled, shop, shop) as running:
        yield running


def calls(shop: Shop, name: str, model: str, count: int) -> list[dict[str, Any]]:
    """Return events of so many calls of a model."""
    return [
        shop.event(f"{name}-{at}", properties={"model": model}) for at in range(count)
    ]


def follow(stage: Stage, shop: Shop, level: str) -> tuple[Reply, float]:
    """Ask until the edge is at a level; return the answer and how long it took."""
    began = time.monotonic()

    def at_level() -> Reply | None:
        reply = stage.judged(shop)
        said = reply.json.get("margin_level")
        if reply.status == 429 and reply.json["code"] == "margin_limit":
            said = "block"
        return reply if said == level else None

    return until(at_level, f"the margin is at {level}"), time.monotonic() - began


def test_a_loop_is_warned_throttled_and_blocked_within_a_second(stage: Stage):
    shop = stage.shop()
    stage.post(shop, calls(shop, "work", "small", 10))
    stage.drain()
    assert stage.judged(shop).json["margin_level"] == "ok"

    took = {}
    for level, count in (("warn", 2), ("throttle", 2), ("block", 3)):
        for at, event in enumerate(calls(shop, level, "big", count), start=1):
            stage.post(shop, [event])
            if at < count:
                stage.drain()
        reply, took[level] = follow(stage, shop, level)
        if level == "throttle":
            assert reply.status == 200
            assert reply.headers["x-aforo-throttle"] == "true"
            assert reply.headers["x-aforo-throttle-model"] == "small"
            assert reply.json["decision"] == "throttle"

    assert reply.status == 429
    assert reply.json["title"] == "Margin Limit Exceeded"
    assert reply.json["reason_code"] == "margin.subscription.period"
    assert reply.headers["retry-after"] == "60"
    print("seconds from the answer of the event to the level:", took)
    assert max(took.values()) < WITHIN_S, took

    stage.drain()
    history = stage.rows(
        "SELECT level, revenue, cogs, margin FROM guard_marginchange"
        " WHERE customer_id = %s AND scope = 'subscription' ORDER BY id",
        shop.customer_id,
    )
    assert history == [
        ("warn", Decimal(36), Decimal(29), Decimal("19.4444")),
        ("throttle", Decimal(42), Decimal(38), Decimal("9.5238")),
        ("block", Decimal(51), Decimal("51.5"), Decimal("-0.9804")),
    ]
    audited = stage.rows(
        "SELECT changes->'margin'->>1 FROM core_auditentry WHERE tenant_id = %s"
        " AND action = 'margin.level_changed' AND object_type = 'subscription'"
        " ORDER BY id",
        shop.tenant_id,
    )
    assert audited == [("19.4444 %",), ("9.5238 %",), ("-0.9804 %",)]
    stage.verify()

    asked = {"customer_id": shop.external_id, "reason": "they pay tomorrow"}
    path = "/v1/margin-releases"
    foreign = stage.shops[0].service_secret
    assert stage.call(path, foreign, asked).status == 404
    released = stage.call(path, shop.service_secret, asked)
    assert released.status == 200, released
    # The gateway's events name no agent.
    scopes = {one["scope"] for one in released.json["released"]}
    assert scopes == {"customer", "subscription"}
    assert stage.call(path, shop.service_secret, {**asked, "reason": ""}).status == 422
    reply, _ = follow(stage, shop, "warn")
    assert (reply.status, reply.json["decision"]) == (200, "allow")
    stage.verify()


def test_a_price_rise_levels_again_at_once(stage: Stage):
    shop = stage.shop()
    stage.post(shop, calls(shop, "work", "small", 10))
    stage.drain()
    assert stage.judged(shop).json["margin_level"] == "ok"
    raised = stage.instance.manage(
        "shell",
        "-c",
        "import datetime as dt, uuid; from decimal import Decimal\n"
        "from aforo.core.models import Tenant; from aforo.lib import clock\n"
        "from catalog import cost_rates; from metering import cost_jobs\n"
        f"tenant = Tenant.objects.get(pk='{shop.tenant_id}')\n"
        "since = clock.now() - dt.timedelta(days=1)\n"
        "cost_rates.add_rate(tenant=tenant, provider='test', model='small',"
        " unit='input_uncached_tokens', amount=Decimal('0.000004'), currency='USD',"
        " valid_from=since, actor=None)\n"
        "cost_jobs.recost_since(tenant=tenant, since=since, title='dearer')",
    )
    assert raised.returncode == 0, raised.stderr
    reply, took = follow(stage, shop, "block")
    print("seconds from the price to the level:", took)
    assert reply.json["title"] == "Margin Limit Exceeded"
    assert took < WITHIN_S
    stage.verify()


def test_the_dollar_that_reaches_a_level_doubles_the_limit(stage: Stage):
    shop = stage.shop()

    def limit() -> int:
        return int(stage.judged(shop).headers["x-ratelimit-limit"])

    dollars = shop.event("most")
    dollars["measurements"] = [{"metricKey": "input_tokens", "value": 49_990_000}]
    stage.post(shop, [dollars])
    stage.drain()
    assert limit() == 120
    cent = shop.event("cent")
    cent["measurements"] = [{"metricKey": "input_tokens", "value": 10_000}]
    stage.post(shop, [cent])
    until(lambda: limit() == 240, "the limit is doubled", WITHIN_S)
    stage.drain()
    moved = stage.rows(
        "SELECT before_name, after_name, spend FROM billing_levelchange"
        " WHERE customer_id = %s",
        shop.customer_id,
    )
    assert moved == [("Build", "Scale", Decimal(50))]
    stage.verify()
