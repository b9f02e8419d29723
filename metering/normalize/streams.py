"""Where usage stands in what was sent: a block, a response, or a stream's events.

Figures of a stream are cumulative: for each field the last value wins and nothing is
added. What a model was told and what it said is left out of what is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from metering.normalize import shapes
from metering.normalize.reading import DOUBTS_MAX, as_count

# Members of a response or an event under which its usage stands.
USAGE = (
    "usage",
    "usageMetadata",
    "usage_metadata",
    "usage_info",
    "amazon-bedrock-invocationMetrics",
)
# Members that hold another object with usage in it.
NESTED = ("message", "response", "metadata", "x_groq", "result", "data")
# What else of a response says something about its price.
FACTS = frozenset(
    """type object model modelVersion model_version service_tier serviceTier speed
    inference_geo region finish status""".split()
)
# What was said to and by a model; no block of figures has these.
CONTENT = frozenset(
    """choices content output messages prompt completion input delta text instructions
    tools""".split()
)
NEST_MAX = 3
# A longer stream is thinned to the events that decide.
EVENTS_KEPT = 8


class Carrier(NamedTuple):
    """An object that has usage, with what was said around it."""

    usage: Mapping[str, Any]
    facts: Mapping[str, Any]


class Found(NamedTuple):
    """The usage of a call, and whether the provider came to say the last of it."""

    usage: Mapping[str, Any] | None
    facts: Mapping[str, Any]
    is_final: bool
    doubts: tuple[str, ...]


def find(block: Any) -> Found:
    """Return the usage of a block, of a response or of the events of a stream."""
    if isinstance(block, dict):
        if (carrier := carried(block)) is not None:
            return Found(carrier.usage, carrier.facts, _is_final([block]), ())
        if shapes.shape_of(block) is None and any(name in block for name in USAGE):
            return Found(None, {}, False, ())
        return Found(block, block, True, ())
    if not isinstance(block, list):
        return Found({}, {}, True, ("it is neither an object nor a list",))
    events = [event for event in block if isinstance(event, dict)]
    carriers = [c for c in map(_of_event, events) if c is not None]
    if not carriers:
        return Found(None, {}, False, ())
    usage, doubts = _last(carriers)
    facts: dict[str, Any] = {}
    for carrier in carriers:
        facts |= {k: v for k, v in carrier.facts.items() if isinstance(v, str) and v}
    return Found(usage, facts, _is_final(events), tuple(doubts))


def _of_event(event: Mapping[str, Any]) -> Carrier | None:
    """Return the usage of one event of a stream, which may be a bare block."""
    if (carrier := carried(event)) is not None:
        return carrier
    return Carrier(event, event) if shapes.shape_of(event) is not None else None


def carried(outer: Mapping[str, Any], depth: int = 0) -> Carrier | None:
    """Return the usage inside an object; None where it has none."""
    for name in USAGE:
        usage = outer.get(name)
        # A block of figures may hold like-named ones of its parts; those are its own.
        if isinstance(usage, dict) and (
            name == "usage_info" or shapes.shape_of(outer) is None
        ):
            return Carrier(usage, outer)
    if depth < NEST_MAX:
        for name in NESTED:
            if isinstance(inner := outer.get(name), dict):
                found = carried(inner, depth + 1)
                if found is not None:
                    return Carrier(found.usage, {**outer, **found.facts})
    return None


def _last(carriers: Sequence[Carrier]) -> tuple[dict[str, Any], list[str]]:
    """Return each field's last value, and a doubt where a figure fell on the way."""
    usage: dict[str, Any] = {}
    doubts: list[str] = []
    for carrier in carriers:
        for name, value in carrier.usage.items():
            if value is None:
                continue
            before, now = as_count(usage.get(name)), as_count(value)
            fell = before is not None and now is not None and now < before
            if fell and len(doubts) < DOUBTS_MAX:
                doubts.append(
                    f"{name[:60]} fell from {before} to {now}: it is not cumulative"
                )
            usage[name] = value
    return usage, doubts


def _is_final(events: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a stream was read to its end, where its own form shows it.

    Anthropic's last figures come with message_delta, Gemini's with a finishReason.
    """
    kinds = {event.get("type") for event in events if _is_text(event.get("type"))}
    if "message_start" in kinds:
        return "message_delta" in kinds
    answers = [event["candidates"] for event in events if event.get("candidates")]
    if answers and any("usageMetadata" in event for event in events):
        return any(_reasons(answer) for answer in answers)
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _reasons(candidates: Any) -> list[Any]:
    """Return why Gemini's candidates ended, those that did."""
    if not isinstance(candidates, list):
        return []
    found = (c.get("finishReason") for c in candidates if isinstance(c, dict))
    return [reason for reason in found if reason]


def strip(block: Any) -> Any:
    """Return what of a block is kept: its usage as it came, without any content."""
    if isinstance(block, dict):
        return _without_content(block)
    if not isinstance(block, list):
        return block
    bearing: list[dict[str, Any]] = []
    end: list[
        dict[str, Any]
    ] = []  # An event that only says that Gemini's answer ended.
    for event in block:
        if not isinstance(event, dict):
            continue
        if _of_event(event) is not None:
            bearing.append(_without_content(event))
        elif _reasons(event.get("candidates")):
            end = [_without_content(event)]
    return _thin(bearing) + end


def _without_content(outer: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return a response or event without what was said in it; a block as it is."""
    told = any(name in outer for name in USAGE)
    nested = {n for n in NESTED if isinstance(outer.get(n), dict)}
    is_block = shapes.shape_of(outer) is not None
    if depth == 0 and (is_block or not (told or nested or "candidates" in outer)):
        return {name: v for name, v in outer.items() if name not in CONTENT}
    kept: dict[str, Any] = {}
    for name, value in outer.items():
        if name in USAGE or (name in FACTS and isinstance(value, str)):
            kept[name] = value
        elif name in nested and depth < NEST_MAX:
            kept[name] = _without_content(outer[name], depth + 1)
        elif name == "candidates":
            kept[name] = [{"finishReason": reason} for reason in _reasons(value)] or [
                {}
            ]
    return kept


def _thin(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of a long stream that decide what it says.

    For each field the last that gives it, and the one where it was the largest: so
    that what is kept reads like the whole, doubts included.
    """
    if len(events) <= EVENTS_KEPT:
        return events
    wanted = {0, len(events) - 1}
    last: dict[str, int] = {}
    largest: dict[str, tuple[int, int]] = {}
    for place, event in enumerate(events):
        carrier = _of_event(event)
        for name, value in (carrier.usage if carrier else {}).items():
            if value is None:
                continue
            last[name] = place
            count = as_count(value)
            if count is not None and count > largest.get(name, (-1, 0))[0]:
                largest[name] = count, place
        if _reasons(event.get("candidates")):
            last["\0reason"] = place
    wanted.update(last.values())
    wanted.update(place for _, place in largest.values())
    return [events[place] for place in sorted(wanted)]


def names(carriers: Iterable[str]) -> str:
    """Return names for a sentence."""
    return ", ".join(f"`{name[:40]}`" for name in carriers)
