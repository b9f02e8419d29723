from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.db import connection

from aforo.core import service_keys
from aforo.lib import clock, crypto, ids
from billing import credentials
from metering import directory
from metering.tests.conftest import Door, Reply, Seller

COMPOUND = b"""{"eventType": "llm.completion", "customerId": "cust_abc",
 "properties": {"model": "claude-sonnet-4-6", "requestType": "standard"},
 "measurements": [{"metricKey": "input_tokens", "value": 1500}, {"metricKey": "output_tokens", "value": 800}, {"metricKey": "cache_read_tokens", "value": 500}],
 "correlationId": "req_abc123"}"""  # noqa: E501 - byte for byte as documented


def test_the_compound_sample_is_accepted_byte_for_byte(
    door: Door, seller: Seller
) -> None:
    reply = door.post(seller, COMPOUND)
    assert reply.code == (200, "accepted")
    assert reply.json["flags"] == ["time_defaulted", "derived_id"]
    [event] = seller.stored()
    assert reply.json["id"] == ids.public("evt", event.id)
    assert event.body["measurements"] == {
        "input_tokens": "1500",
        "output_tokens": "800",
        "cache_read_tokens": "500",
    }
    assert door.post(seller, COMPOUND).code == (200, "duplicate")
    assert len(seller.stored()) == 1


def test_the_minimal_tool_sample_is_accepted_and_its_id_minted(
    door: Door, seller: Seller
) -> None:
    sample = {
        "api_key": seller.secret,
        "tool_name": "read_query",
        "agent_id": "agent-7",
        "session_id": "s-1",
        "timestamp": (clock.now() - dt.timedelta(hours=1)).isoformat(),
    }
    first, second = door.post(seller, sample), door.post(seller, sample)
    assert first.code == second.code == (200, "accepted")
    assert first.json["flags"] == ["not_deduplicated"]
    assert first.json["event_id"] != second.json["event_id"]
    event = seller.stored()[0]
    assert (event.event_type, event.tool_name) == ("mcp.tool_invoked", "read_query")
    assert event.agent == seller.agent
    assert event.team == seller.team
    assert event.product == seller.product
    assert event.body["measurements"] == {"tool_calls": "1"}
    assert seller.secret not in json.dumps(event.body)


BODIES: list[tuple[str, bytes, tuple[int, str]]] = [
    ("empty", b"", (400, "invalid_body")),
    ("blank", b" \n", (400, "invalid_body")),
    ("null", b"null", (400, "invalid_body")),
    ("empty list", b"[]", (400, "invalid_body")),
    ("empty object", b"{}", (400, "invalid_body")),
    ("text", b'"x"', (400, "invalid_body")),
    ("number", b"12", (400, "invalid_body")),
    ("events is no list", b'{"events": {}}', (400, "invalid_body")),
    ("truncated", COMPOUND[:-1], (400, "invalid_json")),
    ("trailing bytes", COMPOUND + b"x", (400, "invalid_json")),
    ("UTF-16", COMPOUND.decode().encode("utf-16"), (400, "invalid_json")),
    ("byte order mark", b"\xef\xbb\xbf" + COMPOUND, (400, "invalid_json")),
    ("NaN", COMPOUND.replace(b"1500", b"NaN"), (400, "invalid_json")),
    ("lone surrogate", b'{"eventId": "\\ud800"}', (400, "invalid_json")),
    ("duplicate key", b'{"eventId": "a", "eventId": "a"}', (400, "duplicate_key")),
    (
        "duplicate events",
        b'{"events": [{"eventId": "a"}], "events": [{"eventId": "a"}]}',
        (400, "duplicate_key"),
    ),
    ("100,000 brackets", b"[" * 100_000, (400, "too_deep")),
    ("17 levels", b"[" * 17 + b"]" * 17, (400, "too_deep")),
    ("1e400", COMPOUND.replace(b"1500", b"1e400"), (400, "number_out_of_range")),
    (
        "5,000 digits",
        COMPOUND.replace(b"1500", b"9" * 5000),
        (400, "number_out_of_range"),
    ),
    ("no events", b'{"events": []}', (400, "no_events")),
    ("1,001 events", b"[" + b"{}," * 1000 + b"{}]", (413, "too_many_events")),
    ("over 1 MiB", b" " * (1024 * 1024 + 1), (413, "body_too_large")),
    ("unknown member", b'{"events": [{}], "a": 1}', (400, "unknown_field")),
]


def test_a_body_that_cannot_be_read_is_refused_as_a_whole(
    door: Door, seller: Seller
) -> None:
    answers = {case: door.post(seller, body).code for case, body, _ in BODIES}
    assert answers == {case: answer for case, _, answer in BODIES}
    assert seller.stored() == []


def test_a_refusal_is_a_problem_that_names_the_field(
    door: Door, seller: Seller
) -> None:
    reply = door.post(seller, seller.event(price="1.00"))
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json == {
        "type": "https://aforo.dev/problems/unknown_field",
        "title": "Bad request",
        "status": 400,
        "code": "unknown_field",
        "detail": "price is no field of an event",
        "field": "price",
    }


def test_gzip_is_taken_and_a_bomb_is_not(door: Door, seller: Seller) -> None:
    packed = gzip.compress(COMPOUND)
    assert door.post(seller, packed, content_encoding="gzip").status == 200
    bomb = gzip.compress(b" " * 5_000_000)
    reply = door.post(seller, bomb, content_encoding="gzip")
    assert reply.code == (413, "body_too_large")


def _send(door: Door, seller: Seller, **changes: str | None) -> Reply:
    headers = {
        "content-type": "application/json",
        "authorization": seller.authorization,
    }
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    merged: Mapping[str, str | None] = headers | named
    return door.send(
        json.dumps(seller.event()).encode(), {k: v for k, v in merged.items() if v}
    )


def test_the_form_of_the_request_is_checked(door: Door, seller: Seller) -> None:
    body = json.dumps(seller.event()).encode()
    headers = {
        "content-type": "application/json",
        "authorization": seller.authorization,
    }
    assert _send(door, seller, content_type="text/plain").status == 415
    utf16 = "application/json; charset=utf-16"
    assert _send(door, seller, content_type=utf16).status == 415
    assert _send(door, seller, content_type=None).status == 415
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        reply = door.send(b"", headers, method=method)
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert door.send(body, headers, query="api_key=x").code == (401, "key_in_url")
    assert _send(door, seller, x_padding="a" * 20_000).status == 431
    assert seller.stored() == []


def test_bad_credentials_all_get_one_answer(
    door: Door, seller: Seller, make_seller: Callable[..., Seller]
) -> None:
    good = seller.service_key
    other = make_seller()
    old, old_secret = credentials.issue(
        agent=other.agent, products=[other.product], actor=None
    )
    credentials.revoke(credential=old, actor=None)
    ended, ended_key = service_keys.issue(
        tenant=other.tenant, name="Old", scopes=["ingest"], actor=None
    )
    service_keys.revoke(key=ended, actor=None)
    directory.forget()
    cases = {
        "none": None,
        "another scheme": f"Digest {good}",
        "no key": "Bearer hello",
        "bad checksum": f"Bearer {good[:-1]}{'a' if good[-1] != 'a' else 'b'}",
        "cut": f"Bearer {good[:-1]}",
        "unknown key": f"Bearer {crypto.mint_key('svc', 'live', 'a' * 12)}",
        "unknown credential": f"Bearer {crypto.mint_key('sk', 'live', 'a' * 12)}",
        "revoked credential": f"Bearer {old_secret}",
        "revoked service key": f"Bearer {ended_key}",
        "a client secret as token": f"Bearer {crypto.mint_key('cs', 'live', 'a' * 12)}",
    }
    replies = {case: _send(door, seller, authorization=v) for case, v in cases.items()}
    codes = {case: reply.code for case, reply in replies.items()}
    assert codes == dict.fromkeys(cases, (401, "invalid_credentials"))
    assert len({reply.body for reply in replies.values()}) == 1


def test_a_service_key_needs_the_scope(door: Door, seller: Seller) -> None:
    _, key = service_keys.issue(
        tenant=seller.tenant, name="Reader", scopes=["read"], actor=None
    )
    reply = _send(door, seller, authorization=f"Bearer {key}")
    assert reply.code == (403, "insufficient_scope")


def test_a_revoked_service_key_is_refused_within_a_second(
    bare: Door, seller: Seller
) -> None:
    assert _send(bare, seller).status == 200
    with connection.cursor() as cursor:
        cursor.execute("UPDATE core_servicekey SET revoked_at = %s", [clock.now()])
    deadline = clock.now() + dt.timedelta(seconds=1)
    while _send(bare, seller).status == 200:
        assert clock.now() < deadline
    assert _send(bare, seller).code == (401, "invalid_credentials")


def test_a_batch_is_answered_event_by_event(door: Door, seller: Seller) -> None:
    """999 good events beside a bad one are stored."""
    events: list[Any] = [seller.event(eventId=f"e-{n}") for n in range(1000)]
    events[417] = seller.event(eventId="e-417", measurements=[])
    reply = door.post(seller, {"events": events})
    assert reply.status == 200
    answer = reply.json
    counts = {k: answer[k] for k in ("accepted", "duplicates", "rejected")}
    assert counts == {"accepted": 999, "duplicates": 0, "rejected": 1}
    assert answer["items"][417] == {
        "index": 417,
        "status": "rejected",
        "code": "invalid_measurements",
        "detail": "send 1 to 100 measurements",
        "http_status": 400,
        "field": "measurements",
    }
    assert [item["index"] for item in answer["items"]] == list(range(1000))
    assert answer["items"][3]["event_id"] == "e-3"
    assert len(seller.stored()) == 999


def test_an_event_that_cannot_be_read_leaves_its_batch_alone(
    door: Door, seller: Seller
) -> None:
    good = json.dumps(seller.event(eventId="good"))
    huge = json.dumps(seller.event(eventId="huge")).replace("10}", "1e400}")
    doubled = '{"eventId": "a", "eventId": "b"}'
    for body in (
        f"[{huge}, {good}, {doubled}, 7]",
        f'{{"events": [{huge}, {good}, {doubled}, 7]}}',
    ):
        items = door.post(seller, body.encode()).json["items"]
        assert [item.get("code") for item in items] == [
            "number_out_of_range",
            None,
            "duplicate_key",
            "invalid_event",
        ]
    assert [event.event_id for event in seller.stored()] == ["good"]


def test_an_idempotency_key_replays_the_first_answer(
    door: Door, seller: Seller
) -> None:
    batch = [seller.tool(), seller.event(eventId="a"), seller.event(price=1)]
    first = door.post(seller, batch, idempotency_key="k-1")
    again = door.post(seller, batch, idempotency_key="k-1")
    assert again.json == first.json
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(seller.stored()) == 2
    other = door.post(seller, batch[:1], idempotency_key="k-1")
    assert other.code == (422, "idempotency_key_reused")
    assert door.post(seller, batch[:1], idempotency_key="k 2").status == 400
    assert len(seller.stored()) == 2


def test_an_idempotency_key_of_another_tenant_is_free(
    door: Door, seller: Seller, make_seller: Callable[..., Seller]
) -> None:
    other = make_seller()
    assert door.post(seller, seller.event(), idempotency_key="k").status == 200
    reply = door.post(other, other.event(eventId="z"), idempotency_key="k")
    assert reply.code == (200, "accepted")


@pytest.mark.parametrize("name", ["eventId", "event_id"])
def test_a_key_inside_an_event_is_never_stored(
    door: Door, seller: Seller, name: str
) -> None:
    make = seller.event if name == "eventId" else seller.tool
    reply = door.post(seller, make(**{name: seller.secret}))
    assert reply.code == (400, "secret_in_field")
    assert seller.secret.encode() not in reply.body
    kept = door.post(
        seller, make(**{name: "ok", "properties": {"note": f"key {seller.secret}"}})
    )
    assert kept.status == 200
    [event] = seller.stored()
    assert seller.secret not in json.dumps(event.body)
    assert event.body["properties"]["note"].startswith("key sk_live_")
