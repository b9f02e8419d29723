"""Contracts that are reviewed, work paid in credits, and calls of a commitment.

All of it lies in one month, the one that the history has more of: what a period
includes, commits to and reaches is then the same whenever the demo is made.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from aforo.demo import specs, stretch
from aforo.demo.calls import Actor, Call, compound, tokens, tool
from aforo.demo.traffic import ending

SECOND = dt.timedelta(seconds=1)
DAY = dt.timedelta(days=1)
# Customer, agents, how many reviews, pages of the shortest contract.
REVIEWERS = (
    ("paragon", ("paragon-leases", "paragon-deals"), 24, 28),
    ("falkner", ("falkner-review",), 18, 44),
)
# Reviews that end before a model has read the contract, and one that is reopened.
INCOMPLETE = {("paragon", 7), ("paragon", 15), ("falkner", 5)}
REOPENED = ("paragon", 3)
REVIEW_TOOLS = (
    "search_clauses",
    "search_clauses",
    "compare_clause",
    "compare_clause",
    "check_citation",
    "check_citation",
    "write_redline",
)
CREDIT_TASKS = 30
CREDIT_TOOLS = ("search_clauses", "compare_clause", "check_citation")
CREDIT_AGENTS = ("vantage-reviewer", "vantage-intake")
# What each agent calls of its allocation: beyond it, below it, and to the last call.
COMMITTED = (
    ("vantage-reviewer", 350),
    ("vantage-intake", 400),
    ("vantage-sandbox", 200),
)
SESSION_CALLS = 50
GPT_4O = {"model": "gpt-4o", "provider": "openai"}


def window(end: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """Return when it happens: inside one month, in every customer's time zone."""
    middle = end - stretch.DAYS // 2 * DAY
    month = middle.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (month + 32 * DAY).replace(day=1)
    return max(month, end - stretch.DAYS * DAY) + DAY, min(following, end) - DAY


def _at_work(end: dt.datetime, number: int, whole: int) -> dt.datetime:
    """Return when one of so many tasks begins: on a working day, between 8 and 17."""
    start, stop = window(end)
    first = start.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    days = [first + n * DAY for n in range((stop - first).days)]
    days = [day for day in days if day.weekday() < stretch.SATURDAY]
    day = days[number * len(days) // whole]
    minutes = number * 137 % (9 * 60)
    return day + dt.timedelta(hours=8, minutes=minutes)


def reviews(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return contracts that are read, searched, judged, and sometimes not finished."""
    for customer, agents, count, pages in REVIEWERS:
        for number in range(count):
            agent = agents[number % len(agents)]
            yield from _review(
                f"{prefix}:scene:review:{customer}:{number:02d}",
                _at_work(end, number, count),
                Actor(customer, agent, specs.CONTRACT),
                f"review-{customer}-{number:02d}",
                pages=pages + number * 11 % 30,
                is_complete=(customer, number) not in INCOMPLETE,
                is_reopened=(customer, number) == REOPENED,
            )


def _review(
    id: str,
    at: dt.datetime,
    actor: Actor,
    key: str,
    *,
    pages: int,
    is_complete: bool,
    is_reopened: bool,
) -> Iterator[Call]:
    """Return the review of one contract."""

    def said(part: str, after_s: int, kind: str, **measurements: int) -> Call:
        return compound(
            id=f"{id}:{part}",
            at=at + after_s * SECOND,
            actor=actor,
            kind=kind,
            measurements=measurements,
            properties=GPT_4O if kind == "llm.completion" else {},
            correlation=key,
            session=key,
        )

    yield said("parsed", 0, specs.DOC_PARSED, pages=pages)
    yield said("looked-up", 15, specs.VECTORS_SEARCHED, vector_lookups=pages // 4)
    if is_complete:
        read = tokens(input=600 * pages, output=20 * pages)
        yield said("read", 40, "llm.completion", **read)
        for number, name in enumerate(REVIEW_TOOLS):
            yield tool(
                id=f"{id}:tool-{number}",
                at=at + (60 + 20 * number) * SECOND,
                actor=actor,
                name=name,
                session=key,
                duration_ms=240 + 35 * number,
            )
        judged = tokens(input=5_200 + 30 * pages, output=1_150)
        yield said("judged", 240, "llm.completion", **judged)
    yield ending(
        id=f"{id}:end",
        at=at + 260 * SECOND,
        actor=actor,
        session=key,
        resolved=is_complete,
    )
    if is_reopened:
        yield said("reopened", 93_600, specs.REOPENED, requests=1)


def credit_tasks(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return small tasks that are paid in credits: models and tools."""
    for number in range(CREDIT_TASKS):
        agent = CREDIT_AGENTS[number % len(CREDIT_AGENTS)]
        actor = Actor("vantage", agent, specs.CONTRACT)
        at = _at_work(end, number, CREDIT_TASKS)
        id, key = f"{prefix}:scene:credits:{number:02d}", f"clauses-{number:02d}"
        for turn in range(2):
            yield compound(
                id=f"{id}:model-{turn}",
                at=at + 30 * turn * SECOND,
                actor=actor,
                kind="llm.completion",
                measurements=tokens(
                    input=6_400 + 410 * (number % 9), output=480 + 70 * turn
                ),
                properties=GPT_4O,
                correlation=key,
                session=key,
            )
        for place, name in enumerate(CREDIT_TOOLS):
            yield tool(
                id=f"{id}:tool-{place}",
                at=at + (8 + 6 * place) * SECOND,
                actor=actor,
                name=name,
                session=key,
                duration_ms=210,
            )
        yield ending(
            id=f"{id}:end",
            at=at + 50 * SECOND,
            actor=actor,
            session=key,
            resolved=True,
        )


def committed(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return the calls of three agents, each with its part of a commitment."""
    start, stop = window(end)
    for agent, count in COMMITTED:
        actor = Actor("vantage", agent, specs.FILES)
        # In whole seconds, and a session at a time.
        step = int((stop - start).total_seconds()) // count
        for number in range(count):
            session, place = divmod(number, SESSION_CALLS)
            yield tool(
                id=f"{prefix}:scene:committed:{agent}:{number:03d}",
                at=start + (session * SESSION_CALLS * step + 7 * place) * SECOND,
                actor=actor,
                name="write_file" if number % 10 == 9 else "read_file",
                session=f"{agent}-{session}",
                duration_ms=120 + 15 * (number % 6),
            )


def every(prefix: str, end: dt.datetime) -> Iterator[Call]:
    """Return all scenes of contracts."""
    yield from reviews(prefix, end)
    yield from credit_tasks(prefix, end)
    yield from committed(prefix, end)
