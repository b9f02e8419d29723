"""The usage that the benchmarks send: compound events, alone or in batches."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench.load import http_post

BATCH = 100
TABLES = ("metering_usageevent", "billing_ledgerentry", "metering_costfact")
MEASUREMENTS = {
    "input_tokens": 1500,
    "output_tokens": 800,
    "cache_read_tokens": 500,
    "tool_calls": 2,
    "web_searches": 1,
}


def event(
    number: int,
    *,
    customers: int,
    measured: Mapping[str, int] = MEASUREMENTS,
    per_session: int = 0,
) -> dict[str, Any]:
    """Return a compound event of one of the customers of bench.world.

    Its session holds the customer's part of so many events in a row: 60 events of its
    own unless told.
    """
    who = number % customers
    return {
        "eventId": f"req-{number:010d}",
        "eventType": "llm.completion",
        "customerId": f"customer-{who}",
        "agentId": f"agent-{who}",
        "productId": "llm",
        "sessionId": f"session-{who}-{number // (per_session or customers * 60)}",
        "properties": {"model": "gpt-4o", "provider": "openai"},
        "measurements": [
            {"metricKey": name, "value": value + number % 50}
            for name, value in measured.items()
        ],
        "correlationId": f"work-{number // 3}",
    }


def requests(
    numbers: Iterator[int],
    make: Callable[[int], dict[str, Any]],
    *,
    key: str,
    size: int,
    told: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Iterator[bytes]:
    """Yield requests of `size` events until there are no numbers left.

    `told` is given the last event of each as it is sent.
    """
    while events := [make(number) for number in itertools.islice(numbers, size)]:
        body = json.dumps(events if size > 1 else events[0]).encode()
        told(events[-1])
        yield http_post("/v1/events", body, key)
