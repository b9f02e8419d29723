"""A slow second opinion on pricing by dimensions: whole sessions, from the raw JSON.

Written with fractions and without any code of the pricing package.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Any

from catalog.pricing import UsageEvent

Json = dict[str, Any]
ERRORS = ("FAILED", "TIMEOUT", "RATE_LIMITED")


def shadow_dimensions(
    price: Json, events: Sequence[UsageEvent], closed: Collection[str] = ()
) -> Fraction:
    """Return what a period's events cost, exactly."""
    sessions: dict[str, list[UsageEvent]] = defaultdict(list)
    for event in events:
        sessions[event.session].append(event)
    calls = sum(1 for event in events if event.properties.get("tool"))
    subtotal = Fraction(0)
    fees = Fraction(0)
    for name, own in sessions.items():
        amount = sum((_parts(price, event, calls) for event in own), Fraction(0))
        if name:
            fees += Fraction(price.get("base_session_fee", "0"))
            amount -= _covered(price, own, calls)
            if name in closed and _is_bad(price, own):
                amount *= Fraction(price["error_rate_penalties"]["multiplier"])
        subtotal += amount
    off = _last(price.get("volume_discounts", []), calls, "percent") or Fraction(0)
    return subtotal * (1 - off / 100) + fees


def _last(levels: list[Json], calls: int, name: str) -> Fraction | None:
    """Return the value of the last level reached."""
    found = None
    for one in levels:
        if calls >= one["min_invocations"]:
            found = Fraction(one[name])
    return found


def _tool(price: Json, tool: str, calls: int) -> Fraction:
    """Return the rate of one call."""
    rates = price.get("tool_invocations", {})
    if tool != "*" and tool in rates:
        return Fraction(rates[tool])
    tier = _last(price.get("volume_tiers", []), calls, "rate")
    return Fraction(rates.get("*", "0")) if tier is None else tier


def _parts(price: Json, event: UsageEvent, calls: int) -> Fraction:
    """Return tool + tokens × multiplier + duration of one event."""
    tool = event.properties.get("tool", "")
    amount = _tool(price, tool, calls) if tool else Fraction(0)
    factor = Fraction(price.get("tool_multipliers", {}).get(tool, "1"))
    for name, rate in price.get("token_multipliers", {}).items():
        amount += Fraction(event.measurements.get(name, 0)) * Fraction(rate) * factor
    duration = event.measurements.get("tool_duration_ms")
    buckets = price.get("duration_buckets", [])
    by_second = isinstance(buckets, dict) and buckets.get("unit") == "per_second"
    buckets = buckets["buckets"] if isinstance(buckets, dict) else buckets
    if duration is not None and buckets:
        seconds = Fraction(duration) / 1000
        fits = [b for b in buckets if seconds <= Fraction(b["max_seconds"])]
        rate = Fraction((fits or buckets[-1:])[0]["rate"])
        amount += rate * seconds if by_second else rate
    return amount


def _covered(price: Json, own: Sequence[UsageEvent], calls: int) -> Fraction:
    """Return what the session's fee covers: its dearest calls by the list."""
    named = price.get("tool_invocations", {})
    tools = Counter(
        tool if tool in named and tool != "*" else "*"
        for event in own
        if (tool := event.properties.get("tool", ""))
    )
    left = price.get("included_tool_count", 0)
    amount = Fraction(0)
    dearest = sorted(tools, key=lambda tool: (-_tool(price, tool, 0), f"tool:{tool}"))
    for tool in dearest:
        count = min(left, tools[tool])
        amount += count * _tool(price, tool, calls)
        left -= count
    return amount


def _is_bad(price: Json, own: Sequence[UsageEvent]) -> bool:
    """Tell whether too many of a session's calls failed."""
    if "error_rate_penalties" not in price:
        return False
    calls = [event for event in own if event.properties.get("tool")]
    failed = [event for event in calls if event.properties.get("status") in ERRORS]
    threshold = Fraction(price["error_rate_penalties"]["threshold"])
    return bool(calls) and Fraction(len(failed), len(calls)) > threshold
