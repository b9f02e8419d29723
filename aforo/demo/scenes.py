"""Scenes that the recordings do not have: each shows one thing that happens."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from aforo.demo import contract_scenes, provider_scenes, specs
from aforo.demo.calls import Actor, Call, compound, tokens, tool
from aforo.demo.stretch import weekend_before
from aforo.demo.traffic import ending

SECOND = dt.timedelta(seconds=1)
# The data-integration run: server, tool, how often. 52 calls over six servers.
INTEGRATION = (
    ("crm-mcp", "list_accounts", 2),
    ("schema-mcp", "analyze_schema", 3),
    ("crm-mcp", "read_contacts", 8),
    ("erp-mcp", "read_orders", 9),
    ("erp-mcp", "read_invoices", 5),
    ("warehouse-mcp", "read_table", 6),
    ("warehouse-mcp", "transform_data", 6),
    ("schema-mcp", "validate_schema", 2),
    ("warehouse-mcp", "write_table", 3),
    ("files-mcp", "read_file", 4),
    ("files-mcp", "write_file", 2),
    ("mail-mcp", "send_report", 2),
)
# What the agent that runs away tries over a weekend; its customer's cap stops it.
RUNAWAY_CALLS = 14_000
RUNAWAY = Actor("castor", "castor-transformer", specs.WAREHOUSE)


def singles(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return one search, one completion by GPT-4o, one write to object storage."""
    at = end - dt.timedelta(days=1, hours=3)
    yield compound(
        id=f"{prefix}:scene:search",
        at=at,
        actor=Actor("quillstack", "quillstack-search", specs.SEARCH),
        kind=specs.SEARCH_EVENT,
        measurements={"requests": 1},
        properties={"endpoint": "POST /v1/search"},
        correlation="scene-search",
    )
    yield compound(
        id=f"{prefix}:scene:gpt-4o",
        at=at + 60 * SECOND,
        actor=Actor("halden", "halden-advisor", specs.CONVERSATION),
        kind="llm.completion",
        measurements=tokens(input=2_400, output=800),
        properties={
            "model": "gpt-4o",
            "provider": "openai",
            "requestType": "standard",
        },
        correlation="scene-gpt-4o",
    )
    yield compound(
        id=f"{prefix}:scene:s3-put",
        at=at + 120 * SECOND,
        actor=Actor("ferrum", "ferrum-ci", specs.CODE),
        kind=specs.STORAGE_EVENT,
        measurements={"bytes_written": 4_200_000},
        properties={"bucket": "build-artifacts"},
        correlation="scene-s3-put",
    )


def smart_search(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return a session that needs one query of SmartSearch."""
    actor = Actor("kestrel", "kestrel-rebooking", specs.AIRLINE)
    at = end - dt.timedelta(days=2, hours=5)
    session = "smart-search"
    yield tool(
        id=f"{prefix}:scene:smart-search:query",
        at=at,
        actor=actor,
        name="SmartSearch.query",
        session=session,
        duration_ms=640,
    )
    yield ending(
        id=f"{prefix}:scene:smart-search:end",
        at=at + SECOND,
        actor=actor,
        session=session,
        resolved=True,
    )


def integration(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return the run of 52 calls twice: at a flat price, and priced by tool."""
    at = end - dt.timedelta(days=3, hours=2)
    for customer, agent in (("umbra", "umbra-pipeline"), ("delphi", "delphi-pipeline")):
        session = f"integration-{customer}"
        number = 0
        for server, name, times in INTEGRATION:
            for _ in range(times):
                number += 1
                yield tool(
                    id=f"{prefix}:scene:integration:{customer}:{number:02d}",
                    at=at + 8 * number * SECOND,
                    actor=Actor(customer, agent, server),
                    name=name,
                    session=session,
                    duration_ms=300 + 90 * (number % 7),
                )
        yield ending(
            id=f"{prefix}:scene:integration:{customer}:end",
            at=at + 8 * (number + 1) * SECOND,
            actor=Actor(customer, agent, "crm-mcp"),
            session=session,
            resolved=True,
        )


def escalation(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return a session that begins with a small model and goes on with a larger."""
    actor = Actor("aurora", "aurora-desk", specs.AIRLINE)
    at = end - dt.timedelta(days=1, hours=6)
    session = "escalation"
    for number, (model, used, made) in enumerate(
        (
            ("gpt-4o-mini", 1_480, 60),
            ("gpt-4o-mini", 1_690, 85),
            ("", 0, 0),
            ("gpt-4o", 2_040, 310),
            ("gpt-4o", 2_520, 190),
        )
    ):
        step = f"{prefix}:scene:escalation:{number}"
        when = at + 4 * number * SECOND
        if not model:
            yield tool(
                id=step,
                at=when,
                actor=actor,
                name="search_onestop_flight",
                session=session,
                duration_ms=910,
                status="FAILED",
                error_type="no_match",
            )
            continue
        yield compound(
            id=step,
            at=when,
            actor=actor,
            kind="llm.completion",
            measurements=tokens(input=used, output=made, latency_ms=400 + 20 * made),
            properties={"model": model, "provider": "openai"},
            correlation=session,
            session=session,
        )
    yield ending(
        id=f"{prefix}:scene:escalation:end",
        at=at + 30 * SECOND,
        actor=actor,
        session=session,
        resolved=True,
    )


def runaway(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return what an agent tries in a weekend; each call is made if the guard lets it.

    A cap counts the month that runs now. In the days before a month's first weekend
    is over, the calls are spread over what has passed of the month instead.
    """
    month = end.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start, stop = weekend_before(end)
    if start < month:
        start, stop = month, max(end, month + SECOND)
    step = (stop - start) // RUNAWAY_CALLS
    for number in range(RUNAWAY_CALLS):
        offset = number * step
        yield tool(
            id=f"{prefix}:scene:runaway:{number:05d}",
            at=start + offset,
            actor=RUNAWAY,
            name="transform_data",
            session="transform-weekend",
            duration_ms=1_200,
            must_ask=True,
        )


def every(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return all scenes."""
    yield from singles(prefix, end)
    yield from smart_search(prefix, end)
    yield from integration(prefix, end)
    yield from escalation(prefix, end)
    yield from provider_scenes.providers(prefix, end)
    yield from contract_scenes.every(prefix, end)
    yield from runaway(prefix, end)
