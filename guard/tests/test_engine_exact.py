"""Many clients, many limits at once: as many pass as the limit says, no more."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from guard.engine import check, keys, scripts, settle
from guard.engine.decision import Decision, Outcome
from guard.engine.state import Quota
from guard.tests.edge import Edge

CLIENTS = 64
AT_ONCE = 25  # checks of one client on their way together
MICROS, TOKENS = 7, 3  # of one call
OPEN = 1_000_000_000  # a limit that nobody meets


def limited(**calls: int) -> dict[str, Any]:
    """Return a configuration in which every limit holds so many calls."""

    def most(name: str) -> int:
        return calls.get(name, OPEN)

    return {
        "customer": {"spend_cap": most("customer") * MICROS},
        "agent": {
            "spend_cap": most("agent") * MICROS,
            "team_spend_cap": most("team") * MICROS,
        },
        "spend_cap": most("plan") * MICROS,
        "requests_per_minute": most("requests"),
        "tokens_per_minute": most("tokens") * TOKENS,
        "wallet": True,
        "quotas": (
            Quota(metric="tokens", limit=most("quota") * TOKENS, on_exceed="deny"),
            Quota(metric="pages", limit=most("pages"), on_exceed="deny"),
        ),
    }


def ask_from_many(edge: Edge, total: int) -> list[Decision]:
    """Send so many checks from CLIENTS connections and return all answers."""
    ready = threading.Barrier(CLIENTS)
    pool = edge.client.connection_pool
    edge.client.script_load(scripts.CHECK.text)

    def client(number: int) -> list[Decision]:
        mine = range(number, total, CLIENTS)
        answers: list[Decision] = []
        # A connection of its own, so that the server sees CLIENTS of them at once.
        with redis.Redis(
            connection_pool=type(pool)(
                connection_class=pool.connection_class, **pool.connection_kwargs
            )
        ) as own:
            ready.wait()
            for start in range(0, len(mine), AT_ONCE):
                asked = [
                    edge.request(
                        request_id=f"call-{at}",
                        amount_micros=MICROS,
                        tokens=TOKENS,
                        units={"pages": 1},
                        session=f"s{at % 10}",
                    )
                    for at in mine[start : start + AT_ONCE]
                ]
                with own.pipeline(transaction=False) as pipe:
                    for one in asked:
                        call = check.prepare(one)
                        pipe.evalsha(
                            call.script.sha, len(call.keys), *call.keys, *call.args
                        )
                    replies = pipe.execute()
                for one, reply in zip(asked, replies, strict=True):
                    found = check.interpret(one, reply)
                    assert isinstance(found, Decision)
                    answers.append(found)
        return answers

    with ThreadPoolExecutor(CLIENTS) as threads:
        return [one for part in threads.map(client, range(CLIENTS)) for one in part]


def stored_sums(edge: Edge) -> dict[bytes, int]:
    raw: Any = edge.client.hgetall(keys.hold_keys(edge.tag)[2])
    return {name: int(value) for name, value in raw.items()}


def hold_to(edge: Edge, binding: str, most: int, total: int) -> None:
    """Assert that of `total` checks exactly `most` pass under one binding limit."""
    calls = {"wallet": OPEN, binding: most}
    edge.project(**limited(**calls))
    edge.total(available=calls["wallet"] * MICROS)
    answers = ask_from_many(edge, total)
    passed = [one for one in answers if one.outcome == Outcome.ALLOW]
    assert (len(answers), len(passed)) == (total, most)
    assert len({one.reason for one in answers}) == 2
    before = stored_sums(edge)
    assert before[b"m"] == most * MICROS
    assert before[b"agt_1"] == before[b"tem_1"] == before[b"sub_1"] == before[b"m"]
    sessions = [n for name, n in before.items() if name.startswith(b"ses:")]
    assert sum(sessions) == before[b"m"] <= calls["wallet"] * MICROS
    assert before[keys.unit_sum_field("sub_1", "pages").encode()] == most
    assert settle.recount(edge.client, edge.tag) == settle.Recounted(
        most, most * MICROS, 0, 0
    )
    assert stored_sums(edge) == before


LIMITS = ["agent", "team", "customer", "plan", "wallet", "quota", "pages"]


@pytest.mark.parametrize("binding", LIMITS)
def test_exactly_as_many_pass_as_the_limit_says(any_edge: Edge, binding: str) -> None:
    hold_to(any_edge, binding, most=1_500, total=5_000)


@pytest.mark.parametrize("binding", ["requests", "tokens"])
def test_no_minute_holds_more_than_its_rate(any_edge: Edge, binding: str) -> None:
    edge = any_edge
    edge.project(**limited(**{binding: 1_500}))
    edge.total(available=OPEN)
    answers = ask_from_many(edge, 5_000)
    passed = sorted(
        one.now_ms // 1000 for one in answers if one.outcome == Outcome.ALLOW
    )
    assert len(passed) >= 1_500
    for first, after in zip(passed, passed[1_500:], strict=False):
        assert after - first > 60


def test_a_limit_lowered_in_full_flight_lets_no_more_pass(any_edge: Edge) -> None:
    edge = any_edge
    edge.project(**limited())
    edge.total(available=OPEN)
    before = ask_from_many(edge, 1_000)
    assert {one.outcome for one in before} == {Outcome.ALLOW}
    edge.config_version = 2
    edge.project(**limited(plan=1_200, pages=1_300))
    edge.total(available=OPEN)
    calls = [edge.ask(amount_micros=MICROS) for _ in range(400)]
    assert sum(one.outcome == Outcome.ALLOW for one in calls) == 200


@pytest.mark.full
@pytest.mark.parametrize("binding", LIMITS)
def test_exactly_as_many_pass_of_a_million(any_edge: Edge, binding: str) -> None:
    hold_to(any_edge, binding, most=19_000, total=100_000)
