"""The four stages of agentic work that charges and costs belong to."""

from __future__ import annotations

from enum import StrEnum

from catalog.pricing import Charge

TOOL_EVENTS = frozenset({"mcp.tool_invoked"})


class Stage(StrEnum):
    """Which part of a session's work something pays for."""

    PROMPT = "PROMPT"
    REASON = "REASON"
    TOOL = "TOOL"
    OUTPUT = "OUTPUT"
    OTHER = "OTHER"


# Beginnings of measurement and cost unit names, in the order in which they are tried.
_STARTS: tuple[tuple[str, Stage], ...] = (
    ("reasoning", Stage.REASON),
    ("tool", Stage.TOOL),
    ("web_search", Stage.TOOL),
    ("vector", Stage.TOOL),
    ("input", Stage.PROMPT),
    ("cache", Stage.PROMPT),
    ("prompt", Stage.PROMPT),
    ("output", Stage.OUTPUT),
)


def stage_of(name: str) -> Stage:
    """Return the stage of a measurement (`input_tokens`) or a cost unit."""
    for start, stage in _STARTS:
        if name.startswith(start):
            return stage
    return Stage.OTHER


def stage_of_charge(charge: Charge) -> Stage:
    """Return the stage that a charge prices, by what it counts."""
    if charge.metric is None:
        return Stage.OTHER
    stage = stage_of(charge.metric.field)
    types = charge.metric.event_types
    if stage is Stage.OTHER and types and types <= TOOL_EVENTS:
        return Stage.TOOL
    return stage
