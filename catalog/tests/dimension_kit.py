"""Short ways to write plans by dimensions and the events of agents."""

from __future__ import annotations

from typing import Any

from catalog.pricing import Plan, UsageEvent, parse_plan
from catalog.tests.pricing_kit import event

FULL: dict[str, Any] = {
    "tool_invocations": {
        "transform_schema": 0.10,
        "validate_credentials": 0.001,
        "read_database": 0.05,
        "*": 0.002,
    },
    "token_multipliers": {"input_tokens": 0.000001, "output_tokens": 0.000002},
    "duration_buckets": [
        {"max_seconds": 60, "rate": 0.10},
        {"max_seconds": 300, "rate": 0.50},
        {"max_seconds": 3600, "rate": 2.00},
    ],
}


def plan(**members: Any) -> Plan:
    """Return a plan of one charge by dimensions."""
    row = {"key": "use", "name": "Use", "price": {"model": "dimensions", **members}}
    return parse_plan({"currency": "USD", "charges": [row]})


def call(
    number: int = 0,
    tool: str = "",
    *,
    session: str = "",
    status: str = "SUCCESS",
    **measurements: Any,
) -> UsageEvent:
    """Return an event, of a tool when one is named."""
    properties = {"tool": tool, "status": status} if tool else {}
    made = event(number, properties=properties, **measurements)
    return made._replace(session=session)
