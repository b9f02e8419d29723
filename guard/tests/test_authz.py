from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from aforo.lib import crypto
from guard import door, forwarding
from guard.engine.state import Quota
from guard.tests.conftest import tell_edge
from guard.tests.doors import Asker, Door, basic
from guard.tests.edge import Edge
from tests.factories import Shop, make_shop

# What gateways copy to the backend: each is always there.
COPIED = [
    "x-aforo-decision",
    "x-aforo-request-id",
    "x-aforo-hold-id",
    "x-aforo-customer-id",
    "x-aforo-agent-id",
    "x-aforo-tool-name",
    "x-aforo-throttle",
    "x-aforo-throttle-reason",
    "x-aforo-throttle-model",
    "x-aforo-degraded",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
]


def project(edge: Edge, **limits: Any) -> None:
    edge.config_version += 1
    edge.project(**limits)


def test_an_admission_is_headers_and_no_body(bob: Asker) -> None:
    reply = bob.authz(X_Request_Id="r1", X_Aforo_Tool_Name="search")
    assert (reply.status, reply.body) == (200, b"")
    assert all(name in reply.headers for name in COPIED)
    assert reply.headers["x-aforo-request-id"] == "r1"
    assert reply.headers["x-aforo-customer-id"] == "cus_bob"
    assert reply.headers["x-aforo-agent-id"] == "agt_1"
    assert reply.headers["x-aforo-tool-name"] == "search"
    assert reply.headers["x-aforo-hold-id"].startswith("hld_")
    assert reply.headers["x-aforo-throttle"] == ""


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PURGE", "OPTIONS"])
@pytest.mark.parametrize("below", ["", "/v1/chat/completions"])
def test_every_method_and_a_path_below_are_judged(
    bob: Asker, method: str, below: str
) -> None:
    reply = bob.authz(method=method, below=below, body=b"{not looked at")
    assert reply.status == 200


def test_a_request_without_an_id_is_told_what_its_event_must_carry(bob: Asker) -> None:
    reply = bob.authz()
    assert reply.headers["x-aforo-request-id"] == reply.headers["x-aforo-decision"]
    stands_in = bob.authz(X_Aforo_Correlation_Id="job")
    assert stands_in.headers["x-aforo-request-id"] == "job"
    used = bob.authz(X_Aforo_Correlation_Id="job")
    assert used.headers["x-aforo-request-id"] == used.headers["x-aforo-decision"]


def test_the_gateways_own_id_stands_before_x_request_id(bob: Asker) -> None:
    reply = bob.authz(X_Request_Id="clients", X_Aforo_Request_Id="gateways")
    assert reply.headers["x-aforo-request-id"] == "gateways"


def test_estimate_and_ceiling_are_headers(bob: Asker, edge: Edge) -> None:
    project(edge, spend_cap=100_000)
    units = "input_tokens=1000, output_tokens=1000"
    assert bob.authz(X_Aforo_Estimate_Units=units).status == 200
    assert bob.authz(X_Aforo_Estimate="0.082").status == 200
    reply = bob.authz(X_Aforo_Estimate="0.001")
    assert (reply.status, reply.code) == (429, "spend_cap")
    assert reply.json["limit"]["used"] == "0.1"
    reply = bob.authz(X_Aforo_Estimate="0.0000001", X_Aforo_Ceiling="0")
    assert reply.status == 429


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X_Aforo_Estimate", "-1"),
        ("X_Aforo_Estimate", "much"),
        ("X_Aforo_Estimate_Tokens", "many"),
        ("X_Aforo_Estimate_Units", "input_tokens"),
        ("X_Aforo_Ceiling", "NaN"),
        ("X_Aforo_Model", "m" * 256),
        ("X_Aforo_Request_Id", "\xe9"),
    ],
)
def test_what_a_gateway_says_wrongly_is_refused(
    bob: Asker, name: str, value: str
) -> None:
    headers: dict[str, Any] = {name: value}
    assert bob.authz(**headers).status == 403


def test_a_refusal_has_status_wait_and_problem(bob: Asker, edge: Edge) -> None:
    project(edge, requests_per_minute=1)
    assert bob.authz().status == 200
    reply = bob.authz()
    assert (reply.status, reply.code) == (429, "rate_limited")
    assert 1 <= int(reply.headers["retry-after"]) <= 61
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-ratelimit-remaining"] == "0"
    assert reply.json["reason_code"] == "requests.subscription.minute"


def test_nginx_gets_403_and_the_rest_in_headers(bob: Asker, edge: Edge) -> None:
    project(edge, requests_per_minute=1)
    assert bob.authz(query="deny=403").status == 200
    reply = bob.authz(query="deny=403")
    assert reply.status == 403
    assert reply.headers["x-aforo-status"] == "429"
    assert 1 <= int(reply.headers["retry-after"]) <= 61
    told = json.loads(reply.headers["x-aforo-problem"])
    assert (told["status"], told["code"]) == (429, "rate_limited")
    assert told["limit"]["limit"] == 1
    assert bob.authz(query="deny=403", below="/x").status == 429  # Somebody else's.


def test_an_unknown_key_is_401_also_for_nginx(any_door: Door, edge_key: str) -> None:
    nobody = Asker(any_door, f"Bearer {crypto.mint_key('sk', 'live', 'a' * 12)}")
    nobody_at_all = Asker(any_door, "")
    door.memory().absent.put("a" * 12, True)
    for query in ("", "deny=403"):
        for asker in (nobody, nobody_at_all):
            reply = asker.authz(query=query)
            assert (reply.status, reply.code) == (401, "invalid_credentials")


def test_other_refusals_are_403(bob: Asker, edge: Edge) -> None:
    assert bob.authz(X_Aforo_Product_Id="other").status == 403
    assert bob.authz(X_Aforo_Agent_Id="other").status == 403
    assert bob.authz(X_Aforo_Estimate="9007199254.740993").status == 403
    project(edge, agent={"state": "paused"})
    reply = bob.authz()
    assert (reply.status, reply.code) == (403, "paused")


def test_what_the_client_says_of_the_answer_is_not_followed(bob: Asker) -> None:
    reply = bob.authz(
        X_Aforo_Throttle="true",
        X_Aforo_Throttle_Model="cheap",
        X_Aforo_Degraded="true",
        X_Aforo_Decision="dec_mine",
        X_Aforo_Hold_Id="hld_mine",
        X_Aforo_Status="200",
        X_RateLimit_Remaining="7",
    )
    assert reply.status == 200
    assert reply.headers["x-aforo-throttle"] == ""
    assert reply.headers["x-aforo-throttle-model"] == ""
    assert reply.headers["x-aforo-degraded"] == ""
    assert reply.headers["x-aforo-decision"] != "dec_mine"
    assert reply.headers["x-aforo-hold-id"] != "hld_mine"
    assert reply.headers["x-ratelimit-remaining"] != "7"


def test_a_throttle_is_told_to_the_gateway(bob: Asker, edge: Edge) -> None:
    quota = Quota(metric="tokens", limit=10, on_exceed="throttle")
    project(edge, quotas=(quota,), throttle_model="gpt-4o-mini")
    reply = bob.authz(X_Aforo_Estimate_Tokens="11")
    assert reply.status == 200
    assert reply.headers["x-aforo-throttle"] == "true"
    assert reply.headers["x-aforo-throttle-reason"] == "quota.subscription.period"
    assert reply.headers["x-aforo-throttle-model"] == "gpt-4o-mini"


def test_the_key_may_be_in_x_api_key(any_door: Door, edge_key: str) -> None:
    own = Asker(any_door, "")
    assert own.authz(X_API_Key=edge_key).status == 200
    # The seller's own token is beside it.
    assert Asker(any_door, "Bearer eyJhbGciOi").authz(X_API_Key=edge_key).status == 200
    same = Asker(any_door, f"Bearer {edge_key}")
    assert same.authz(X_API_Key=edge_key).status == 200
    other = crypto.mint_key("sk", "live", "b" * 12)
    assert same.authz(X_API_Key=other).status == 401


MCP: dict[str, Any] = {"Mcp_Method": "tools/call", "MCP_Protocol_Version": "2026-07-28"}


@pytest.mark.parametrize(
    ("headers", "tool"),
    [
        ({**MCP, "Mcp_Name": "search"}, "search"),
        ({**MCP, "Mcp_Name": "db/read.query-1"}, "db/read.query-1"),
        ({**MCP, "Mcp_Name": "a b\tc"}, "a_b_c"),
        (
            {
                **MCP,
                "Mcp_Name": f"=?base64?{base64.b64encode(b'finde').decode()}?=",
            },
            "finde",
        ),
        ({**MCP, "Mcp_Name": "=?base64?!!!?="}, "__base64______"),
        ({**MCP, "Mcp_Name": "x" * 200}, "x" * 128),
        # An older server does not compare the header with the body.
        ({**MCP, "MCP_Protocol_Version": "2025-06-18", "Mcp_Name": "cheap"}, ""),
        ({**MCP, "MCP_Protocol_Version": "9", "Mcp_Name": "cheap"}, ""),
        ({**MCP, "Mcp_Method": "tools/list", "Mcp_Name": "cheap"}, ""),
        ({**MCP, "Mcp_Name": "search", "X_Aforo_Tool_Name": "own"}, "own"),
    ],
)
def test_the_tool_is_read_where_it_can_be_believed(
    bob: Asker, headers: dict[str, Any], tool: str
) -> None:
    assert bob.authz(**headers).headers["x-aforo-tool-name"] == tool


def read(headers: Mapping[str, str], path: str = "/v1/authz") -> forwarding.Forwarded:
    return forwarding.read(headers, method="GET", path=path)


@pytest.mark.parametrize(
    ("headers", "path", "route"),
    [
        ({}, "/v1/authz", ""),
        (
            {"x-original-method": "POST", "x-original-uri": "/search?q=secret"},
            "/v1/authz",
            "POST /search",
        ),
        (
            {"x-forwarded-method": "PUT", "x-forwarded-uri": "/a/b"},
            "/v1/authz",
            "PUT /a/b",
        ),
        ({}, "/v1/authz/a/b", "GET /a/b"),
        ({}, "/v1/authz/a\x00b", "GET /a_b"),
        ({"x-original-uri": f"/{'y' * 500}"}, "/v1/authz", f"GET /{'y' * 199}"),
    ],
)
def test_the_route_is_kept_without_its_query(
    headers: dict[str, str], path: str, route: str
) -> None:
    assert read(headers, path).ask.route == route


def test_a_key_in_the_route_is_not_kept() -> None:
    key = crypto.mint_key("sk", "live", "a" * 12)
    assert key[-43:] not in read({"x-original-uri": f"/k/{key}"}).ask.route


def test_the_session_is_ours_before_mcps() -> None:
    both = {"x-aforo-session": "ours", "mcp-session-id": "theirs"}
    assert read(both).ask["session_id"] == "ours"
    assert read({"mcp-session-id": "theirs"}).ask["session_id"] == "theirs"


def test_a_refused_request_is_journaled_with_its_route(
    bob: Asker, edge: Edge, settings: Any
) -> None:
    project(edge, requests_per_minute=0)
    bob.authz(X_Original_Method="POST", X_Original_URI="/search?x=1")
    door.journal()._opened = 0.0
    door.journal().rotate()
    (spool,) = settings.GUARD_JOURNAL_DIR.iterdir()
    notes = [msgspec.json.decode(line) for line in spool.read_bytes().splitlines()]
    assert notes[0]["inputs"]["route"] == "POST /search"


def test_a_plan_that_lets_nothing_pass_is_a_refusal(bob: Asker, edge: Edge) -> None:
    project(edge, on_outage="closed")
    assert bob.authz().status == 200
    door.memory().breaker.is_open = True
    door.memory().changes.put("all", {})
    reply = bob.authz()
    door.recovery().stop()
    door.memory().breaker.close()
    # 503 would have Envoy and nginx let it pass.
    assert (reply.status, reply.code) == (429, "guard_unavailable")
    assert reply.headers["retry-after"]


class TestServiceKey:
    def test_a_callers_own_credential_names_the_payer(
        self, any_door: Door, shop: Shop
    ) -> None:
        caller = Asker(any_door, f"Bearer {shop.secret}")
        reply = caller.authz(X_Aforo_Service_Key=shop.service_secret)
        assert reply.headers["x-aforo-customer-id"] == shop.customer.public_id
        assert reply.headers["x-aforo-agent-id"] == shop.agent.public_id
        other = make_shop()
        tell_edge(other)
        # Nobody else can be named beside it.
        reply = caller.authz(
            X_Aforo_Service_Key=shop.service_secret,
            X_Aforo_Customer_Id=other.customer.public_id,
        )
        assert reply.status == 403

    def test_a_foreign_caller_is_401(self, any_door: Door, shop: Shop) -> None:
        other = make_shop()
        tell_edge(other)
        caller = Asker(any_door, f"Bearer {other.secret}")
        assert caller.authz().status == 200
        reply = caller.authz(X_Aforo_Service_Key=shop.service_secret)
        assert reply.status == 401

    def test_a_gateway_may_name_the_payer_itself(
        self, any_door: Door, shop: Shop
    ) -> None:
        for asker, key in (
            (Asker(any_door, ""), shop.service_secret),
            (Asker(any_door, f"Bearer {shop.service_secret}"), None),
        ):
            reply = asker.authz(
                X_Aforo_Service_Key=key, X_Aforo_Customer_Id=shop.customer.external_id
            )
            assert reply.status == 200
            assert reply.headers["x-aforo-customer-id"] == shop.customer.public_id
            assert asker.authz(X_Aforo_Service_Key=key).status == 401

    def test_without_it_a_name_alone_opens_nothing(
        self, any_door: Door, shop: Shop
    ) -> None:
        nobody = Asker(any_door, "")
        assert nobody.authz(X_Aforo_Customer_Id=shop.customer.public_id).status == 401

    def test_an_unknown_one_is_401(self, any_door: Door, shop: Shop) -> None:
        wrong = crypto.mint_key("svc", "live", shop.tenant.tag)
        caller = Asker(any_door, f"Bearer {shop.secret}")
        assert caller.authz(X_Aforo_Service_Key=wrong).status == 401
        assert caller.authz(X_Aforo_Service_Key="x").status == 401

    def test_a_client_id_with_its_secret(self, any_door: Door, shop: Shop) -> None:
        from catalog.models import ProductType

        agent = make_shop(type=ProductType.AI_AGENT)
        tell_edge(agent)
        client_id = agent.credential.client_id or ""
        caller = Asker(any_door, basic(client_id, agent.secret))
        for key in (None, agent.service_secret):
            reply = caller.authz(X_Aforo_Service_Key=key)
            assert reply.headers["x-aforo-agent-id"] == agent.agent.public_id
