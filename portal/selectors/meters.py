"""What an event measured, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from catalog.pricing.linting import PARTS
from metering.models import UsageEvent
from portal.ui.figures import quantity_text

SHOWN_MAX = 4
METER_WORDS = {
    "input_tokens": "in",
    "output_tokens": "out",
    "cache_read_tokens": "cached",
    "tool_calls": "tool calls",
    "tool_duration_ms": "ms",
    "latency_ms": "ms",
    "bytes_written": "bytes",
}


def meters(event: UsageEvent) -> str:
    """Return what an event measured, in a few words: 1,842 in, 623 out."""
    measured = event.body.get("measurements", {})
    return ", ".join(
        f"{quantity_text(Decimal(value))}"
        f" {unit_of(Decimal(value), METER_WORDS.get(name, name))}"
        for name, value in list(measured.items())[:SHOWN_MAX]
    )


def summed(measured: Mapping[str, Decimal]) -> str:
    """Return what a group of events measured together: 18,204 tokens, 3 tool calls."""
    parts_of = {name for whole in PARTS if whole in measured for name in PARTS[whole]}
    shown = {name: value for name, value in measured.items() if name not in parts_of}
    tokens = [
        shown.pop(name) for name in ("input_tokens", "output_tokens") if name in shown
    ]
    parts = [(sum(tokens, Decimal(0)), "tokens")] if tokens else []
    for name, value in shown.items():
        parts.append((value, METER_WORDS.get(name, name.replace("_", " "))))
    return ", ".join(
        f"{quantity_text(value)} {unit_of(value, words)}"
        for value, words in parts[:SHOWN_MAX]
    )


def unit_of(quantity: Decimal, unit: str) -> str:
    """Return a unit that agrees with its quantity: 1 call, 2 calls."""
    if quantity == 1 and len(unit) > 3 and unit.endswith("s") and unit[-2] != "s":
        return unit[:-1]
    return unit
