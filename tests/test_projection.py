from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.db import transaction

from aforo.core.models import OutboxMessage
from aforo.core.tenancy import as_web
from aforo.lib import clock, ids
from billing import accounts, books, credentials, wallets
from billing.models import CreditGrant, CustomerBooks
from guard import drift, facts, projection, stores, tasks
from guard.drift import Drift
from guard.engine import keys
from guard.engine.check import check
from guard.engine.decision import CheckRequest, Cold, Decision
from metering import pipeline
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db

LIMITS = {
    "requests_per_minute": 100,
    "quotas": [
        {"metric": "tokens", "limit": 10_000, "on_exceed": "deny"},
        {"metric": "tool_calls", "limit": 50, "on_exceed": "bill"},
    ],
    "spend_cap": "3.00",
    "estimate": {"input_tokens": "0.000003", "output_tokens": "0.000015"},
    "default_estimate": "0.01",
}


@pytest.fixture
def shop(store: redis.Redis) -> Shop:
    return make_shop(limits=LIMITS)


def ask(store: redis.Redis, shop: Shop, **members: object) -> Decision | Cold:
    values: dict[str, object] = {
        "tag": shop.customer.tag,
        "request_id": str(ids.new_id()),
        "decision_id": "dec_1",
        "digest": shop.credential.digest,
        **members,
    }
    return check(store, CheckRequest(**values))  # type: ignore[arg-type]


def judged(store: redis.Redis, shop: Shop, **members: object) -> Decision:
    decision = ask(store, shop, **members)
    assert isinstance(decision, Decision)
    return decision


def used(decision: Decision) -> dict[str, int]:
    return {f"{one.name}/{one.unit}": one.used for one in decision.limits}


def books_of(shop: Shop) -> CustomerBooks:
    return CustomerBooks.objects.get(customer=shop.customer)


def test_a_customer_is_judged_by_its_plan(store: redis.Redis, shop: Shop) -> None:
    assert isinstance(ask(store, shop), Cold)
    assert projection.project(shop.customer.pk) == projection.Report(1, 0)
    decision = judged(store, shop, units={"output_tokens": 1000})
    assert decision.outcome == "allow"
    assert decision.estimate_micros == 15_000
    assert {name: one for name, one in used(decision).items() if one} == {
        "requests.subscription.minute/requests": 1,
        "quota.subscription.period/tokens": 1000,
        "spend_cap.subscription.period/micros": 15_000,
    }


def test_rated_usage_replaces_its_hold(store: redis.Redis, shop: Shop) -> None:
    projection.project(shop.customer.pk)
    judged(store, shop, request_id="r1", amount_micros=2_000_000, tokens=9_000)
    store_event(
        shop,
        {"input_tokens": 400, "output_tokens": 100, "tool_calls": 7},
        request_id="r1",
    )
    pipeline.rate()
    report = projection.project_customers([shop.customer.pk], config=False)
    assert report == projection.Report(1, 1)
    # 400 × $3 + 100 × $15 per million, 7 × $0.01.
    decision = judged(store, shop, amount_micros=0, tokens=1)
    assert used(decision)["spend_cap.subscription.period/micros"] == 72_700
    assert used(decision)["quota.subscription.period/tokens"] == 501
    assert used(decision)["quota.subscription.period/tool_calls"] == 7
    assert judged(store, shop, request_id="r1").reason == "request_id.used"


def test_a_quota_counts_what_the_windows_of_its_metric_come_to(
    store: redis.Redis,
) -> None:
    metric = {
        "key": "tool_calls",
        "aggregation": "max",
        "measurement": "tool_calls",
        "window": "event",
    }
    price = {"model": "package", "size": "10", "amount": "1"}
    row = {"key": "calls", "name": "Calls", "metric": metric, "price": price}
    shop = make_shop(body={"currency": "USD", "charges": [row]}, limits=LIMITS)
    for calls in (7, 12):
        store_event(shop, {"tool_calls": calls})
    pipeline.rate()
    projection.project(shop.customer.pk)
    decision = judged(store, shop, amount_micros=0, tokens=0)
    assert used(decision)["quota.subscription.period/tool_calls"] == 19
    assert used(decision)["spend_cap.subscription.period/micros"] == 3_000_000


def test_a_second_projection_settles_nothing_more(
    store: redis.Redis, shop: Shop
) -> None:
    projection.project(shop.customer.pk)
    judged(store, shop, request_id="r1")
    store_event(shop, {"input_tokens": 400}, request_id="r1")
    pipeline.rate()
    assert projection.project(shop.customer.pk).settled == 1
    assert projection.project(shop.customer.pk).settled == 0
    assert books_of(shop).projected_version == books_of(shop).version
    assert projection.behind(clock.now()) == []


def test_settled_ids_of_every_unprojected_batch_are_told(
    store: redis.Redis, shop: Shop
) -> None:
    projection.project(shop.customer.pk)
    for name in ("r1", "r2", "r3"):
        judged(store, shop, request_id=name)
        store_event(shop, {"input_tokens": 10}, request_id=name)
        pipeline.rate()
    assert OutboxMessage.objects.count() == 3
    assert projection.project(shop.customer.pk).settled == 3


def test_what_is_behind_is_found(store: redis.Redis, shop: Shop) -> None:
    assert projection.behind(clock.now()) == [shop.customer.pk]
    projection.project(shop.customer.pk)
    assert projection.behind(clock.now()) == []
    books.configure([shop.customer.pk])
    assert projection.behind(clock.now()) == [shop.customer.pk]


def test_a_wallet_is_what_may_be_spent(store: redis.Redis, shop: Shop) -> None:
    wallets.grant(
        customer=shop.customer,
        currency="USD",
        kind=CreditGrant.Kind.PURCHASED,
        amount=Decimal("0.0000015"),
        title="Start",
        actor=None,
    )
    projection.project(shop.customer.pk)
    assert judged(store, shop, amount_micros=1).outcome == "allow"
    assert judged(store, shop, amount_micros=1).reason == "wallet.customer.balance"


def test_a_customer_cap_is_rounded_down(store: redis.Redis, shop: Shop) -> None:
    accounts.set_spend_cap(
        customer=shop.customer, amount=Decimal("0.0000019"), actor=None
    )
    projection.project(shop.customer.pk)
    assert judged(store, shop, amount_micros=1).outcome == "allow"
    assert judged(store, shop, amount_micros=1).reason == "spend_cap.customer.period"


def test_a_revocation_reaches_the_edge_before_its_commit(
    store: redis.Redis, shop: Shop
) -> None:
    projection.project(shop.customer.pk)
    with transaction.atomic():
        credentials.revoke(credential=shop.credential, actor=None)
        assert judged(store, shop).reason == "credential.revoked"


def test_a_restriction_that_is_rolled_back_is_repaired(
    store: redis.Redis, shop: Shop
) -> None:
    projection.project(shop.customer.pk)
    with transaction.atomic():
        accounts.suspend_customer(customer=shop.customer, actor=None)
        transaction.set_rollback(True)
    assert judged(store, shop).reason == "customer.suspended"
    assert drift.reconcile([shop.customer.pk]) == Drift(1, ahead=1)
    assert judged(store, shop).outcome == "allow"


def test_a_store_that_is_away_fails_no_revocation(
    settings: Any, shop: Shop, store: redis.Redis
) -> None:
    stores.for_projection.cache_clear()
    settings.GUARD_REDIS_URL = "unix:///nowhere.sock"
    try:
        credentials.revoke(credential=shop.credential, actor=None)
    finally:
        stores.for_projection.cache_clear()
    shop.credential.refresh_from_db()
    assert shop.credential.revoked_at is not None


def test_reconciliation_finds_and_repairs_drift(store: redis.Redis, shop: Shop) -> None:
    projection.project(shop.customer.pk)
    judged(store, shop, amount_micros=40)
    assert drift.reconcile([shop.customer.pk]) == Drift(1)
    wrong = facts.read([shop.customer.pk])[0].totals
    store.hset(keys.totals_key(shop.customer.tag), "cust", wrong["cust"] + b"\x00")
    store.delete(keys.hold_keys(shop.customer.tag)[2])
    assert drift.reconcile([shop.customer.pk]) == Drift(1, wrong=1, micros=40)
    assert drift.reconcile([shop.customer.pk]) == Drift(1)


def test_a_lost_store_is_rebuilt_whole(store: redis.Redis, shop: Shop) -> None:
    other = make_shop()
    assert projection.is_flushed()
    tasks.project_changed()
    assert not projection.is_flushed()
    assert judged(store, shop).outcome == "allow"
    assert judged(store, other).outcome == "allow"
    assert store.hexists(
        keys.service_keys_key(shop.tenant.tag), shop.service_key.digest
    )
    store.flushdb()
    tasks.project_changed()
    assert judged(store, shop).outcome == "allow"


def test_the_beat_projects_what_changed(store: redis.Redis, shop: Shop) -> None:
    tasks.project_changed()
    credential, _ = credentials.issue(
        agent=shop.agent, products=[shop.product], actor=None
    )
    assert judged(store, shop, digest=credential.digest).reason == "credential.unknown"
    tasks.project_changed()
    assert judged(store, shop, digest=credential.digest).outcome == "allow"


def test_the_minutely_comparison_runs(store: redis.Redis, shop: Shop) -> None:
    tasks.project_changed()
    tasks.reconcile()
    assert judged(store, shop).outcome == "allow"


def test_ids_lead_to_the_customer(store: redis.Redis, shop: Shop) -> None:
    projection.project(shop.customer.pk)
    known = store.hkeys(keys.identities_key(shop.tenant.tag))
    assert {
        f"cus:{shop.customer.public_id}".encode(),
        f"cus:{shop.customer.external_id}".encode(),
        f"agt:{shop.agent.public_id}".encode(),
    } <= set(known)


def test_the_web_role_projects_its_own_tenant_alone(
    store: redis.Redis, shop: Shop
) -> None:
    other = make_shop()
    with as_web(tenant_id=shop.tenant.pk):
        seen = facts.read([shop.customer.pk, other.customer.pk])
    assert [one.id for one in seen] == [shop.customer.pk]


def test_a_plan_that_starts_later_is_projected_when_it_starts(
    store: redis.Redis, shop: Shop
) -> None:
    projection.project(shop.customer.pk)
    with clock.travel(clock.now() + dt.timedelta(days=40)):
        (later,) = facts.read([shop.customer.pk])
    (now,) = facts.read([shop.customer.pk])
    # The next period's end: nothing of this one counts there.
    assert later.totals != now.totals
