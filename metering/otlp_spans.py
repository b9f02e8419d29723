"""Which spans are usage, and the event that each of them is. Pure.

GenAI semantic conventions, the current names and those before them. Only inference is
billed: spans of agents, workflows and frameworks around it repeat its tokens.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from metering import shapes
from metering.canonical import bad
from metering.otlp_codec import CLIENT, Scalar, Span
from metering.shapes import Draft

INFERENCE = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
# What OpenLLMetry called the operation before there was a name for it.
OLD_OPERATIONS = {
    "chat": "chat",
    "completion": "text_completion",
    "embedding": "embeddings",
}
TOOL = "execute_tool"

# Measurements, each with the attributes that may carry it, newest first.
USAGE: dict[str, tuple[str, ...]] = {
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.usage.prompt_tokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.usage.completion_tokens",
    ),
    "cache_read_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
    ),
    "cache_write_tokens": (
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
    ),
    "total_tokens": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens"),
}
MODEL = ("gen_ai.response.model", "gen_ai.request.model")
PROVIDER = ("gen_ai.provider.name", "gen_ai.system")
# Our own names, on the span or on its resource: who and what for.
OWN = {
    "aforo.customer.id": "customerId",
    "aforo.team.id": "teamId",
    "aforo.agent.id": "agentId",
    "aforo.client.id": "clientId",
    "aforo.product.id": "productId",
    "aforo.subscription.id": "subscriptionId",
    "aforo.request.id": "requestId",
    "aforo.session.id": "sessionId",
}
OWN_OF_TOOL = {
    "customerId": "customer_id",
    "teamId": "team_id",
    "agentId": "agent_id",
    "clientId": "client_id",
    "productId": "mcp_server_id",
    "subscriptionId": "subscription_id",
    "requestId": "request_id",
    "sessionId": "session_id",
}
# Sessions by what a conversation is called; several agents may share one.
SHARED_SESSIONS = ("session.id", "gen_ai.conversation.id", "mcp.session.id")
# Kept with the event, to be seen and filtered by.
KEPT = {
    "agent_id": "gen_ai.agent.id",
    "agent_name": "gen_ai.agent.name",
    "error_type": "error.type",
    "request_model": "gen_ai.request.model",
}
BILL_TOOLS = "aforo.bill_tools"
_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN = re.compile(r"(?!0{16})[0-9a-f]{16}")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def operation(span: Span) -> str:
    """Return which operation of a usage event a span is; empty for all others."""
    get = span.attributes.get
    named = get("gen_ai.operation.name")
    if named is not None:
        if named == TOOL:
            return TOOL if get(BILL_TOOLS) in {True, "true"} else ""
        return str(named) if named in INFERENCE else ""
    old = OLD_OPERATIONS.get(str(get("llm.request.type", "")))
    if old is not None:
        return old
    # Before operations had names: a client's call of a model that counted tokens.
    counted = any(first(span.attributes, names) is not None for names in USAGE.values())
    has_model = first(span.attributes, (*PROVIDER, *MODEL)) is not None
    return "chat" if span.kind == CLIENT and has_model and counted else ""


def first(attributes: Mapping[str, Scalar], names: Sequence[str]) -> Scalar | None:
    """Return the first attribute of the names that is there."""
    return next((attributes[name] for name in names if name in attributes), None)


def read(span: Span, kind: str) -> Draft:
    """Return the draft of a span whose operation() is `kind`.

    Raises AforoError 400: invalid_event_id, and what shapes.read() raises.
    """
    if not _TRACE.fullmatch(span.trace_id) or not _SPAN.fullmatch(span.span_id):
        detail = "a span has a trace id of 16 bytes and a span id of 8, not zero"
        raise bad("invalid_event_id", detail, "spanId")
    raw = _tool_event(span) if kind == TOOL else _compound_event(span, kind)
    draft = shapes.read(raw)
    shared = first(span.attributes, SHARED_SESSIONS)
    draft.shared_session = (
        f"trace:{span.trace_id}" if shared is None else str(shared)[:200]
    )
    return draft


def _compound_event(span: Span, kind: str) -> dict[str, Any]:
    """Return inference as a compound event."""
    measured = _measurements(span)
    properties = _properties(span)
    properties["operation"] = kind
    model, provider = first(span.attributes, MODEL), first(span.attributes, PROVIDER)
    if model is not None:
        properties["model"] = model
    if properties.get("request_model") == model:
        properties.pop("request_model", None)
    if provider is not None:
        properties["provider"] = provider
    if span.is_error:
        properties["status"] = "FAILED"
    raw: dict[str, Any] = {
        "eventId": f"{span.trace_id}:{span.span_id}",
        "eventType": "llm.embedding" if kind == "embeddings" else "llm.completion",
        "correlationId": span.trace_id,
        "parentId": _parent(span),
        "timestamp": _instant(span.ended_ns or span.started_ns),
        "properties": properties,
        **_own(span),
    }
    if measured:
        latency = _milliseconds(span)
        if latency is not None:
            measured.append({"metricKey": "latency_ms", "value": latency})
        raw["measurements"] = measured
    else:
        raw["outcome"] = "failed" if span.is_error else "no_usage"
    return raw


def _tool_event(span: Span) -> dict[str, Any]:
    """Return a tool's execution as a tool event."""
    properties = _properties(span)
    properties.pop("request_model", None)
    return {
        "event_id": f"{span.trace_id}:{span.span_id}",
        "tool_name": span.attributes.get("gen_ai.tool.name"),
        "correlation_id": span.trace_id,
        "parent_tool_invocation_id": _parent(span),
        "timestamp": _instant(span.ended_ns or span.started_ns),
        "execution_duration_ms": _milliseconds(span),
        "execution_status": "FAILED" if span.is_error else "SUCCESS",
        "properties": properties,
        **{OWN_OF_TOOL[name]: value for name, value in _own(span).items()},
    }


def _measurements(span: Span) -> list[dict[str, Any]]:
    """Return what was counted; totals are inclusive, as the conventions say."""
    found = []
    for metric, names in USAGE.items():
        value = first(span.attributes, names)
        if value is not None:
            found.append({"metricKey": metric, "value": _quantity(value)})
    return found


def _quantity(value: Scalar) -> Any:
    """Return a number exactly; what is none is refused by the event's reader."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else Decimal(repr(value))
    return value


def _properties(span: Span) -> dict[str, Any]:
    """Return the attributes that are kept, cut to what a property holds."""
    get = span.attributes.get
    kept = {name: get(attribute) for name, attribute in KEPT.items()}
    return {
        name: value[:200] if isinstance(value, str) else value
        for name, value in kept.items()
        if value is not None
    }


def _own(span: Span) -> dict[str, Any]:
    """Return who and what the event is for, by our own attributes."""
    return {
        member: str(span.attributes[name])
        for name, member in OWN.items()
        if name in span.attributes
    }


def _parent(span: Span) -> str | None:
    return f"{span.trace_id}:{span.parent_id}" if span.parent_id else None


def _instant(nanoseconds: int) -> str | None:
    """Return a time as RFC 3339 to the microsecond; None when it is not known."""
    if not nanoseconds:
        return None
    try:
        at = _EPOCH + dt.timedelta(microseconds=nanoseconds // 1000)
    except OverflowError as error:
        raise bad("invalid_timestamp", "there is no such time", "timestamp") from error
    return at.isoformat()


def _milliseconds(span: Span) -> str | None:
    """Return how long a span took, exactly; None when that is not known."""
    if not span.started_ns or span.ended_ns < span.started_ns:
        return None
    whole, rest = divmod(span.ended_ns - span.started_ns, 1_000_000)
    return f"{whole}.{rest:06d}"
