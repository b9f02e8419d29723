"""Lines of quota, wallet and commitment are told once, with the real figures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aforo.core.models import Happening
from aforo.lib import clock
from billing import wallets
from guard import alert_rules, facts, projection, thresholds
from metering import pipeline
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db(transaction=True)
LIMITS = {"quotas": [{"metric": "tool_calls", "limit": 100, "on_exceed": "deny"}]}
COMMITTED: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        {
            "key": "calls",
            "name": "Calls",
            "price": {
                "model": "dimensions",
                "tool_invocations": {"*": "0.01"},
                "billing_mode": "COMMITTED",
                "committed_amount": 10,
                "committed_price": "5",
            },
        }
    ],
}


@pytest.fixture(autouse=True)
def fresh(store: redis.Redis) -> Iterator[None]:
    thresholds.forget()
    alert_rules.forget()
    yield
    thresholds.forget()
    alert_rules.forget()


def use(shop: Shop, calls: int) -> None:
    store_event(shop, {"tool_calls": calls})
    pipeline.rate()


def told(kind: str) -> list[tuple[str, str]]:
    rows = Happening.objects.filter(kind=kind).order_by("pk")
    return [(row.severity, row.text.partition(":")[0]) for row in rows]


def test_quota_lines_are_told_once_each_with_the_figure():
    shop = make_shop(limits=LIMITS)
    use(shop, 79)
    assert told("quota") == []
    use(shop, 8)
    use(shop, 1)
    use(shop, 20)
    use(shop, 1)

    assert told("quota") == [
        ("warn", "87 % of monthly quota"),
        ("block", "108 % of monthly quota"),
    ]
    row = Happening.objects.order_by("pk").first()
    assert row is not None
    assert (row.figures["used"], row.figures["limit"]) == (87, 100)
    assert row.customer_id == shop.customer.pk


def test_two_processes_tell_once_and_a_new_one_knows_what_is_open():
    shop = make_shop(limits=LIMITS)
    use(shop, 90)
    thresholds.forget()
    use(shop, 1)

    assert len(told("quota")) == 1


def test_a_new_period_is_a_recovery_told_once():
    shop = make_shop(limits=LIMITS)
    use(shop, 90)
    with clock.travel(clock.now() + dt.timedelta(days=40)):
        for _ in range(2):
            projection.project_customers(
                [shop.customer.pk], config=False, seen=thresholds.look
            )

    assert [severity for severity, _ in told("quota")] == ["warn", "ok"]
    assert not Happening.objects.filter(resolved_at=None).exists()


def test_a_recovery_that_another_process_saw_is_told_by_the_beat():
    shop = make_shop(limits=LIMITS)
    use(shop, 90)
    assert thresholds.open_customers() == [shop.customer.pk]


def test_a_rule_draws_a_line_of_its_own():
    shop = make_shop(limits=LIMITS)
    values = {"name": "half", "kind": "quota", "threshold": Decimal(50)}
    alert_rules.create(tenant=shop.tenant, values=values, actor=None)
    alert_rules.forget()
    use(shop, 55)

    assert told("quota") == [("warn", "55 % of monthly quota")]


def test_a_wallet_is_low_then_empty_then_filled_again():
    shop = make_shop()
    top_up: dict[str, Any] = {
        "customer": shop.customer,
        "currency": "USD",
        "actor": None,
    }
    wallets.top_up(amount=Decimal(10), **top_up)
    use(shop, 700)
    assert told("wallet") == []
    use(shop, 150)
    use(shop, 150)
    wallets.top_up(amount=Decimal(20), **top_up)

    found = told("wallet")
    assert [severity for severity, _ in found] == ["warn", "block", "ok"]
    assert found[0][1].startswith("15 % of the credit of")
    row = Happening.objects.order_by("pk").first()
    assert row is not None
    assert row.text.endswith("$1.50 of $10.00")


def test_a_commitment_is_told_at_its_line():
    shop = make_shop(body=COMMITTED)
    for _ in range(8):
        store_event(
            shop,
            {"tool_calls": 1},
            event_type="mcp.tool_invoked",
            tool_name="search",
            status="SUCCESS",
        )
    pipeline.rate()

    assert told("commitment") == [("warn", "80 % of the commitment")]


def test_a_batch_that_crosses_nothing_costs_no_statement():
    shop = make_shop(limits=LIMITS)
    use(shop, 10)
    found = facts.read([shop.customer.pk], config=False)
    thresholds.look(found)
    with CaptureQueriesContext(connection) as queries:
        thresholds.look(found)

    # The savepoint alone.
    plain = {"SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"}
    assert {q["sql"].split()[0] for q in queries} <= plain
