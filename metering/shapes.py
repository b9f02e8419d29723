"""The two shapes in which usage comes, read into one draft."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aforo.core.service_calls import invalid_credentials
from aforo.lib import crypto
from aforo.lib.money import CURRENCIES
from billing.hierarchy import FACETS
from metering import canonical, mcp, normalize
from metering.canonical import bad
from metering.measurements import CANONICAL, WHOLE

TOOL_INVOKED = "mcp.tool_invoked"
TOOL_MARKS = frozenset({"tool_name", "event_type", "mcp"})
STATUSES = frozenset({"SUCCESS", "FAILED", "TIMEOUT", "RATE_LIMITED"})
MEASUREMENTS_MAX = 100
PROPERTIES_MAX = 50
PROPERTIES_BYTES_MAX = 2048
USAGE_BYTES_MAX = 8192
ERROR_TEXT_MAX = 2000
CLOCK_SKEW_MS = 1000
# Words of and to a model are not ours to keep; facets are not the sender's to say.
CONTENT = ("prompt", "prompts", "messages", "completion", "completions")
DROPPED = dict.fromkeys(CONTENT, "content_dropped")
DROPPED |= dict.fromkeys(FACETS, "reserved_dropped")
# Properties that become columns of the books, with what these hold.
PROPERTY_LIMITS = {"tool": 120, "model": 120, "provider": 60}


@dataclass(slots=True)
class Draft:
    """One event as it was sent, in canonical values, before anybody is looked up."""

    is_tool: bool
    event_type: str = ""
    event_id: str = ""  # Empty: the sender gave none.
    # Who and what it names: tenant, customer, team, agent, subscription, product,
    # client (a client id) and key (the digest of an api key).
    names: dict[str, str] = field(default_factory=dict)
    tool_name: str = ""
    status: str = ""
    request_id: str = ""
    correlation_id: str = ""
    session_key: str = ""
    occurred_at: dt.datetime | None = None  # None: the sender gave no time.
    flags: list[str] = field(default_factory=list)
    body: dict[str, Any] = field(default_factory=dict)
    usage: bytes = b""  # A usage block as canonical JSON, without any content.
    # A key that several agents may share: each has a session of its own under it.
    shared_session: str = ""
    logical_id: str = ""  # Of a call or task that may be reported more than once.
    ignored: str = ""  # Why it is no usage; empty for what is.
    mcp: dict[str, Any] | None = None


Reader = Callable[[Draft, Any, str], None]


def read(raw: Any) -> Draft:
    """Return the draft of one event of either shape.

    Raises AforoError (400) for what is malformed, the field named.
    """
    if not isinstance(raw, dict):
        raise bad("invalid_event", "an event is an object")
    is_tool = "eventType" not in raw and not TOOL_MARKS.isdisjoint(raw)
    draft = Draft(is_tool)
    readers = TOOL_FIELDS if is_tool else COMPOUND_FIELDS
    for key, value in raw.items():
        reader = readers.get(key)
        if reader is None:
            raise bad("unknown_field", f"{key[:80]} is no field of an event", key[:80])
        if value is not None:
            reader(draft, value, key)
    if is_tool:
        _finish_tool(draft)
    else:
        _finish_compound(draft)
    return draft


def _column(attribute: str, limit: int = 255) -> Reader:
    """Return the reader of a short text that is an attribute of the draft."""

    def reader(draft: Draft, value: Any, key: str) -> None:
        setattr(draft, attribute, canonical.name(value, key, limit))

    return reader


def _names(kind: str) -> Reader:
    """Return the reader of the name of a customer, an agent and so on."""

    def reader(draft: Draft, value: Any, key: str) -> None:
        draft.names[kind] = canonical.name(value, key)

    return reader


def _kept(member: str, limit: int = 255) -> Reader:
    """Return the reader of a short text that is only kept in the body."""

    def reader(draft: Draft, value: Any, key: str) -> None:
        draft.body[member] = canonical.name(value, key, limit)

    return reader


def _measured(metric: str) -> Reader:
    """Return the reader of a count that is one measurement of a tool event."""

    def reader(draft: Draft, value: Any, key: str) -> None:
        text = canonical.quantity(value, key)
        require_whole(text, key)
        draft.body.setdefault("measurements", {})[metric] = text

    return reader


def _property(name: str, limit: int) -> Reader:
    """Return the reader of a text that becomes a property of a tool event."""

    def reader(draft: Draft, value: Any, key: str) -> None:
        text = canonical.name(value, key, limit)
        draft.body.setdefault("properties", {})[name] = text

    return reader


def require_whole(text: str, key: str) -> None:
    """Refuse a fraction of something that is counted."""
    if "." in text:
        raise bad("integer_required", f"{key} is counted in whole numbers", key)


def _event_id(draft: Draft, value: Any, key: str) -> None:
    draft.event_id = canonical.event_id(value, key)


def _api_key(draft: Draft, value: Any, key: str) -> None:
    """Hash a key on arrival; a wrong form or checksum asks no database."""
    parsed = crypto.parse_key(value) if isinstance(value, str) else None
    if parsed is None or parsed.prefix == "svc":
        raise invalid_credentials(key)
    draft.names["key"] = parsed.digest


def _timestamp(draft: Draft, value: Any, key: str) -> None:
    if draft.occurred_at is not None:
        raise bad("invalid_timestamp", "the time is given twice", key)
    draft.occurred_at = canonical.instant(value, key)


def _ignored_timestamp(draft: Draft, value: Any, key: str) -> None:
    """Check a time that says how the event travelled, and forget it."""
    canonical.instant(value, key)


def _flag(flag: str) -> Reader:
    """Return the reader of a boolean that marks the event."""

    def reader(draft: Draft, value: Any, key: str) -> None:
        if not isinstance(value, bool):
            raise bad("invalid_field", f"{key} is true or false", key)
        if value:
            draft.flags.append(flag)

    return reader


def _properties(draft: Draft, value: Any, key: str) -> None:
    if not isinstance(value, dict):
        raise bad("invalid_properties", f"{key} is an object", key)
    if len(value) > PROPERTIES_MAX:
        detail = f"at most {PROPERTIES_MAX} properties"
        raise bad("properties_too_large", detail, key)
    kept = draft.body.setdefault("properties", {})
    size = 0
    for name, member in value.items():
        if member is None:
            continue
        if flag := DROPPED.get(name):
            if flag not in draft.flags:
                draft.flags.append(flag)
            continue
        text = canonical.free_text(member, f"{key}.{name[:80]}")
        size += len(name) + len(text)
        if len(text) > PROPERTY_LIMITS.get(name, PROPERTIES_BYTES_MAX):
            raise bad("properties_too_large", f"{name[:80]} is too long", key)
        # A field of the event says more than a property of the same name.
        kept.setdefault(canonical.free_text(name, key), text)
    # Characters first: counting bytes is only needed near the limit.
    if size > PROPERTIES_BYTES_MAX / 4 and (
        sum(len(k.encode()) + len(v.encode()) for k, v in kept.items())
        > PROPERTIES_BYTES_MAX
    ):
        detail = f"properties may take {PROPERTIES_BYTES_MAX} bytes"
        raise bad("properties_too_large", detail, key)


def _measurements(draft: Draft, value: Any, key: str) -> None:
    if not isinstance(value, list) or not 0 < len(value) <= MEASUREMENTS_MAX:
        detail = f"send 1 to {MEASUREMENTS_MAX} measurements"
        raise bad("invalid_measurements", detail, key)
    read: dict[str, str] = {}
    for entry in value:
        if not isinstance(entry, dict) or "metricKey" not in entry:
            detail = 'a measurement is {"metricKey": …, "value": …}'
            raise bad("invalid_measurements", detail, key)
        metric, quantity = entry["metricKey"], entry.get("value")
        if len(entry) != 2 or "value" not in entry:
            _refuse_measurement(entry, key)
        if not isinstance(metric, str) or metric not in CANONICAL:
            metric = canonical.name(metric, f"{key}.metricKey", 80)
        if metric in read:
            raise bad("invalid_measurements", f"{metric} comes twice", key)
        if type(quantity) is int and 0 <= quantity < canonical.INTEGER_LIMIT:
            read[metric] = str(quantity)
            continue
        read[metric] = text = canonical.quantity(quantity, f"{key}.{metric}")
        if metric in WHOLE:
            require_whole(text, f"{key}.{metric}")
    draft.body["measurements"] = read


def _refuse_measurement(entry: Mapping[str, Any], key: str) -> None:
    """Name what a measurement has too much or too little of."""
    for name in entry:
        if name not in {"metricKey", "value"}:
            field_name = f"{key}.{name[:80]}"
            raise bad("unknown_field", f"{field_name} is no field", field_name)
    raise bad("invalid_measurements", "a measurement has no value", key)


def _usage(draft: Draft, value: Any, key: str) -> None:
    """Keep a usage block, or the events of a stream; it is read when it is stored."""
    events = value if isinstance(value, list) else [value]
    if not isinstance(value, dict | list) or not all(
        isinstance(event, dict | str) for event in events
    ):
        detail = f"{key} is the provider's usage object, or the events of its stream"
        raise bad("invalid_usage", detail, key)
    clean = canonical.tree(value, key)
    kept = canonical.encode(normalize.strip(clean))
    if len(kept) > USAGE_BYTES_MAX:
        raise bad("invalid_usage", f"{key} may take {USAGE_BYTES_MAX} bytes", key)
    draft.body["usage"] = clean
    draft.usage = kept


def _cost(draft: Draft, value: Any, key: str) -> None:
    """Keep what the provider says that the call cost; it is never a price."""
    if not isinstance(value, dict) or set(value) != {"amount", "currency"}:
        raise bad("invalid_cost", 'send {"amount": …, "currency": …}', key)
    currency = value["currency"]
    if not isinstance(currency, str) or currency not in CURRENCIES:
        field_name = f"{key}.currency"
        raise bad("invalid_currency", "send an ISO 4217 code, such as USD", field_name)
    amount = canonical.quantity(value["amount"], f"{key}.amount")
    draft.body["cost"] = {"amount": amount, "currency": currency}


def _status(draft: Draft, value: Any, key: str) -> None:
    if not isinstance(value, str) or value not in STATUSES:
        raise bad("invalid_status", f"send one of {', '.join(sorted(STATUSES))}", key)
    draft.status = value
    draft.body.setdefault("properties", {})["status"] = value


def _duration(draft: Draft, value: Any, key: str) -> None:
    """Read a duration; one that is negative by a clock's skew is zero."""
    number = canonical.decimal(value, key)
    if number < -CLOCK_SKEW_MS:
        raise bad("negative_duration", f"{key} ends before it starts", key)
    if number < 0:
        draft.flags.append("clock_skew")
        number = number * 0
    text = canonical.quantity(number, key)
    draft.body.setdefault("measurements", {})["tool_duration_ms"] = text


def _error_message(draft: Draft, value: Any, key: str) -> None:
    text = canonical.free_text(value, key)
    if len(text) > ERROR_TEXT_MAX:
        draft.flags.append("error_cut")
    draft.body["error_message"] = text[:ERROR_TEXT_MAX]


def _retry_count(draft: Draft, value: Any, key: str) -> None:
    text = canonical.quantity(value, key)
    require_whole(text, key)
    draft.body["retry_count"] = int(text)


def _parallel(draft: Draft, value: Any, key: str) -> None:
    if not isinstance(value, bool):
        raise bad("invalid_field", f"{key} is true or false", key)
    draft.body["is_parallel_call"] = value


def _mcp_server(draft: Draft, value: Any, key: str) -> None:
    _names("product")(draft, value, key)
    _property("mcp_server_id", 255)(draft, value, key)


def _finish_compound(draft: Draft) -> None:
    """Ask for what a compound event must have, and lift the tool and status."""
    if not draft.event_type:
        raise bad("missing_field", "eventType is missing", "eventType")
    if not draft.correlation_id:
        raise bad("missing_field", "correlationId is missing", "correlationId")
    body = draft.body
    if "measurements" not in body:
        if "usage" not in body and "outcome" not in body:
            detail = "measurements are missing"
            raise bad("invalid_measurements", detail, "measurements")
        body["measurements"] = {}
    properties = body.setdefault("properties", {})
    draft.tool_name = properties.get("tool", "")
    status = properties.get("status", "")
    draft.status = status if len(status) <= 16 else ""


def _mcp(draft: Draft, value: Any, key: str) -> None:
    draft.mcp = mcp.members(value, key)


def _finish_tool(draft: Draft) -> None:
    """Ask for the tool's name, and count the call."""
    if draft.mcp is not None:
        mcp.finish(draft, draft.mcp)
    if draft.ignored:
        return
    if not draft.tool_name:
        raise bad("missing_field", "tool_name is missing", "tool_name")
    draft.event_type = draft.event_type or TOOL_INVOKED
    draft.body.setdefault("properties", {})["tool"] = draft.tool_name
    draft.body.setdefault("measurements", {})["tool_calls"] = "1"


COMPOUND_FIELDS: dict[str, Reader] = {
    "eventId": _event_id,
    "eventType": _column("event_type", 80),
    "timestamp": _timestamp,
    "correlationId": _column("correlation_id"),
    "requestId": _column("request_id"),
    "sessionId": _column("session_key"),
    "parentId": _kept("parent_id"),
    "tenantId": _names("tenant"),
    "customerId": _names("customer"),
    "teamId": _names("team"),
    "agentId": _names("agent"),
    "subscriptionId": _names("subscription"),
    "productId": _names("product"),
    "clientId": _names("client"),
    "apiKey": _api_key,
    "properties": _properties,
    "measurements": _measurements,
    "usage": _usage,
    "cost": _cost,
    "outcome": _kept("outcome", 80),
    "degraded": _flag("degraded"),
}
TOOL_FIELDS: dict[str, Reader] = {
    "event_id": _event_id,
    "event_type": _column("event_type", 80),
    "timestamp": _timestamp,
    "recorded_timestamp": _timestamp,
    "ingest_timestamp": _ignored_timestamp,
    "correlation_id": _column("correlation_id"),
    "request_id": _column("request_id"),
    "session_id": _column("session_key"),
    "tenant_id": _names("tenant"),
    "customer_id": _names("customer"),
    "team_id": _names("team"),
    "agent_id": _names("agent"),
    "subscription_id": _names("subscription"),
    "mcp_server_id": _mcp_server,
    "client_id": _names("client"),
    "api_key": _api_key,
    "agent_type": _property("agent_type", 40),
    "tool_name": _column("tool_name", 120),
    "execution_duration_ms": _duration,
    "execution_status": _status,
    "input_tokens": _measured("input_tokens"),
    "output_tokens": _measured("output_tokens"),
    "error_type": _kept("error_type", 120),
    "error_message": _error_message,
    "retry_count": _retry_count,
    "is_parallel_call": _parallel,
    "parent_tool_invocation_id": _kept("parent_id"),
    "properties": _properties,
    "mcp": _mcp,
    "degraded": _flag("degraded"),
}
