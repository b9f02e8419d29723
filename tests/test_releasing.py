"""Releases over both doors, and a hold's whole life with real rated usage."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
import redis

from aforo.core import service_keys
from aforo.lib import crypto
from guard import door, projection, releasing
from guard.engine import keys
from guard.engine.hold import HoldId
from guard.tests.conftest import LIMITS, tell_edge
from guard.tests.doors import Asker, Door, Reply
from metering import pipeline
from tests.factories import Shop, make_shop, store_event

# 1,000 output tokens cost 0.015; the cap of 25.00 bounds everything.
CALL = {"units": {"output_tokens": 1000}}


def reserve(gateway: Asker, shop: Shop, **members: Any) -> Reply:
    reply = gateway.ask(customer_id=shop.customer.external_id, **members)
    assert reply.status == 200
    return reply


def spent(gateway: Asker, shop: Shop) -> Decimal:
    """Return what the cap counts before this call, which reserves nothing."""
    asked = {"customer_id": shop.customer.external_id, "estimate": {"amount": "0"}}
    limits = gateway.ask(**asked).json["limits"]
    return next(
        Decimal(one["used"]) for one in limits if one["name"].startswith("spend_cap")
    )


def test_a_hold_is_released_by_its_id_once(gateway: Asker, shop: Shop) -> None:
    told = reserve(gateway, shop, request_id="r", estimate={"amount": "5"}).json
    assert spent(gateway, shop) == 5
    reply = gateway.release(told["hold_id"])
    assert (reply.status, reply.json) == (
        200,
        {"hold_id": told["hold_id"], "status": "released", "already_released": False},
    )
    again = gateway.release(told["hold_id"])
    assert (again.status, again.json["already_released"]) == (200, True)
    assert spent(gateway, shop) == 0
    assert reserve_again(gateway, shop) == 409


def reserve_again(gateway: Asker, shop: Shop) -> int:
    return gateway.ask(customer_id=shop.customer.external_id, request_id="r").status


def test_a_hold_is_released_by_its_request_id(gateway: Asker, shop: Shop) -> None:
    reserve(gateway, shop, request_id="r", estimate={"amount": "5"})
    payer = {"customer_id": shop.customer.public_id}
    assert gateway.release(request_id="other", **payer).status == 404
    assert gateway.release(request_id="r", **payer).status == 200
    by_key = gateway.release(request_id="r", api_key=shop.secret)
    assert by_key.json["already_released"]
    assert spent(gateway, shop) == 0


def test_a_hold_is_released_by_its_decision(gateway: Asker, shop: Shop) -> None:
    payer = {"customer_id": shop.customer.public_id}
    named = reserve(gateway, shop, request_id="r").json["decision_id"]
    bare = reserve(gateway, shop).json["decision_id"]
    assert gateway.release(named, **payer).status == 404
    assert gateway.release(bare, request_id="r", **payer).status == 404
    assert gateway.release(named, request_id="r", **payer).status == 200
    assert gateway.release(bare, **payer).status == 200


def test_a_hold_id_and_another_request_do_not_go_together(
    gateway: Asker, shop: Shop
) -> None:
    hold_id = reserve(gateway, shop, request_id="r").json["hold_id"]
    assert gateway.release(hold_id, request_id="s").status == 404
    assert gateway.release(hold_id, request_id="r").status == 200


def test_what_authz_told_releases_too(any_door: Door, shop: Shop) -> None:
    caller = Asker(any_door, f"Bearer {shop.secret}")
    gateway = Asker(any_door, f"Bearer {shop.service_secret}")
    told = caller.authz(X_Request_Id="r", X_Aforo_Estimate="5").headers
    assert spent(gateway, shop) == 5
    assert gateway.release(told["x-aforo-hold-id"]).status == 200
    assert spent(gateway, shop) == 0


def test_only_a_service_key_with_the_scope_releases(
    any_door: Door, gateway: Asker, shop: Shop
) -> None:
    hold_id = reserve(gateway, shop).json["hold_id"]
    _, reader = service_keys.issue(
        tenant=shop.tenant, name="reader", scopes=["read"], actor=None
    )
    tell_edge(shop)
    for secret in (shop.secret, reader):
        reply = Asker(any_door, f"Bearer {secret}").release(hold_id)
        assert (reply.status, reply.code) == (403, "scope_missing")
    unknown = crypto.mint_key("svc", "live", shop.tenant.tag)
    for secret in (unknown, "x"):
        assert Asker(any_door, f"Bearer {secret}").release(hold_id).status == 401
    assert gateway.release(hold_id).json["already_released"] is False


def test_another_tenants_hold_is_as_absent_as_none(
    any_door: Door, gateway: Asker, shop: Shop
) -> None:
    other = make_shop(limits=LIMITS)
    tell_edge(other)
    theirs = Asker(any_door, f"Bearer {other.service_secret}")
    hold_id = reserve(theirs, other, request_id="r").json["hold_id"]
    absent = gateway.release(str(HoldId(shop.customer.tag, bytes(16))))
    assert absent.status == 404
    for reply in (
        gateway.release(hold_id),
        gateway.release(hold_id[:-1] + "x"),
        gateway.release("hld_x"),
        gateway.release("r"),
        gateway.release(request_id="r", customer_id=other.customer.public_id),
        gateway.release(str(HoldId(crypto.new_tag(), bytes(16)))),
    ):
        assert (reply.status, reply.json) == (404, absent.json)
    reply = gateway.release(request_id="r", api_key=other.secret)
    assert reply.status == 404
    assert theirs.release(hold_id).json["already_released"] is False


def test_what_names_nothing_is_400(gateway: Asker, shop: Shop) -> None:
    assert gateway.release().status == 400
    assert gateway.release(request_id="r").code == "payer_missing"
    reply = gateway.release(request_id="r", estimate={"amount": "1"})
    assert reply.status in {400, 404}
    reply = gateway.release(request_id="r", tool_name="x")
    assert (reply.status, reply.code, reply.json["field"]) == (
        400,
        "unknown_field",
        "tool_name",
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/holds/release", ""),
        ("/v1/holds/hld_x/release", "hld_x"),
        ("/v1/holds/", None),
        ("/v1/holds/hld_x", None),
        ("/v1/holds//release", None),
        ("/v1/holds/a/b/release", None),
        ("/v1/holds/hld_x/release/", None),
    ],
)
def test_the_id_stands_in_the_address(path: str, name: str | None) -> None:
    assert releasing.name_in(path) == name


def test_a_store_that_is_away_is_503(gateway: Asker, shop: Shop) -> None:
    hold_id = reserve(gateway, shop).json["hold_id"]
    door.memory().breaker.is_open = True
    reply = gateway.release(hold_id)
    door.recovery().stop()
    door.memory().breaker.close()
    assert (reply.status, reply.code) == (503, "guard_unavailable")
    assert reply.headers["retry-after"] == "1"
    assert gateway.release(hold_id).status == 200


def use(shop: Shop, request_id: str, tokens: int = 400) -> None:
    """Rate usage of a call, and tell the edge."""
    store_event(shop, {"output_tokens": tokens}, request_id=request_id)
    pipeline.rate()
    projection.project(shop.customer.pk)


def pass_time(store: redis.Redis, shop: Shop) -> None:
    """Make open holds as old as a day makes them; no product has a call so short."""
    day = 24 * 3600 * 1000
    holds, ends = keys.customer_keys(shop.customer.tag)[2:4]
    fields: Any = store.hgetall(holds)
    for name, raw in fields.items():
        if name == b"p" or raw == b"u":
            continue
        hold = msgspec.msgpack.decode(raw)
        hold["e"] -= day
        store.hset(holds, name, msgspec.msgpack.encode(hold))
        store.zadd(ends, {name: hold["e"]})


class TestAHoldsLife:
    def test_the_event_settles_it(self, gateway: Asker, shop: Shop) -> None:
        hold_id = reserve(gateway, shop, request_id="r", estimate=CALL).json["hold_id"]
        assert spent(gateway, shop) == Decimal("0.015")
        use(shop, "r")
        assert spent(gateway, shop) == Decimal("0.006")
        reply = gateway.release(hold_id)
        assert (reply.status, reply.code) == (409, "request_id_used")
        assert spent(gateway, shop) == Decimal("0.006")

    def test_the_event_may_come_before_the_check(
        self, gateway: Asker, shop: Shop
    ) -> None:
        use(shop, "r")
        assert reserve_again(gateway, shop) == 409
        assert spent(gateway, shop) == Decimal("0.006")

    def test_the_event_may_come_after_its_end(
        self, gateway: Asker, shop: Shop, store: redis.Redis
    ) -> None:
        hold_id = reserve(gateway, shop, request_id="r", estimate=CALL).json["hold_id"]
        pass_time(store, shop)
        assert gateway.release(hold_id).status == 409
        assert spent(gateway, shop) == 0
        use(shop, "r")
        assert spent(gateway, shop) == Decimal("0.006")

    def test_the_event_may_come_after_a_release(
        self, gateway: Asker, shop: Shop
    ) -> None:
        hold_id = reserve(gateway, shop, request_id="r", estimate=CALL).json["hold_id"]
        gateway.release(hold_id)
        use(shop, "r")
        assert spent(gateway, shop) == Decimal("0.006")
        assert gateway.release(hold_id).status == 409

    def test_two_events_of_one_call_give_back_once(
        self, gateway: Asker, shop: Shop
    ) -> None:
        reserve(gateway, shop, request_id="r", estimate=CALL)
        reserve(gateway, shop, request_id="s", estimate=CALL)
        use(shop, "r")
        use(shop, "r")
        assert spent(gateway, shop) == Decimal("0.027")

    def test_the_event_may_never_come(
        self, gateway: Asker, shop: Shop, store: redis.Redis
    ) -> None:
        reserve(gateway, shop, request_id="r", estimate=CALL)
        assert spent(gateway, shop) == Decimal("0.015")
        pass_time(store, shop)
        assert spent(gateway, shop) == 0
        assert reserve_again(gateway, shop) == 409
