"""The recorded traffic that comes with the product; data/NOTICE.md says whose it is."""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parent / "data"
CONVERSATION = "llm_conversation.jsonl"
CODE_COMPLETION = "llm_code_completion.csv"
AGENT_SESSIONS = "agent_sessions.jsonl"
FILES = (CONVERSATION, CODE_COMPLETION, AGENT_SESSIONS)


class Request(NamedTuple):
    """One recorded request to a language model."""

    line: int  # Of its file, from 1: what event ids are made from.
    at_ms: int  # Since the first one.
    input_tokens: int  # Not read from a cache.
    cache_read_tokens: int
    output_tokens: int


class Step(NamedTuple):
    """One step of a recorded session: a call of the model or of a tool."""

    tool: str  # Empty for a call of the model.
    status: str
    input_tokens: int
    output_tokens: int
    args_hash: str


@dataclass(frozen=True, slots=True)
class Session:
    """A recorded run of an agent."""

    line: int
    name: str
    resolved: bool
    steps: tuple[Step, ...]


class Tokens(NamedTuple):
    """Requests and tokens: of a file, of a part of it, or of what was stored."""

    requests: int = 0  # Calls of a model.
    input_tokens: int = 0  # Not read from a cache.
    cache_read_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0

    def plus(self, other: Tokens) -> Tokens:
        """Return the sum of both."""
        return Tokens(*(a + b for a, b in zip(self, other, strict=True)))


@cache
def conversation() -> tuple[Request, ...]:
    """Return the requests of the chat service, in the order of arrival."""
    with open(DATA / CONVERSATION) as rows:
        return tuple(
            Request(
                line,
                row["t_ms"],
                row["input_tokens"],
                row["cache_read_tokens"],
                row["output_tokens"],
            )
            for line, row in enumerate(map(json.loads, rows), start=1)
        )


@cache
def code_completion() -> tuple[Request, ...]:
    """Return the requests of the code service, in the order of arrival."""
    with open(DATA / CODE_COMPLETION, newline="") as rows:
        read = [
            (
                # Seven places of a second: one more than Python keeps.
                dt.datetime.fromisoformat(row["TIMESTAMP"][:26]),
                int(row["ContextTokens"]),
                int(row["GeneratedTokens"]),
            )
            for row in csv.DictReader(rows)
        ]
    first = read[0][0]
    return tuple(
        Request(line, (at - first) // dt.timedelta(milliseconds=1), context, 0, made)
        for line, (at, context, made) in enumerate(read, start=1)
    )


@cache
def agent_sessions() -> tuple[Session, ...]:
    """Return the sessions of the support agent."""
    with open(DATA / AGENT_SESSIONS) as rows:
        return tuple(
            Session(
                line,
                row["session"],
                row["resolved"],
                tuple(_step(step) for step in row["steps"]),
            )
            for line, row in enumerate(map(json.loads, rows), start=1)
        )


def _step(row: dict[str, object]) -> Step:
    tool = row.get("tool", "")
    return Step(
        str(tool),
        str(row.get("status", "SUCCESS")),
        int(str(row.get("input_tokens", 0))),
        int(str(row.get("output_tokens", 0))),
        str(row.get("args_sha", "")),
    )


def _tokens_of(file: str) -> Iterator[Tokens]:
    if file == AGENT_SESSIONS:
        for session in agent_sessions():
            for step in session.steps:
                if step.tool:
                    yield Tokens(tool_calls=1)
                else:
                    yield Tokens(1, step.input_tokens, 0, step.output_tokens)
        return
    for row in conversation() if file == CONVERSATION else code_completion():
        yield Tokens(1, row.input_tokens, row.cache_read_tokens, row.output_tokens)


@cache
def totals(file: str) -> Tokens:
    """Return the sums of a whole file."""
    total = Tokens()
    for tokens in _tokens_of(file):
        total = total.plus(tokens)
    return total
