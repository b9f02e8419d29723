"""The form of outcomes: events that make one, typed line by line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from portal.composer.numbers import clean
from portal.composer.typed import Price, join_values, split_values

BY = (("correlation", "a correlation id"), ("session", "a session"))


def _number(text: str) -> int | str:
    """Return a whole number as one, anything else as it was typed."""
    short = clean(text)
    return int(short) if short.isascii() and short.isdecimal() else text


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
