"""Recorded traffic as calls of the demo's customers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

from aforo.demo import files, specs
from aforo.demo.calls import Actor, Call, compound, tokens, tool
from aforo.demo.files import Session
from aforo.demo.plans import GROQ_LLAMA, TOGETHER_LLAMA

# The streams: what event ids begin with, after the tenant's tag.
CONVERSATION, CODE, SESSIONS, SEARCHES = "conversation", "code", "session", "search"
STREAM_OF = {
    files.CONVERSATION: CONVERSATION,
    files.CODE_COMPLETION: CODE,
    files.AGENT_SESSIONS: SESSIONS,
}
# The recordings are of one hour each.
HOUR_MS = 3_600_000
SEARCH_COUNT = 480
# One request in so many is handled with priority.
PRIORITY_EVERY = 500

# When a call that came so many ms into the recording is made now.
Clock = Callable[[int], dt.datetime]
Share = tuple[tuple[int, str, tuple[str, ...]], ...]

# Of twenty requests, up to which number whose they are, and by which of its agents.
CONVERSATION_SHARE: Share = (
    (10, "halden", ("halden-advisor", "halden-helpdesk")),
    (17, "brightwater", ("brightwater-intake", "brightwater-scheduling")),
    (20, "solera", ("solera-concierge",)),
)
CODE_SHARE: Share = (
    (9, "ferrum", ("ferrum-editors", "ferrum-ci")),
    (15, "quillstack", ("quillstack-editor",)),
    (20, "lumen", ("lumen-scripts",)),
)
SESSION_SHARE: Share = (
    (12, "kestrel", ("kestrel-rebooking", "kestrel-refunds")),
    (20, "aurora", ("aurora-desk",)),
)
SEARCH_SHARE: Share = (
    (13, "quillstack", ("quillstack-search",)),
    (20, "umbra", ("umbra-shop",)),
)


def _actor(share: Share, line: int, product: str) -> Actor:
    """Return whose the request of a line is."""
    place = line % 20
    for below, customer, agents in share:
        if place < below:
            return Actor(customer, agents[line // 20 % len(agents)], product)
    raise AssertionError("the shares cover all twenty")


def conversation(prefix: str, clock: Clock) -> Iterator[Call]:
    """Return the chat service's requests, as those of the conversation agent."""
    for row in files.conversation():
        priority = row.line % PRIORITY_EVERY == 0
        yield compound(
            id=f"{prefix}:{CONVERSATION}:{row.line:05d}",
            at=clock(row.at_ms),
            actor=_actor(CONVERSATION_SHARE, row.line, specs.CONVERSATION),
            kind="llm.completion",
            measurements=tokens(
                input=row.input_tokens,
                cache_read=row.cache_read_tokens,
                output=row.output_tokens,
            ),
            properties={
                "model": "gpt-4o",
                "provider": "openai",
                "requestType": "priority" if priority else "standard",
            },
            correlation=f"chat-{row.line:05d}",
        )


def code_completion(
    prefix: str, clock: Clock, switch_at: dt.datetime
) -> Iterator[Call]:
    """Return the code service's requests; from an instant on another provider's.

    The price is by tokens alone, so the switch changes cost and margin only.
    """
    for row in files.code_completion():
        at = clock(row.at_ms)
        provider, model = (
            ("together", TOGETHER_LLAMA) if at < switch_at else ("groq", GROQ_LLAMA)
        )
        yield compound(
            id=f"{prefix}:{CODE}:{row.line:05d}",
            at=at,
            actor=_actor(CODE_SHARE, row.line, specs.CODE),
            kind="llm.completion",
            measurements=tokens(input=row.input_tokens, output=row.output_tokens),
            properties={"model": model, "provider": provider},
            correlation=f"completion-{row.line:05d}",
        )


def sessions(prefix: str, clock: Clock, suffix: str = "") -> Iterator[Call]:
    """Return the recorded sessions, with their ends, spread evenly."""
    recorded = files.agent_sessions()
    for session in recorded:
        start = clock((session.line - 1) * HOUR_MS // len(recorded))
        yield from _session(prefix, session, start, f"{session.name}{suffix}")


def _session(
    prefix: str, session: Session, start: dt.datetime, key: str
) -> Iterator[Call]:
    """Return the steps of a session one after the other, then its end."""
    actor = _actor(SESSION_SHARE, session.line, specs.AIRLINE)
    at = start
    for number, step in enumerate(session.steps, start=1):
        call_id = f"{prefix}:{SESSIONS}:{session.line:03d}:{number:03d}"
        if step.tool:
            # Between 80 and 1,103 ms, by the hash of what it was called with.
            duration_ms = 80 + int(step.args_hash[:4], 16) % 1024
            yield tool(
                id=call_id,
                at=at,
                actor=actor,
                name=step.tool,
                session=key,
                duration_ms=duration_ms,
                status=step.status,
                error_type="" if step.status == "SUCCESS" else "tool_error",
            )
        else:
            duration_ms = 400 + 20 * step.output_tokens
            yield compound(
                id=call_id,
                at=at,
                actor=actor,
                kind="llm.completion",
                measurements=tokens(
                    input=step.input_tokens,
                    output=step.output_tokens,
                    latency_ms=duration_ms,
                ),
                properties={"model": "gpt-4o", "provider": "openai"},
                correlation=key,
                session=key,
            )
        at += dt.timedelta(milliseconds=duration_ms)
    yield ending(
        id=f"{prefix}:{SESSIONS}:{session.line:03d}:end",
        at=at,
        actor=actor,
        session=key,
        resolved=session.resolved,
    )


def ending(
    *, id: str, at: dt.datetime, actor: Actor, session: str, resolved: bool
) -> Call:
    """Return the end of a session: what it was for was reached, or not."""
    return compound(
        id=id,
        at=at,
        actor=actor,
        kind=specs.SESSION_DONE if resolved else "session.failed",
        measurements={},
        properties={},
        correlation=session,
        session=session,
        outcome="resolved" if resolved else "unresolved",
    )


def searches(prefix: str, clock: Clock) -> Iterator[Call]:
    """Return searches spread evenly: one request each."""
    for number in range(SEARCH_COUNT):
        yield compound(
            id=f"{prefix}:{SEARCHES}:{number:03d}",
            at=clock(number * HOUR_MS // SEARCH_COUNT),
            actor=_actor(SEARCH_SHARE, number, specs.SEARCH),
            kind=specs.SEARCH_EVENT,
            measurements={"requests": 1},
            properties={"endpoint": "POST /v1/search"},
            correlation=f"search-{number:03d}",
        )
