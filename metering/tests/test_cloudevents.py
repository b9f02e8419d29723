"""CloudEvents 1.0 at POST /v1/events, in each of the three modes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from aforo.lib import clock
from metering import cloudevents
from metering.models import EventConflict
from metering.tests.conftest import Door, Reply, Seller

DATA = {
    "properties": {"model": "gpt-4o"},
    "measurements": [{"metricKey": "input_tokens", "value": 10}],
}


def made(**members: Any) -> dict[str, Any]:
    """A CloudEvent; None leaves a member out."""
    event = {
        "specversion": "1.0",
        "id": "A234-1",
        "source": "/agents/writer",
        "type": "llm.completion",
        "subject": "cust_abc",
        "data": DATA,
    }
    event |= members
    return {name: value for name, value in event.items() if value is not None}


def post(door: Door, seller: Seller, value: Any, kind: str, **headers: str) -> Reply:
    """Send a value as a media type."""
    return door.post(seller, value, content_type=kind, **headers)


def test_a_structured_event_is_stored_once(door: Door, seller: Seller) -> None:
    at = clock.now().isoformat()
    event = made(time=at, correlationid="run-7", comexampleextra=1)
    kind = cloudevents.STRUCTURED + "; charset=utf-8"
    first, second = (post(door, seller, event, kind) for _ in range(2))
    assert (first.code, second.code) == ((200, "accepted"), (200, "duplicate"))
    assert first.json["event_id"] == "/agents/writer A234-1"
    [stored] = seller.stored()
    assert stored.event_type == "llm.completion"
    assert stored.customer == seller.customer
    assert stored.correlation_id == "run-7"
    assert stored.occurred_at.isoformat() == at
    assert stored.body["measurements"] == {"input_tokens": "10"}
    assert stored.flags == []


def test_the_same_id_of_another_source_is_another_event(
    bare: Door, seller: Seller
) -> None:
    for source in ("/agents/writer", "/agents/reader"):
        reply = post(bare, seller, made(source=source), cloudevents.STRUCTURED)
        assert reply.code == (200, "accepted")
    assert len(seller.stored()) == 2
    assert cloudevents.event_id("a", "b c") != cloudevents.event_id("a b", "c")[:-1]
    long = cloudevents.event_id("/s", "é" * 300)
    assert long.startswith("sha256:")
    assert len(long) < 256


def test_another_content_under_a_known_id_is_a_conflict(
    bare: Door, seller: Seller
) -> None:
    post(bare, seller, made(), cloudevents.STRUCTURED)
    other = made(data=DATA | {"properties": {"model": "gpt-5"}})
    reply = post(bare, seller, other, cloudevents.STRUCTURED)
    assert reply.code == (422, "event_conflict")
    assert len(seller.stored()) == 1
    assert EventConflict.objects.get().attempts == 1


def test_a_batch_has_an_answer_for_each_event(door: Door, seller: Seller) -> None:
    batch = [
        made(),
        made(id="2", type=None),
        made(id="3", data=DATA | {"measurements": [{"metricKey": "x", "value": -1}]}),
        made(id="4", subject="cust_nobody"),
        made(),
        {"type": "llm.completion", "data": {"eventId": "no CloudEvent"}},
    ]
    reply = post(door, seller, batch, cloudevents.BATCH)
    assert reply.status == 200
    told = [(i["status"], i.get("code"), i.get("field")) for i in reply.json["items"]]
    assert told == [
        ("accepted", None, None),
        ("rejected", "missing_field", "type"),
        ("rejected", "negative_quantity", "data.measurements.x"),
        ("rejected", "not_found", "customerId"),
        ("duplicate", None, None),
        ("rejected", "missing_field", "specversion"),
    ]
    assert post(door, seller, b"[]", cloudevents.BATCH).json["items"] == []
    whole = post(door, seller, made(), cloudevents.BATCH)
    assert whole.code == (400, "invalid_body")


def test_a_key_that_comes_twice_spoils_its_own_event_only(
    bare: Door, seller: Seller
) -> None:
    good = json.dumps(made()).encode()
    twice = b'{"id": "1", "id": "2"}'
    reply = post(bare, seller, b"[" + good + b"," + twice + b"]", cloudevents.BATCH)
    assert [i["status"] for i in reply.json["items"]] == ["accepted", "rejected"]


def test_binary_mode_has_the_attributes_in_headers(door: Door, seller: Seller) -> None:
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "caf%C3%A9",
        "ce_source": "/agents/writer",
        "ce_type": "llm.completion",
        "ce_subject": "cust_abc",
        "ce_traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
    }
    first = door.post(seller, DATA, **headers)
    assert first.code == (200, "accepted")
    assert door.post(seller, DATA, **headers).code == (200, "duplicate")
    [stored] = seller.stored()
    assert stored.event_id == cloudevents.event_id("/agents/writer", "café")
    assert stored.correlation_id == "ab" * 16
    # Its attributes are part of what an Idempotency-Key stands for.
    once = headers | {"idempotency_key": "k-1"}
    assert door.post(seller, DATA, **once).status == 200
    other = once | {"ce_id": "other"}
    assert door.post(seller, DATA, **other).code == (422, "idempotency_key_reused")


def test_a_tool_event_and_base64_data(bare: Door, seller: Seller) -> None:
    data = {"api_key": seller.secret, "tool_name": "read_query"}
    packed = base64.b64encode(json.dumps(data).encode()).decode()
    event = made(type="mcp.tool_invoked", subject=None, data=None, data_base64=packed)
    assert post(bare, seller, event, cloudevents.STRUCTURED).code == (200, "accepted")
    [stored] = seller.stored()
    assert (stored.tool_name, stored.agent) == ("read_query", seller.agent)


WRONG: list[tuple[dict[str, Any], tuple[int, str], str]] = [
    ({"specversion": "0.3"}, (400, "unsupported_specversion"), "specversion"),
    ({"id": None}, (400, "missing_field"), "id"),
    ({"id": ""}, (400, "invalid_field"), "id"),
    ({"id": 7}, (400, "invalid_field"), "id"),
    ({"source": "no spaces here"}, (400, "invalid_field"), "source"),
    ({"type": "x" * 81}, (400, "invalid_field"), "type"),
    ({"time": "yesterday"}, (400, "invalid_timestamp"), "time"),
    ({"subject": "a\nb"}, (400, "invalid_field"), "subject"),
    ({"data": None}, (400, "missing_field"), "data"),
    ({"data": [1]}, (400, "invalid_data"), "data"),
    ({"data": DATA | {"price": 1}}, (400, "unknown_field"), "data.price"),
    ({"data": DATA | {"eventId": "x"}}, (400, "given_twice"), "data.eventId"),
    ({"data": DATA | {"customerId": "c"}}, (400, "given_twice"), "data.customerId"),
    ({"data_base64": "e30="}, (400, "given_twice"), "data_base64"),
    ({"data": None, "data_base64": "{"}, (400, "invalid_data"), "data_base64"),
    ({"data": None, "data_base64": "e30"}, (400, "invalid_data"), "data_base64"),
    ({"data": None, "data_base64": "ew=="}, (400, "invalid_json"), "data_base64"),
    ({"datacontenttype": "text/xml"}, (415, "unsupported_media_type"), "x"),
    ({"extension": {"a": 1}}, (400, "invalid_field"), "extension"),
    ({"BadName": "x"}, (400, "unknown_field"), "BadName"),
]


def test_what_is_wrong_is_named(bare: Door, seller: Seller) -> None:
    for members, code, field in WRONG:
        reply = post(bare, seller, made(**members), cloudevents.STRUCTURED)
        assert reply.code == code, members
        if code[0] == 400:
            assert reply.json["field"] == field, members
    assert seller.stored() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"{}"])
def test_bodies_that_are_no_cloudevent(bare: Door, seller: Seller, body: bytes) -> None:
    assert post(bare, seller, body, cloudevents.STRUCTURED).status == 400
    assert post(bare, seller, body, "application/cloudevents+xml").status == 415
