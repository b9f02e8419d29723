"""What was lost at the edge is found by comparing it with the record, and put back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.db import connection, transaction

from aforo.core import service_keys
from billing import accounts
from guard import drift, projection, skew, tasks
from guard.drift import Drift
from guard.engine import keys, state
from tests.factories import Shop, make_shop

LIMITS = {"spend_cap": "3.00", "default_estimate": "0.01"}


@pytest.fixture
def shop(store: redis.Redis, db: None) -> Shop:
    made = make_shop(limits=LIMITS)
    tasks.project_changed()
    return made


def _credential(store: redis.Redis, shop: Shop) -> None:
    store.hdel(keys.config_key(shop.customer.tag), f"c:{shop.credential.digest}")


def _stranger(store: redis.Redis, shop: Shop) -> None:
    credential = state.Credential(id="crd_x", agent_id="agt_x", products=())
    place = keys.config_key(shop.customer.tag)
    store.hset(place, "c:made-up", state.pack(credential))


def _identity(store: redis.Redis, shop: Shop) -> None:
    place = keys.identities_key(shop.tenant.tag)
    store.hdel(place, f"cus:{shop.customer.external_id}")


def _total(store: redis.Redis, shop: Shop) -> None:
    store.hdel(keys.totals_key(shop.customer.tag), "cust")


def _config_key(store: redis.Redis, shop: Shop) -> None:
    store.delete(keys.config_key(shop.customer.tag))


def _totals_key(store: redis.Redis, shop: Shop) -> None:
    store.delete(keys.totals_key(shop.customer.tag))


def _older(store: redis.Redis, shop: Shop) -> None:
    store.hincrby(keys.config_key(shop.customer.tag), "v", -1)


def _newer(store: redis.Redis, shop: Shop) -> None:
    store.hincrby(keys.totals_key(shop.customer.tag), "v", 1)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_credential, {"wrong": 1}),
        (_stranger, {"wrong": 1}),
        (_identity, {"wrong": 1}),
        (_total, {"wrong": 1}),
        (_config_key, {"lost": 1}),
        (_totals_key, {"lost": 1}),
        (_older, {"lost": 1}),
        (_newer, {"ahead": 1}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_one_lost_write_is_found_and_made_good(
    store: redis.Redis,
    shop: Shop,
    harm: Callable[[redis.Redis, Shop], None],
    said: dict[str, int],
) -> None:
    places = [
        keys.config_key(shop.customer.tag),
        keys.totals_key(shop.customer.tag),
        keys.identities_key(shop.tenant.tag),
    ]
    right = [store.hgetall(place) for place in places]
    harm(store, shop)
    assert drift.reconcile([shop.customer.pk]) == Drift(1, **said)
    assert [store.hgetall(place) for place in places] == right
    assert drift.reconcile([shop.customer.pk]) == Drift(1)


def test_a_revocation_that_the_edge_forgot_is_told_again(
    store: redis.Redis, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "ON_ITS_WAY", -projection.ON_ITS_WAY)
    place, digest = keys.service_keys_key(shop.tenant.tag), shop.service_key.digest
    live = store.hget(place, digest)
    service_keys.revoke(key=shop.service_key, actor=None)
    revoked = store.hget(place, digest)
    assert revoked != live
    assert live is not None
    store.hset(place, digest, live)
    tasks.project_changed()
    assert store.hget(place, digest) == revoked
    store.hset(place, digest, live)
    assert drift.reconcile([shop.customer.pk]) == Drift(1, service_keys=1)
    assert store.hget(place, digest) == revoked


@pytest.mark.django_db(transaction=True)
def test_a_restriction_under_way_is_waited_for_and_never_taken_back(
    store: redis.Redis,
) -> None:
    shop = make_shop(limits=LIMITS)
    tasks.project_changed()
    found: list[Drift] = []

    def compare() -> None:
        try:
            found.append(drift.reconcile([shop.customer.pk]))
        finally:
            connection.close()

    thread = threading.Thread(target=compare)
    with transaction.atomic():
        accounts.suspend_customer(customer=shop.customer, actor=None)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()  # It waits for what will be true.
    thread.join(30)
    assert found == [Drift(1)]
    told = store.hget(keys.config_key(shop.customer.tag), "cust")
    assert told is not None
    assert b"suspended" in told


def test_clocks_that_are_far_apart_are_said(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tasks.reconcile()
    assert "apart" not in caplog.text
    right: Any = redis.Redis.time
    ahead = lambda self: (right(self)[0] + 2, 0)  # noqa: E731
    monkeypatch.setattr(redis.Redis, "time", ahead)
    assert skew.measure().apart > skew.SKEW_MAX
    tasks.reconcile()
    assert "clocks of Redis and Postgres are" in caplog.text
