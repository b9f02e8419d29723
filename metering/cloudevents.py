"""CloudEvents 1.0 over HTTP: structured, batch and binary mode, read into drafts.

The attributes say which event it is, of what type, whose and when; `data` holds the
members of an event in either of its two shapes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from aforo.lib import http, strict_json
from aforo.lib.errors import AforoError
from aforo.lib.strict_json import StrictJsonError
from metering import canonical, shapes
from metering.canonical import bad
from metering.envelope import Envelope, open_envelope, parse
from metering.shapes import Draft

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
JSON = "application/json"
ALLOWED = (JSON, STRUCTURED, BATCH)
# A request with one of these headers is in binary mode.
MARKS = ("ce-specversion", "ce-id", "ce-source", "ce-type")
SPECVERSION = "1.0"

REQUIRED = ("specversion", "id", "source", "type")
OPTIONAL = ("subject", "time", "datacontenttype", "dataschema")
DATA = ("data", "data_base64")
_EXTENSION = re.compile(r"[a-z0-9]{1,20}")
_SOURCE = re.compile(r"[\x21-\x7e]+")
_EVENT_ID = re.compile(r"[\x20-\x7e]{1,255}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
# What the attributes become, in a compound event and in a tool event.
MEMBERS = {
    "id": ("eventId", "event_id"),
    "type": ("eventType", "event_type"),
    "subject": ("customerId", "customer_id"),
    "time": ("timestamp", "timestamp"),
    "correlationid": ("correlationId", "correlation_id"),
}


def is_binary(headers: Mapping[str, str]) -> bool:
    """Say whether the attributes of one event are in the headers."""
    return any(name in headers for name in MARKS)


def open_request(headers: Mapping[str, str], body: bytes) -> Envelope:
    """Return the events of a request in any form that is taken.

    Raises AforoError: 415 for another media type, 400 and 413 as open_envelope().
    """
    content_type = headers.get("content-type", "")
    http.require_json(content_type, ALLOWED)
    kind = content_type.partition(";")[0].strip().lower()
    if kind == STRUCTURED:
        return Envelope(False, [_drafted(parse(body))])
    if kind == BATCH:
        return _batch(body)
    if is_binary(headers):
        raw = _attributes(headers) | {"data": parse(body)}
        return Envelope(False, [_drafted(raw)])
    return open_envelope(body)


def signed(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return all that says what a request is about: its body, and binary attributes."""
    if not is_binary(headers):
        return body
    named = sorted((k, v) for k, v in headers.items() if k.startswith("ce-"))
    return canonical.encode(named) + b"\n" + body


def _batch(body: bytes) -> Envelope:
    """Return the events of a JSON array; an empty one is a batch without events."""
    if body.strip(b" \t\r\n") == b"[]":
        return Envelope(True, [])
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        raise bad("invalid_body", "a batch is a list of CloudEvents")
    return Envelope(True, [_drafted(raw) for raw in open_envelope(body).events])


def _attributes(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes of binary mode, percent-decoded as the binding says."""
    found: dict[str, Any] = {}
    for name, value in headers.items():
        if name.startswith("ce-"):
            try:
                found[name[3:]] = urllib.parse.unquote(value, errors="strict")
            except UnicodeDecodeError as error:
                raise bad("invalid_field", f"{name} is not UTF-8", name) from error
    return found


def _drafted(raw: Any) -> Draft | AforoError:
    """Return the draft of an event, or why there is none."""
    if isinstance(raw, AforoError):
        return raw
    try:
        return read(raw)
    except AforoError as error:
        return error


def read(raw: Any) -> Draft:
    """Return the draft of one CloudEvent.

    Raises AforoError (400, 415), its field named as the CloudEvent has it.
    """
    if not isinstance(raw, dict):
        raise bad("invalid_event", "a CloudEvent is an object")
    given = {name: value for name, value in raw.items() if value is not None}
    _check_attributes(given)
    data = _data(given)
    is_tool = "tool_name" in data or given["type"] == shapes.TOOL_INVOKED
    members = {ours: pair[is_tool] for ours, pair in MEMBERS.items()}
    event = _attributes_as_members(given, members, is_tool=is_tool)
    for name, value in data.items():
        if name in event and name != members["correlationid"]:
            detail = f"{name} is in the attributes and in the data"
            raise bad("given_twice", detail, f"data.{name[:80]}")
        event[name] = value
    try:
        return shapes.read(event)
    except AforoError as error:
        error.field = _field(error.field, data, members)
        raise


def _check_attributes(given: Mapping[str, Any]) -> None:
    """Refuse attributes that are missing, of the wrong type or not allowed."""
    for name in REQUIRED:
        if name not in given:
            raise bad("missing_field", f"{name} is missing", name)
    for name, value in given.items():
        if name in DATA:
            continue
        if name in REQUIRED or name in OPTIONAL:
            if not isinstance(value, str) or not value:
                raise bad("invalid_field", f"{name} is a text that is not empty", name)
        elif not _EXTENSION.fullmatch(name):
            raise bad("unknown_field", f"{name[:80]} is no attribute", name[:80])
        elif not isinstance(value, str | int):
            detail = f"{name} is neither text, whole number nor boolean"
            raise bad("invalid_field", detail, name)
    if given["specversion"] != SPECVERSION:
        detail = f"send CloudEvents {SPECVERSION}"
        raise bad("unsupported_specversion", detail, "specversion")
    if not _SOURCE.fullmatch(given["source"]):
        raise bad("invalid_field", "source is a URI reference", "source")


def _data(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data as an object."""
    kind = given.get("datacontenttype", JSON).partition(";")[0].strip().lower()
    if kind != JSON and not kind.endswith("+json"):
        detail = "the data of a usage event is JSON"
        field = "datacontenttype"
        raise AforoError("unsupported_media_type", 415, detail, field=field)
    if "data" in given and "data_base64" in given:
        raise bad("given_twice", "send data or data_base64", "data_base64")
    data = given.get("data")
    if "data_base64" in given:
        data = _decoded(given["data_base64"])
    if data is None:
        raise bad("missing_field", "data is missing", "data")
    if not isinstance(data, dict):
        raise bad("invalid_data", "data is an object: the members of an event", "data")
    return data


def _decoded(text: Any) -> Any:
    """Return the JSON in data_base64."""
    try:
        raw = base64.b64decode(text if isinstance(text, str) else "!", validate=True)
        return strict_json.loads(raw)
    except StrictJsonError as error:
        raise bad(error.code, error.detail, "data_base64") from error
    except (binascii.Error, ValueError) as error:
        raise bad("invalid_data", "data_base64 is not base64", "data_base64") from error


def _attributes_as_members(
    given: Mapping[str, Any], members: Mapping[str, str], *, is_tool: bool
) -> dict[str, Any]:
    """Return the members of an event that its attributes stand for."""
    event: dict[str, Any] = {
        members["id"]: event_id(given["source"], given["id"]),
        members["type"]: given["type"],
    }
    for name in ("subject", "time"):
        if name in given:
            event[members[name]] = given[name]
    correlation = given.get("correlationid")
    if correlation is None:
        match = _TRACEPARENT.fullmatch(str(given.get("traceparent", "")))
        correlation = match[1] if match else None
    if correlation is None and not is_tool:
        # Required of a compound event: alone it is a piece of work of its own.
        own = given["id"]
        fits = len(own) <= 255 and own.isprintable()
        correlation = own if fits else event[members["id"]]
    if correlation is not None:
        event[members["correlationid"]] = correlation
    return event


def event_id(source: str, own_id: str) -> str:
    """Return the event id of a CloudEvent: source and id are unique together.

    A source has no space, so the first one divides the two. What is too long or has
    other characters than printable ASCII is hashed.
    """
    whole = f"{source} {own_id}"
    if _EVENT_ID.fullmatch(whole):
        return whole
    return f"sha256:{hashlib.sha256(whole.encode('utf-8', 'replace')).hexdigest()}"


def _field(
    field: str | None, data: Mapping[str, Any], members: Mapping[str, str]
) -> str | None:
    """Return how the CloudEvent calls the member at fault."""
    if field is None:
        return None
    own = {member: name for name, member in members.items()}
    if field in own and field not in data:
        return own[field]
    return f"data.{field}"
