"""OTLP/HTTP trace exports, in protobuf and in JSON, read into plain spans."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from aforo.lib.errors import AforoError
from metering.canonical import bad

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
ERROR = 2  # Status.code
CLIENT = 3  # SpanKind

# What is read of a span and its resource; all else may be long, or a secret.
PREFIXES = ("gen_ai.", "aforo.", "llm.", "mcp.")
NAMES = frozenset({"error.type", "session.id"})
# Prompts, completions and arguments are never read.
CONTENT = (
    "gen_ai.input.",
    "gen_ai.output.",
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
)
Scalar = str | bool | int | float
TEXT_MAX = 1024


class Span(NamedTuple):
    """A span, as far as usage is read from it."""

    trace_id: str  # Lower-case hex, as all ids.
    span_id: str
    parent_id: str  # Empty: the root.
    kind: int
    started_ns: int  # Since 1970; 0 is unknown.
    ended_ns: int
    is_error: bool
    # Of the span; what it does not say itself is its resource's.
    attributes: dict[str, Scalar]


def read(body: bytes, *, media: str) -> list[Span]:
    """Return the spans of an export.

    Raises AforoError 400 `invalid_body` for what is no ExportTraceServiceRequest.
    """
    return _from_protobuf(body) if media == PROTOBUF else _from_json(body)


def wanted(name: str) -> bool:
    """Say whether an attribute is read."""
    return (name in NAMES or name.startswith(PREFIXES)) and not name.startswith(CONTENT)


@functools.cache
def _messages() -> tuple[Any, Any, type[Exception]]:
    """Return request and response of the trace service, and the fault of decoding."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

    return (
        service.ExportTraceServiceRequest,
        service.ExportTraceServiceResponse,
        DecodeError,
    )


def _from_protobuf(body: bytes) -> list[Span]:
    request_type, _, fault = _messages()
    try:
        request = request_type.FromString(body)
    except fault as error:
        raise bad("invalid_body", "not an ExportTraceServiceRequest") from error
    spans: list[Span] = []
    for of_resource in request.resource_spans:
        shared = dict(_protobuf_attributes(of_resource.resource.attributes))
        for scope in of_resource.scope_spans:
            for span in scope.spans:
                spans.append(
                    Span(
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.kind,
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        span.status.code == ERROR,
                        shared | dict(_protobuf_attributes(span.attributes)),
                    )
                )
    return spans


def _protobuf_attributes(pairs: Iterable[Any]) -> Iterator[tuple[str, Scalar]]:
    for pair in pairs:
        if wanted(pair.key):
            kind = pair.value.WhichOneof("value")
            value = getattr(pair.value, kind) if kind else None
            if isinstance(value, Scalar):
                yield pair.key, value


class _Value(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None


class _Pair(msgspec.Struct):
    key: str = ""
    value: _Value | None = None


class _Status(msgspec.Struct):
    code: int | str | None = None


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str | None = None
    kind: int | str | None = None
    start_time_unix_nano: int | str | None = None
    end_time_unix_nano: int | str | None = None
    attributes: list[_Pair] | None = None
    status: _Status | None = None


class _Scope(msgspec.Struct):
    spans: list[_Span] | None = None


class _Resource(msgspec.Struct):
    attributes: list[_Pair] | None = None


class _Resources(msgspec.Struct, rename="camel"):
    resource: _Resource | None = None
    scope_spans: list[_Scope] | None = None


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_Resources] | None = None


_decode = msgspec.json.Decoder(_Request).decode


def _from_json(body: bytes) -> list[Span]:
    try:
        request = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = "not an ExportTraceServiceRequest in JSON"
        raise bad("invalid_body", detail) from error
    spans: list[Span] = []
    for of_resource in request.resource_spans or []:
        resource = of_resource.resource
        shared = _json_attributes(resource.attributes if resource else None)
        for scope in of_resource.scope_spans or []:
            for span in scope.spans or []:
                code = span.status.code if span.status else None
                spans.append(
                    Span(
                        span.trace_id.lower(),
                        span.span_id.lower(),
                        (span.parent_span_id or "").lower(),
                        CLIENT if span.kind in {CLIENT, "SPAN_KIND_CLIENT"} else 0,
                        _whole(span.start_time_unix_nano, "startTimeUnixNano"),
                        _whole(span.end_time_unix_nano, "endTimeUnixNano"),
                        code in {ERROR, "STATUS_CODE_ERROR"},
                        shared | _json_attributes(span.attributes),
                    )
                )
    return spans


def _json_attributes(pairs: list[_Pair] | None) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for pair in pairs or []:
        value = pair.value
        if value is None or not wanted(pair.key):
            continue
        if value.string_value is not None:
            found[pair.key] = value.string_value
        elif value.bool_value is not None:
            found[pair.key] = value.bool_value
        elif value.int_value is not None:
            found[pair.key] = _whole(value.int_value, pair.key, signed=True)
        elif value.double_value is not None:
            # A text is NaN or an infinity: no quantity.
            found[pair.key] = value.double_value
    return found


def _whole(value: int | str | None, name: str, *, signed: bool = False) -> int:
    """Return a 64-bit number, which JSON may carry as text."""
    if value is None or value == "":
        return 0
    if isinstance(value, str):
        digits = value[1:] if signed and value.startswith("-") else value
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
            raise bad("invalid_body", f"{name[:80]} is no whole number")
        value = int(value)
    if not -(2**63) <= value < 2**64 or (value < 0 and not signed):
        raise bad("invalid_body", f"{name[:80]} is out of range")
    return value


def success(media: str, *, rejected: int, message: str) -> bytes:
    """Return an ExportTraceServiceResponse; nothing is said of a full success."""
    message = message[:TEXT_MAX]
    if media == PROTOBUF:
        response = _messages()[1]()
        if rejected:
            response.partial_success.rejected_spans = rejected
            response.partial_success.error_message = message
        return bytes(response.SerializeToString())
    if not rejected:
        return b"{}"
    # JSON of protobuf has 64-bit numbers as text.
    partial = {"rejectedSpans": str(rejected), "errorMessage": message}
    return msgspec.json.encode({"partialSuccess": partial})


# google.rpc.Code by HTTP status.
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 408: 4, 413: 8, 415: 3, 431: 8}
INTERNAL, UNAVAILABLE = 13, 14


def failure(media: str, error: AforoError) -> bytes:
    """Return a google.rpc.Status that says why a request was refused."""
    code = UNAVAILABLE if error.status == 503 else CODES.get(error.status, INTERNAL)
    message = f"{error.code}: {error.detail}"[:TEXT_MAX]
    if media != PROTOBUF:
        return msgspec.json.encode({"code": code, "message": message})
    # Two fields, written by hand: code (1, varint) and message (2, text).
    text = message.encode()
    return b"\x08" + bytes([code]) + b"\x12" + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
