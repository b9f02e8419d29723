from __future__ import annotations

import gzip
import json

import pytest

from guard.engine.state import Quota
from guard.tests.doors import Asker
from guard.tests.edge import Edge


def test_an_empty_object_is_enough(bob: Asker) -> None:
    assert bob.raw(b"{}").status == 200


@pytest.mark.parametrize(
    ("_case", "body", "code"),
    [
        ("empty", b"", "invalid_body"),
        ("null", b"null", "invalid_body"),
        ("a list", b"[]", "invalid_body"),
        ("a text", b'"x"', "invalid_body"),
        ("cut", b'{"a', "invalid_json"),
        ("trailing", b"{} {}", "invalid_json"),
        ("UTF-16", "{}".encode("utf-16"), "invalid_json"),
        ("BOM", b"\xef\xbb\xbf{}", "invalid_json"),
        ("NaN", b'{"ceiling": NaN}', "invalid_json"),
        ("duplicate", b'{"model": "a", "model": "b"}', "duplicate_key"),
        ("two spellings", b'{"agentId": "a", "agent_id": "b"}', "duplicate_key"),
        ("deep", b"[" * 100_000, "too_deep"),
        ("huge number", b'{"ceiling": 1e400}', "number_out_of_range"),
        ("unknown", b'{"price": 1}', "unknown_field"),
        ("unknown inside", b'{"estimate": {"cost": 1}}', "unknown_field"),
        ("a number as text", b'{"agent_id": 5}', "invalid_field"),
        ("an empty text", b'{"tool_name": ""}', "invalid_field"),
        ("a long text", b'{"model": "%s"}' % (b"x" * 256), "invalid_field"),
        ("NUL", b'{"model": "a\\u0000"}', "invalid_field"),
        ("request id", '{"request_id": "é"}'.encode(), "invalid_request_id"),
        ("request id newline", b'{"request_id": "a\\nb"}', "invalid_request_id"),
        ("negative", b'{"estimate": {"amount": -1}}', "invalid_estimate"),
        ("negative text", b'{"estimate": {"amount": "-1"}}', "invalid_estimate"),
        ("NaN text", b'{"estimate": {"amount": "NaN"}}', "invalid_estimate"),
        ("a flag", b'{"estimate": {"tokens": true}}', "invalid_estimate"),
        (
            "too much",
            b'{"estimate": {"amount": 9007199254.740993}}',
            "invalid_estimate",
        ),
        ("too many", b'{"estimate": {"tokens": 9007199254740993}}', "invalid_estimate"),
        ("bad units", b'{"estimate": {"units": []}}', "invalid_estimate"),
        ("bad estimate", b'{"estimate": 5}', "invalid_estimate"),
        ("bad ceiling", b'{"ceiling": -0.1}', "invalid_estimate"),
        (
            "priced above 2^52",
            b'{"estimate": {"units": {"output_tokens": 4503599627370496}}}',
            "invalid_estimate",
        ),
    ],
)
def test_a_malformed_body_is_400(
    bob: Asker, _case: str, body: bytes, code: str
) -> None:
    reply = bob.raw(body)
    assert (reply.status, reply.code) == (400, code)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["type"].endswith(code)


def test_the_field_at_fault_is_named(bob: Asker) -> None:
    assert bob.ask(cost_override=1).json["field"] == "cost_override"
    assert bob.ask(estimate={"units": {"x": -1}}).json["field"] == "estimate.units.x"


@pytest.mark.parametrize(
    "query", ["api_key=x", "k=sk_live_abcdefghijkl_x", "access_token=abc"]
)
def test_a_key_in_the_address_is_refused(bob: Asker, query: str) -> None:
    reply = bob.raw(b"{}", query=query)
    assert (reply.status, reply.code) == (401, "key_in_url")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "TRACE", "PATCH"])
def test_another_method_is_405_with_allow(bob: Asker, method: str) -> None:
    reply = bob.raw(b"", method=method)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("method", ["OPTIONS"])
def test_options_shows_nothing(bob: Asker, method: str) -> None:
    assert bob.raw(b"", method=method).status == 405


def test_a_method_override_is_ignored(bob: Asker) -> None:
    reply = bob.raw(b"{}", X_HTTP_Method_Override="DELETE")
    assert reply.status == 200


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/json; charset=latin-1"]
)
def test_another_content_type_is_415(bob: Asker, content_type: str | None) -> None:
    reply = bob.raw(b"{}", Content_Type=content_type)
    assert (reply.status, reply.code) == (415, "unsupported_media_type")


def test_a_gzip_body_is_read_and_a_bomb_refused(bob: Asker) -> None:
    packed = gzip.compress(b'{"tool_name": "x"}')
    assert bob.raw(packed, Content_Encoding="gzip").status == 200
    bomb = gzip.compress(b" " * 2_000_000)
    reply = bob.raw(bomb, Content_Encoding="gzip")
    assert (reply.status, reply.code) == (413, "body_too_large")


def test_a_body_over_a_mebibyte_is_413(bob: Asker) -> None:
    reply = bob.raw(b'{"model": "' + b"x" * 1_100_000 + b'"}')
    assert (reply.status, reply.code) == (413, "body_too_large")


def test_headers_over_16_kilobytes_are_431(bob: Asker) -> None:
    assert bob.raw(b"{}", X_Long="y" * 20_000).status == 431


def test_both_lengths_are_400(bob: Asker) -> None:
    reply = bob.raw(b"{}", Content_Length="2", Transfer_Encoding="chunked")
    assert (reply.status, reply.code) == (400, "invalid_headers")


def test_a_replay_is_the_same_answer(bob: Asker, edge: Edge) -> None:
    edge.config_version = 2
    edge.project(spend_cap=25_000_000)
    first = bob.ask(request_id="r", estimate={"amount": "20"})
    again = bob.ask(request_id="r", estimate={"amount": "20"})
    assert again.json["replayed"]
    for name in ("decision", "decision_id", "hold_id", "hold_expires_at"):
        assert again.json[name] == first.json[name]
    assert bob.ask(estimate={"amount": "5"}).status == 200


def test_a_correlation_id_stands_in_once(bob: Asker) -> None:
    first = bob.ask(correlationId="c")
    again = bob.ask(correlationId="c")
    assert first.json["decision_id"] != again.json["decision_id"]
    assert not again.json["replayed"]


def test_an_unlimited_caller_gets_the_headers_too(bob: Asker) -> None:
    headers = bob.raw(b"{}").headers
    assert headers["x-ratelimit-limit"] == headers["x-ratelimit-remaining"]
    assert int(headers["x-ratelimit-limit"]) == 2**53 - 1


def test_a_throttle_goes_on_and_says_so(bob: Asker, edge: Edge) -> None:
    edge.config_version = 2
    quota = Quota(metric="tokens", limit=10, on_exceed="throttle")
    edge.project(quotas=(quota,), throttle_model="gpt-4o-mini")
    reply = bob.ask(estimate={"tokens": 11})
    assert (reply.status, reply.json["decision"]) == (200, "throttle")
    assert reply.headers["x-aforo-throttle"] == "true"
    assert reply.headers["x-aforo-throttle-reason"] == "quota.subscription.period"
    assert reply.headers["x-aforo-throttle-model"] == "gpt-4o-mini"
    assert reply.json["throttle_model"] == "gpt-4o-mini"
    assert reply.json["detail"].startswith("Throttled: tokens quota of the period.")


def test_a_rate_is_told_in_words(bob: Asker, edge: Edge) -> None:
    edge.config_version = 2
    edge.project(requests_per_minute=1)
    bob.raw(b"{}")
    reply = bob.raw(b"{}")
    assert (reply.status, reply.code) == (429, "rate_limited")
    assert reply.json["detail"].startswith(
        "Blocked: requests per minute. 1 of 1 used. Resets "
    )
    assert 1 <= int(reply.headers["retry-after"]) <= 61


def test_an_empty_wallet_is_told_without_a_window(bob: Asker, edge: Edge) -> None:
    edge.config_version = 2
    edge.project(wallet=True)
    reply = bob.ask(estimate={"amount": "0.5"})
    assert (reply.status, reply.code) == (429, "insufficient_credit")
    assert reply.headers["retry-after"] == "60"
    assert reply.headers["x-ratelimit-reset"] == "60"


def test_a_ceiling_is_kept(bob: Asker) -> None:
    reply = bob.ask(estimate={"amount": "0.02"}, ceiling="0.01")
    assert (reply.status, reply.code) == (429, "ceiling_exceeded")
    assert reply.headers["retry-after"] == "60"


@pytest.mark.parametrize(
    "header",
    [
        {"X_Forwarded_For": "1.2.3.4"},
        {"X_Real_IP": "1.2.3.4"},
        {"Forwarded": "for=1.2.3.4"},
        {"X_Api_Key": "sk_other"},
        {"aUtHoRiZaTiOn": None},
    ],
)
def test_no_header_gives_another_identity(
    bob: Asker, edge: Edge, header: dict[str, str | None]
) -> None:
    edge.config_version = 2
    edge.project(requests_per_minute=1)
    tricks = {k: v or bob.authorization for k, v in header.items()}
    assert bob.raw(b"{}").status == 200
    assert bob.raw(b"{}", **tricks).status in {400, 429}


def test_openapi_documents_every_member() -> None:
    from drf_spectacular.generators import SchemaGenerator

    schema = SchemaGenerator().get_schema(request=None, public=True)
    operation = schema["paths"]["/v1/check"]["post"]
    shown = json.dumps(operation) + json.dumps(schema["components"]["schemas"])
    from guard.asking import TEXTS

    assert all(f'"{name}"' in shown for name in (*TEXTS, "estimate", "ceiling"))
    assert set(operation["responses"]) >= {"200", "400", "401", "403", "404", "429"}
