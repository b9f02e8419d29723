from __future__ import annotations

from typing import Any

import pytest
import redis

from aforo.core import service_keys
from aforo.lib import crypto, ids
from billing import accounts, credentials, subscriptions
from catalog.models import ProductType
from guard.tests.conftest import tell_edge
from guard.tests.doors import Asker, Door, basic
from tests.factories import Shop, make_shop


def test_an_allow_says_what_it_reserved_and_what_is_left(
    caller: Asker, shop: Shop
) -> None:
    reply = caller.ask(request_id="r1", estimate={"units": {"output_tokens": 1000}})
    assert reply.status == 200
    assert reply.json["decision"] == "allow"
    assert reply.json["customer_id"] == shop.customer.public_id
    assert reply.json["agent_id"] == shop.agent.public_id
    assert reply.json["subscription_id"] == shop.subscription.public_id
    assert reply.json["estimate"] == {
        "amount": "0.015",
        "currency": "USD",
        "defaulted": False,
    }
    assert reply.json["hold_id"].startswith(f"hld_{shop.customer.tag}")
    assert reply.headers["x-ratelimit-limit"] == "1000"
    assert reply.headers["x-ratelimit-remaining"] == "999"
    assert 1 <= int(reply.headers["x-ratelimit-reset"]) <= 61
    assert reply.headers["x-aforo-decision"] == reply.json["decision_id"]


def test_a_missing_estimate_is_the_plans_and_flagged(caller: Asker) -> None:
    assert caller.ask().json["estimate"] == {
        "amount": "0.01",
        "currency": "USD",
        "defaulted": True,
    }


BAD_CREDENTIALS = [
    ("none", ""),
    ("no scheme", "x"),
    ("not a key", "Bearer hello"),
    ("bad checksum", f"Bearer {crypto.mint_key('sk', 'live', 'a' * 12)[:-1]}#"),
    ("one letter off", "Bearer sk_live_abcdefghijkl_" + "a" * 49),
    ("unknown", f"Bearer {crypto.mint_key('sk', 'live', 'b' * 12)}"),
    ("unknown service key", f"Bearer {crypto.mint_key('svc', 'live', 'c' * 12)}"),
    ("secret as bearer", f"Bearer {crypto.mint_key('cs', 'live', 'd' * 12)}"),
    ("basic with a key", basic("agt_x", crypto.mint_key("sk", "live", "e" * 12))),
    ("unknown basic", basic("agt_x", crypto.mint_key("cs", "live", "f" * 12))),
]


@pytest.mark.parametrize(
    ("_case", "authorization"),
    BAD_CREDENTIALS,
    # The secrets are random; every process must give the tests the same names.
    ids=[case for case, _ in BAD_CREDENTIALS],
)
def test_bad_credentials_all_get_the_same_401(
    any_door: Door, shop: Shop, _case: str, authorization: str
) -> None:
    reply = Asker(any_door, authorization).ask()
    assert reply.status == 401
    assert reply.json == {
        "type": "https://aforo.dev/problems/invalid_credentials",
        "title": "Not authenticated",
        "status": 401,
        "code": "invalid_credentials",
        "detail": "the credentials are not valid",
    }
    assert reply.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_key_gets_the_same_401_at_once(caller: Asker, shop: Shop) -> None:
    assert caller.ask().status == 200
    credentials.revoke(credential=shop.credential, actor=None)
    reply = caller.ask()
    assert (reply.status, reply.code) == (401, "invalid_credentials")


def test_a_revoked_service_key_is_refused_within_a_second(
    gateway: Asker, shop: Shop
) -> None:
    from guard import door

    assert gateway.ask(customer_id=shop.customer.external_id).status == 200
    service_keys.revoke(key=shop.service_key, actor=None)
    # What a process believes for a second is over.
    door.memory().service_keys.clear()
    assert gateway.ask(customer_id=shop.customer.external_id).status == 401


@pytest.mark.parametrize(
    "name",
    ["customer_id", "agent_id", "team_id", "subscription_id", "tenant_id", "client_id"],
)
def test_ids_that_the_credential_does_not_have_are_404(
    caller: Asker, shop: Shop, name: str
) -> None:
    other = make_shop()
    tell_edge(other)
    foreign = {
        "customer_id": other.customer.public_id,
        "agent_id": other.agent.public_id,
        "team_id": other.team.public_id,
        "subscription_id": other.subscription.public_id,
        "tenant_id": other.tenant.public_id,
        "client_id": "agt_foreign",
    }[name]
    absent = caller.ask(**{name: "absent"})
    reply = caller.ask(**{name: foreign})
    expected = (
        (401, "invalid_credentials") if name == "client_id" else (404, "not_found")
    )
    assert (reply.status, reply.code) == expected
    assert reply.json == absent.json


@pytest.mark.parametrize("spelling", ["customer_id", "customerId"])
def test_a_gateway_names_the_payer_by_customer(
    gateway: Asker, shop: Shop, spelling: str
) -> None:
    for text in (shop.customer.public_id, shop.customer.external_id):
        reply = gateway.ask(**{spelling: text})
        assert reply.status == 200
        assert reply.json["customer_id"] == shop.customer.public_id


def test_a_gateway_names_the_payer_by_key_or_agent(gateway: Asker, shop: Shop) -> None:
    by_key = gateway.ask(api_key=shop.secret)
    by_agent = gateway.ask(agent_id=shop.agent.public_id)
    assert by_key.json["agent_id"] == by_agent.json["agent_id"] == shop.agent.public_id


def test_a_gateway_that_names_nobody_is_400(gateway: Asker) -> None:
    reply = gateway.ask(tool_name="x")
    assert (reply.status, reply.code) == (400, "payer_missing")


def test_a_gateway_needs_the_scope(any_door: Door, shop: Shop) -> None:
    _, secret = service_keys.issue(
        tenant=shop.tenant, name="reader", scopes=["read"], actor=None
    )
    tell_edge(shop)
    reply = Asker(any_door, f"Bearer {secret}").ask(api_key=shop.secret)
    assert (reply.status, reply.code) == (403, "scope_missing")


def test_a_gateway_reaches_no_other_tenant(gateway: Asker, shop: Shop) -> None:
    other = make_shop()
    tell_edge(other)
    for name, text in (
        ("customer_id", other.customer.public_id),
        ("customer_id", other.customer.external_id),
        ("agent_id", other.agent.public_id),
    ):
        reply = gateway.ask(**{name: text})
        assert (reply.status, reply.code) == (404, "not_found")
        assert reply.json == gateway.ask(**{name: "absent"}).json
    reply = gateway.ask(api_key=other.secret)
    unknown = gateway.ask(api_key=crypto.mint_key("sk", "live", other.customer.tag))
    assert reply.status == 401
    assert reply.json == unknown.json
    assert reply.json["field"] == "api_key"


def test_a_client_id_and_its_secret_are_one_caller(
    any_door: Door, shop: Shop, store: redis.Redis
) -> None:
    mine = make_shop(type=ProductType.AI_AGENT)
    tell_edge(mine)
    client_id = mine.credential.client_id
    assert client_id is not None
    caller = Asker(any_door, basic(client_id, mine.secret))
    assert caller.ask().json["agent_id"] == mine.agent.public_id
    wrong = Asker(any_door, basic("agt_other", mine.secret))
    assert wrong.ask().status == 401
    gateway = Asker(any_door, f"Bearer {mine.service_secret}")
    reply = gateway.ask(client_id=client_id)
    assert reply.json["agent_id"] == mine.agent.public_id
    assert gateway.ask(client_id="agt_none").status == 404


def test_a_suspended_customer_and_a_paused_agent_are_403(
    caller: Asker, shop: Shop
) -> None:
    accounts.pause_agent(agent=shop.agent, actor=None)
    reply = caller.ask()
    assert (reply.status, reply.code) == (403, "paused")
    assert reply.json["reason_code"] == "agent.paused"
    accounts.resume_agent(agent=shop.agent, actor=None)
    tell_edge(shop)
    assert caller.ask().status == 200
    accounts.suspend_customer(customer=shop.customer, actor=None)
    reply = caller.ask()
    assert (reply.status, reply.code) == (403, "suspended")


def test_a_product_outside_the_plan_is_403(caller: Asker) -> None:
    reply = caller.ask(product_id="other-product")
    assert (reply.status, reply.code) == (403, "not_entitled")


def test_a_paused_subscription_is_403(caller: Asker, shop: Shop) -> None:
    subscriptions.pause(subscription=shop.subscription, actor=None)
    reply = caller.ask()
    assert (reply.status, reply.code) == (403, "subscription_inactive")


def test_a_denial_says_which_limit_how_much_and_until_when(caller: Asker) -> None:
    assert caller.ask(estimate={"amount": "25"}).status == 200
    reply = caller.ask(estimate={"amount": "0.01"})
    assert (reply.status, reply.code) == (429, "spend_cap")
    assert reply.json["reason_code"] == "spend_cap.subscription.period"
    assert reply.json["detail"].startswith(
        "Blocked: plan spend cap. $25.00 of $25.00 used. Resets "
    )
    assert "00:00 UTC (in " in reply.json["detail"]
    wait = int(reply.headers["retry-after"])
    assert wait >= 1
    assert reply.json["retry_after"] == wait
    assert reply.json["limit"]["limit"] == "25"
    assert reply.json["limit"]["remaining"] == "0"
    assert reply.headers["x-ratelimit-limit"] == "25"
    assert reply.headers["x-ratelimit-remaining"] == "0"
    assert reply.json["decision_id"].startswith("dec_")


@pytest.mark.parametrize(
    "name", ["}", "{x}:cfg", "a\nb", "*", "') redis.call('flushall') --"]
)
def test_a_strange_name_is_data(
    caller: Asker, gateway: Asker, store: redis.Redis, name: str
) -> None:
    assert caller.ask(tool_name=name).status == 200
    assert caller.ask(agent_id=name).status == 404
    assert gateway.ask(customer_id=name).status == 404
    assert gateway.ask(client_id=name).status == 404
    assert caller.ask().status == 200


def test_ten_thousand_wrong_keys_end_in_429_and_the_valid_go_on(
    caller: Asker, any_door: Door
) -> None:
    wrong = Asker(any_door, f"Bearer {crypto.mint_key('sk', 'live', 'z' * 12)}")
    statuses = [wrong.ask().status for _ in range(110)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert wrong.ask().code == "too_many_attempts"
    assert caller.ask().status == 200


def test_a_secret_is_in_no_answer_and_no_key(
    gateway: Asker, shop: Shop, store: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    replies = [gateway.ask(api_key=shop.secret), gateway.ask(api_key=shop.secret + "x")]
    names: list[Any] = store.keys("*")
    dump = b"".join(store.dump(name) or b"" for name in names)
    for secret in (shop.secret, shop.service_secret):
        tail = secret[-40:].encode()
        assert all(tail not in reply.body for reply in replies)
        assert tail not in dump
        assert secret not in caplog.text


def test_an_id_of_ours_has_one_form(gateway: Asker, shop: Shop) -> None:
    text = shop.customer.public_id.upper()
    assert ids.parse_public("cus", text) is None
    assert gateway.ask(customer_id=text).status == 404
