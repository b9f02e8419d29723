"""OTLP/HTTP exports: which spans are usage, and what an exporter is answered."""

from __future__ import annotations

import asyncio
import contextvars
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing.models import LedgerEntry
from metering import front, otlp, otlp_codec, otlp_spans, pipeline
from metering.tests.conftest import Reply, Seller, call_bare
from tests.factories import make_shop

TRACE = "5b8efff798038103d269b633813fc60c"
PROTOBUF = otlp_codec.PROTOBUF
Export = Callable[..., Reply]


def value_of(value: Any) -> dict[str, Any]:
    """An attribute's value as OTLP's JSON has it."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": k, "value": value_of(v)} for k, v in attributes.items()]


def span(number: int = 1, *, error: bool = False, **own: Any) -> dict[str, Any]:
    """A span of inference of 1.5 seconds; `own` members as OTLP calls them."""
    ended = int(clock.now().timestamp()) * 10**9 - 60 * 10**9
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 200,
        "gen_ai.usage.cache_read.input_tokens": 400,
        "gen_ai.input.messages": "never kept",
    } | own.pop("attributes", {})
    made = {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "parentSpanId": f"{255:016x}",
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": str(ended - 1_500_000_000),
        "endTimeUnixNano": str(ended),
        "attributes": pairs({k: v for k, v in attributes.items() if v is not None}),
        "status": {"code": 2} if error else {},
    }
    return made | own


def export_of(*spans: dict[str, Any], **resource: Any) -> dict[str, Any]:
    """An export of spans of one resource."""
    named = {"service.name": "writer", "aforo.customer.id": "cust_abc"} | resource
    named = {k: v for k, v in named.items() if v is not None}
    scope = {"scope": {"name": "x"}, "spans": list(spans)}
    return {
        "resourceSpans": [
            {"resource": {"attributes": pairs(named)}, "scopeSpans": [scope]}
        ]
    }


def as_protobuf(export: dict[str, Any]) -> bytes:
    """The same export in protobuf, written by the official messages."""
    request = service.ExportTraceServiceRequest()
    for of_resource in export["resourceSpans"]:
        resource = request.resource_spans.add()
        _fill(resource.resource.attributes, of_resource["resource"]["attributes"])
        for scope in of_resource["scopeSpans"]:
            target = resource.scope_spans.add()
            for one in scope["spans"]:
                made = target.spans.add()
                made.trace_id = bytes.fromhex(one["traceId"])
                made.span_id = bytes.fromhex(one["spanId"])
                made.parent_span_id = bytes.fromhex(one["parentSpanId"])
                made.name, made.kind = one["name"], one["kind"]
                made.start_time_unix_nano = int(one["startTimeUnixNano"])
                made.end_time_unix_nano = int(one["endTimeUnixNano"])
                made.status.code = one["status"].get("code", 0)
                _fill(made.attributes, one["attributes"])
    return bytes(request.SerializeToString())


def _fill(target: Any, attributes: list[dict[str, Any]]) -> None:
    for pair in attributes:
        made = target.add()
        made.key = pair["key"]
        [(kind, value)] = pair["value"].items()
        if kind == "intValue":
            made.value.int_value = int(value)
        elif kind == "boolValue":
            made.value.bool_value = value
        elif kind == "doubleValue":
            made.value.double_value = value
        else:
            made.value.string_value = value


@pytest.fixture(params=["bare", "django"])
def export(
    request: pytest.FixtureRequest, runner: asyncio.Runner, seller: Seller
) -> Export:
    """Send an export by either way; a dict goes as JSON, bytes as protobuf."""

    def send(value: Any, **headers: str) -> Reply:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        kind = PROTOBUF if isinstance(value, bytes) else "application/json"
        named = {"content-type": kind, "authorization": seller.authorization}
        named |= {k.replace("_", "-"): v for k, v in headers.items()}
        if request.param == "bare":
            call = call_bare(body, named, application=front.traces)
            return runner.run(call, context=contextvars.copy_context())
        content_type = named.pop("content-type")
        answer = Client(raise_request_exception=False).generic(
            "POST", otlp.PATH, body, headers=named, CONTENT_TYPE=content_type
        )
        lower = {k.lower(): v for k, v in answer.headers.items()}
        return Reply(answer.status_code, lower, answer.content)

    return send


def test_one_export_in_both_encodings_is_billed_once(
    export: Export, seller: Seller
) -> None:
    sent = export_of(span(), span(2, error=True, attributes={"error.type": "timeout"}))
    as_json = export(sent)
    assert (as_json.status, as_json.json) == (200, {})
    assert as_json.headers["content-type"] == "application/json"
    again = export(gzip.compress(as_protobuf(sent)), content_encoding="gzip")
    assert (again.status, again.body) == (200, b"")
    assert again.headers["content-type"] == PROTOBUF
    good, failed = sorted(seller.stored(), key=lambda e: e.event_id)
    assert good.event_id == f"{TRACE}:{1:016x}"
    assert good.customer == seller.customer
    assert good.correlation_id == TRACE
    assert good.session_key == f"trace:{TRACE}"
    assert good.body == {
        "measurements": {
            "input_tokens": "1000",
            "output_tokens": "200",
            "cache_read_tokens": "400",
            "latency_ms": "1500",
        },
        "properties": {
            "model": "gpt-4o-2024-08-06",
            "request_model": "gpt-4o",
            "provider": "openai",
            "operation": "chat",
        },
        "parent_id": f"{TRACE}:{255:016x}",
    }
    assert failed.status == "FAILED"
    assert failed.body["properties"]["error_type"] == "timeout"


def test_only_inference_is_usage(export: Export, seller: Seller) -> None:
    around = "invoke_agent create_agent execute_tool invoke_workflow plan".split()
    spans = [
        span(n, attributes={"gen_ai.operation.name": name, "gen_ai.tool.name": "x"})
        for n, name in enumerate(around, 1)
    ]
    spans.append(
        span(90, attributes={"gen_ai.operation.name": None, "gen_ai.system": None},
             kind=1)
    )  # fmt: skip
    assert export(export_of(*spans)).json == {}
    assert seller.stored() == []


def test_tools_are_billed_where_the_sender_says_so(
    export: Export, seller: Seller
) -> None:
    tool = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.request.model": None,
    }
    sent = export_of(span(attributes=tool), **{"aforo.bill_tools": True})
    assert export(sent).json == {}
    assert export(as_protobuf(sent)).body == b""
    [event] = seller.stored()
    assert (event.event_type, event.tool_name) == ("mcp.tool_invoked", "search")
    assert event.body["measurements"] == {
        "tool_calls": "1",
        "tool_duration_ms": "1500",
    }


OLD: list[tuple[dict[str, Any], dict[str, str]]] = [
    (
        {
            "gen_ai.operation.name": None,
            "llm.request.type": "chat",
            "gen_ai.system": "Anthropic",
            "gen_ai.usage.input_tokens": None,
            "gen_ai.usage.output_tokens": None,
            "gen_ai.usage.cache_read.input_tokens": None,
            "gen_ai.usage.prompt_tokens": 30,
            "gen_ai.usage.completion_tokens": 4,
            "gen_ai.usage.cache_creation_input_tokens": 20,
            "llm.usage.total_tokens": 34,
        },
        {
            "input_tokens": "30",
            "output_tokens": "4",
            "cache_write_tokens": "20",
            "total_tokens": "34",
            "latency_ms": "1500",
        },
    ),
    (
        {
            "gen_ai.operation.name": None,
            "gen_ai.usage.cache_read.input_tokens": None,
            "gen_ai.usage.input_tokens": 7.0,
        },
        {"input_tokens": "7", "output_tokens": "200", "latency_ms": "1500"},
    ),
    (
        {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.usage.output_tokens": None,
            "gen_ai.usage.cache_read.input_tokens": None,
        },
        {"input_tokens": "1000", "latency_ms": "1500"},
    ),
]


@pytest.mark.parametrize(("attributes", "measured"), OLD)
def test_older_names_mean_the_same(
    attributes: dict[str, Any], measured: dict[str, str]
) -> None:
    body = json.dumps(export_of(span(attributes=attributes))).encode()
    [one] = otlp_codec.read(body, media="application/json")
    kind = otlp_spans.operation(one)
    assert otlp_spans.read(one, kind).body["measurements"] == measured


def test_what_is_refused_is_counted_and_the_rest_is_stored(
    export: Export, seller: Seller
) -> None:
    strangers = {"aforo.customer.id": "cust_nobody"}
    sent = export_of(
        span(1),
        span(2, attributes=strangers),
        span(3, attributes=strangers),
        span(4, attributes={"gen_ai.usage.input_tokens": -1}),
        span(5, traceId="0" * 32),
    )
    reply = export(sent)
    partial = reply.json["partialSuccess"]
    assert (reply.status, partial["rejectedSpans"]) == (200, "4")
    assert "2 × not_found: customerId: not known here" in partial["errorMessage"]
    assert "negative_quantity" in partial["errorMessage"]
    answer = service.ExportTraceServiceResponse.FromString(
        export(as_protobuf(sent)).body
    )
    assert answer.partial_success.rejected_spans == 4
    assert "invalid_event_id" in answer.partial_success.error_message
    assert len(seller.stored()) == 1


def test_another_span_under_a_known_id_is_refused(
    export: Export, seller: Seller
) -> None:
    export(export_of(span()))
    other = export(export_of(span(attributes={"gen_ai.usage.input_tokens": 1})))
    assert "event_conflict" in other.json["partialSuccess"]["errorMessage"]
    assert len(seller.stored()) == 1


def test_sessions_and_agents_by_their_names(export: Export, seller: Seller) -> None:
    agent = {"aforo.agent.id": "agent-7", "gen_ai.agent.id": "asst_1"}
    talk = {"gen_ai.conversation.id": "conv-5"}
    export(
        export_of(
            span(1, attributes=agent),
            span(2, attributes=agent | talk),
            span(3, attributes=agent | talk | {"aforo.session.id": "run-1"}),
        )
    )
    events = sorted(seller.stored(), key=lambda e: e.event_id)
    assert [e.session_key.partition("/agt_")[0] for e in events] == [
        f"trace:{TRACE}",
        "conv-5",
        "run-1",
    ]
    assert {e.agent for e in events} == {seller.agent}
    assert events[0].body["properties"]["agent_id"] == "asst_1"


MALFORMED: list[tuple[str, Any]] = [
    ("json that is cut", b"{"),
    ("no object", b"[]"),
    ("spans of another kind", b'{"resourceSpans": 7}'),
    ("a time that is none", json.dumps(export_of(span(startTimeUnixNano="x")))),
    ("a negative time", json.dumps(export_of(span(endTimeUnixNano=-5)))),
    ("depth", b'{"resourceSpans": ' + b"[" * 100_000),
]


def test_what_cannot_be_read_is_refused_in_its_own_encoding(export: Export) -> None:
    for case, body in MALFORMED:
        raw = body if isinstance(body, bytes) else body.encode()
        reply = export(raw, content_type="application/json")
        assert reply.status == 400, case
        assert reply.json["code"] == 3, case
        assert reply.headers["content-type"] == "application/json"
    reply = export(b"\xff\xff\xff")
    assert (reply.status, reply.headers["content-type"]) == (400, PROTOBUF)
    assert reply.body[:2] == b"\x08\x03"
    assert b"ExportTraceServiceRequest" in reply.body


def test_the_laws_of_the_events_door_hold(export: Export, seller: Seller) -> None:
    good = as_protobuf(export_of(span()))
    assert export(good, authorization="Bearer svc_live_no").status == 401
    assert export(good, content_type="text/plain").status == 415
    assert export(good, content_encoding="br").status == 415
    assert export(b"x" * (1024 * 1024 + 1)).status == 413
    bomb = gzip.compress(b" " * (1024 * 1024 + 1))
    assert export(bomb, content_encoding="gzip").status == 413
    many = export_of(*(span(n) for n in range(1, 1002)))
    small = json.loads(json.dumps(many).replace("never kept", ""))
    for one in small["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        one["attributes"] = one["attributes"][:1]
    assert export(small).status == 413
    assert seller.stored() == []


def test_an_empty_export_is_a_success(export: Export) -> None:
    assert (export(b"").status, export({}).status) == (200, 200)


def test_what_may_pass_is_503_so_that_exporters_send_it_again() -> None:
    headers = {"content-type": PROTOBUF}
    for status in (408, 409, 500, 503):
        answer = otlp.refusal(AforoError("x", status, "y"), headers)
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.body[:2] == b"\x08\x0e"
    on_its_way = AforoError("in_flight", 409, "send it again")
    with pytest.raises(AforoError):
        otlp._render([{"status": "accepted"}, on_its_way], PROTOBUF)


def test_a_span_reaches_the_books(runner: asyncio.Runner) -> None:
    shop = make_shop()
    sent = export_of(span(), **{"aforo.customer.id": shop.customer.external_id})
    headers = {
        "content-type": PROTOBUF,
        "authorization": f"Bearer {shop.service_secret}",
    }
    for _ in range(2):
        call = call_bare(as_protobuf(sent), headers, application=front.traces)
        assert runner.run(call, context=contextvars.copy_context()).status == 200
        pipeline.rate()
    # 1,000 in at $3 and 200 out at $15 a million.
    assert str(LedgerEntry.objects.get().amount.normalize()) == "0.006"
