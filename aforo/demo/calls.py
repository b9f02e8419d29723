"""One call of the demo's agents: what the guard is asked, and what is reported."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aforo.demo.specs import TOOL_EVENT


@dataclass(frozen=True, slots=True)
class Actor:
    """Who calls what: a customer's agent and a product, by the names events carry."""

    customer: str
    agent: str
    product: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call: it is asked for at the guard and then reported as an event."""

    id: str  # Of the event and of the request alike; the same in every replay.
    at: dt.datetime
    actor: Actor
    event: Mapping[str, Any]
    estimate: Mapping[str, int]  # Units that the guard is told of.
    # Whether the guard's refusal counts although the call is history: it is not made.
    must_ask: bool = False


def stamp(at: dt.datetime) -> str:
    """Return an instant as events carry it, in milliseconds."""
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds")


def compound(
    *,
    id: str,
    at: dt.datetime,
    actor: Actor,
    kind: str,
    measurements: Mapping[str, int],
    properties: Mapping[str, str],
    correlation: str,
    session: str = "",
    outcome: str = "",
    usage: Any = None,
) -> Call:
    """Return a call that is reported with several measurements.

    With a provider's block as `usage` the event carries that instead; `measurements`
    are then what the guard is told to expect.
    """
    event: dict[str, Any] = {
        "eventId": id,
        "eventType": kind,
        "requestId": id,
        "correlationId": correlation,
        "timestamp": stamp(at),
        "customerId": actor.customer,
        "agentId": actor.agent,
        "productId": actor.product,
        "properties": dict(properties),
    }
    if usage is not None:
        event["usage"] = usage
    elif measurements:
        event["measurements"] = [
            {"metricKey": name, "value": value} for name, value in measurements.items()
        ]
    if session:
        event["sessionId"] = session
    if outcome:
        event["outcome"] = outcome
    return Call(id, at, actor, event, measurements)


def tokens(
    *, input: int, cache_read: int = 0, output: int, **others: int
) -> dict[str, int]:
    """Return the measurements of a model's call; `input` is without the cache.

    Reported totals are inclusive: what was read from the cache is input too.
    """
    found = {"input_tokens": input + cache_read, "output_tokens": output, **others}
    if cache_read:
        found["cache_read_tokens"] = cache_read
    return found


def tool(
    *,
    id: str,
    at: dt.datetime,
    actor: Actor,
    name: str,
    session: str,
    duration_ms: int,
    status: str = "SUCCESS",
    error_type: str = "",
    must_ask: bool = False,
) -> Call:
    """Return one invocation of a tool of an MCP server."""
    event: dict[str, Any] = {
        "event_id": id,
        "event_type": TOOL_EVENT,
        "request_id": id,
        "correlation_id": session,
        "recorded_timestamp": stamp(at),
        "customer_id": actor.customer,
        "agent_id": actor.agent,
        "mcp_server_id": actor.product,
        "session_id": session,
        "tool_name": name,
        "execution_duration_ms": duration_ms,
        "execution_status": status,
    }
    if error_type:
        event["error_type"] = error_type
    return Call(id, at, actor, event, {"tool_calls": 1}, must_ask)


def question(call: Call) -> dict[str, Any]:
    """Return what the guard is asked before a call."""
    asked: dict[str, Any] = {
        "request_id": call.id,
        "customer_id": call.actor.customer,
        "agent_id": call.actor.agent,
        "product_id": call.actor.product,
        "estimate": {"units": dict(call.estimate)},
    }
    session = call.event.get("session_id") or call.event.get("sessionId")
    if session:
        asked["session_id"] = session
    if "tool_name" in call.event:
        asked["tool_name"] = call.event["tool_name"]
    return asked
