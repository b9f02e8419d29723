"""The forms of charges by dimensions and of outcomes: lists typed line by line.

A line is a name and figures with a space or tab between them, so that two columns of
a spreadsheet can be pasted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from portal.composer.numbers import clean
from portal.composer.typed import Price, join_values, split_values

RATES = ("tool_invocations", "token_multipliers", "tool_multipliers")
LEVELS = {"volume_tiers": "rate", "volume_discounts": "percent"}
COMMITTED = ("committed_amount", "committed_price")
DIMENSIONS = (
    *RATES,
    "duration_buckets",
    "duration_unit",
    "error_rate_penalties",
    *LEVELS,
    "base_session_fee",
    "included_tool_count",
    "billing_mode",
    *COMMITTED,
)
MODES = (("PAY_AS_YOU_GO", "as they come"), ("COMMITTED", "by commitment"))
UNITS = (("per_invocation", "for each call"), ("per_second", "for each second"))
BY = (("correlation", "a correlation id"), ("session", "a session"))


def _lines(text: str) -> list[list[str]]:
    """Return the words of each line that is not blank."""
    return [line.split() for line in text.splitlines() if line.strip()]


def _number(text: str) -> int | str:
    """Return a whole number as one, anything else as it was typed."""
    short = clean(text)
    return int(short) if short.isascii() and short.isdecimal() else text


def read_dimensions(data: Mapping[str, Any]) -> Price | None:
    """Return a charge by dimensions as texts; None when the form cannot show it."""
    if set(data) - {"model", *DIMENSIONS}:
        return None
    values = {}
    try:
        for name in RATES:
            rates = data.get(name) or {}
            values[name] = "\n".join(f"{tool} {rate}" for tool, rate in rates.items())
        buckets = data.get("duration_buckets") or []
        unit = UNITS[0][0]
        if isinstance(buckets, Mapping):
            unit, buckets = buckets.get("unit", unit), buckets["buckets"]
        values["duration_unit"] = unit
        values["duration_buckets"] = "\n".join(
            f"{bucket['max_seconds']} {bucket['rate']}" for bucket in buckets
        )
        for name, value in LEVELS.items():
            values[name] = "\n".join(
                f"{level['min_invocations']} {level[value]}"
                for level in data.get(name) or []
            )
        penalty = data.get("error_rate_penalties")
        values["error_rate_penalties"] = (
            f"{penalty['threshold']} {penalty['multiplier']}" if penalty else ""
        )
    except (AttributeError, KeyError, TypeError):
        return None  # Not what the engine takes either: shown as it is.
    for name in ("base_session_fee", "included_tool_count", *COMMITTED):
        values[name] = str(data.get(name) or "")
    values["billing_mode"] = str(data.get("billing_mode") or MODES[0][0])
    return Price("dimensions", values)


def write_dimensions(price: Price) -> dict[str, Any]:
    """Return texts as a charge by dimensions; the engine judges them."""
    values = price.values
    row: dict[str, Any] = {"model": "dimensions"}
    for name in RATES:
        rates = {
            " ".join(words[:-1]) or words[0]: clean(words[-1])
            for words in _lines(values.get(name, ""))
        }
        if rates or name == "tool_invocations":
            row[name] = rates
    buckets: Any = [
        {"max_seconds": clean(words[0]), "rate": clean(words[-1])}
        for words in _lines(values.get("duration_buckets", ""))
    ]
    if buckets:
        unit = values.get("duration_unit", UNITS[0][0])
        by_call = unit == UNITS[0][0]
        row["duration_buckets"] = (
            buckets if by_call else {"unit": unit, "buckets": buckets}
        )
    for penalty in _lines(values.get("error_rate_penalties", ""))[:1]:
        row["error_rate_penalties"] = {
            "threshold": clean(penalty[0]),
            "multiplier": clean(penalty[-1]),
        }
    for name, value in LEVELS.items():
        levels = [
            {"min_invocations": _number(words[0]), value: clean(words[-1])}
            for words in _lines(values.get(name, ""))
        ]
        if levels:
            row[name] = levels
    if fee := clean(values.get("base_session_fee", "")):
        row["base_session_fee"] = fee
    if count := clean(values.get("included_tool_count", "")):
        row["included_tool_count"] = _number(count)
    return row | _commitment(values)


def _commitment(values: Mapping[str, str]) -> dict[str, Any]:
    """Return what of calls is committed; what is typed without it is kept."""
    row: dict[str, Any] = {}
    if values.get("billing_mode", MODES[0][0]) != MODES[0][0]:
        row["billing_mode"] = values["billing_mode"]
    if amount := clean(values.get("committed_amount", "")):
        row["committed_amount"] = _number(amount)
    if price := clean(values.get("committed_price", "")):
        row["committed_price"] = price
    return row


def read_compound(
    data: Mapping[str, Any], read_price: Callable[[Any], Price]
) -> Price | None:
    """Return an outcome as texts; None when the form cannot show it."""
    outcome = data.get("outcome")
    known = {"model", "outcome", "absorbs", "price"}
    if set(data) - known or not isinstance(outcome, Mapping):
        return None
    if set(outcome) - {"all", "by", "within_seconds"}:
        return None
    try:
        lines = [_requirement(one) for one in outcome["all"]]
        absorbs = "\n".join(data.get("absorbs") or [])
    except (AttributeError, KeyError, TypeError):
        return None
    within = outcome.get("within_seconds")
    values = {
        "outcome": "\n".join(lines),
        "by": str(outcome.get("by") or BY[0][0]),
        "within_seconds": "" if within is None else str(within),
        "absorbs": absorbs,
    }
    return Price("compound", values, inner=read_price(data.get("price")))


def _requirement(one: Mapping[str, Any]) -> str:
    """Return one kind of events as a line."""
    words = [one["event_type"], str(one.get("at_least", 1))]
    for name, allowed in (one.get("where") or {}).items():
        texts = allowed if isinstance(allowed, list) else [allowed]
        words.append(f"{name}={join_values([str(text) for text in texts])}")
    return " ".join(words)


def write_compound(price: Price, inner: Any) -> dict[str, Any]:
    """Return texts as an outcome; `inner` is the JSON of its price."""
    values = price.values
    outcome: dict[str, Any] = {"all": []}
    for line in values.get("outcome", "").splitlines():
        if line.strip():
            outcome["all"].append(_requirement_json(line))
    if values.get("by", BY[0][0]) != BY[0][0]:
        outcome["by"] = values["by"]
    if within := clean(values.get("within_seconds", "")):
        outcome["within_seconds"] = _number(within)
    row: dict[str, Any] = {"model": "compound", "outcome": outcome, "price": inner}
    absorbs = values.get("absorbs", "").split()
    return row | ({"absorbs": absorbs} if absorbs else {})


def _requirement_json(line: str) -> dict[str, Any]:
    """Return one line as a requirement: type, how many at least, conditions."""
    words = line.split()
    row: dict[str, Any] = {"event_type": words[0]}
    rest = words[1:]
    if rest and "=" not in rest[0]:
        if clean(rest[0]) != "1":
            row["at_least"] = _number(rest[0])
        rest = rest[1:]
    where: dict[str, Any] = {}
    # A value may hold spaces: words without a sign belong to the one before.
    parts: list[str] = []
    for word in rest:
        if "=" in word or not parts:
            parts.append(word)
        else:
            parts[-1] += f" {word}"
    for part in parts:
        name, _, text = part.partition("=")
        texts = split_values(text)
        where[name] = texts[0] if len(texts) == 1 else texts
    return row | ({"where": where} if where else {})
