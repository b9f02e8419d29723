"""Windows of rates, replays, and many callers at once, on the real script."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from guard.engine import keys, scripts
from guard.engine.decision import Decision, Outcome
from guard.engine.state import Quota
from guard.tests.edge import Edge, now_ms


def rates(edge: Edge, *seconds: tuple[int, int]) -> None:
    """Put a sliding minute into the store: (second, count) pairs, the last is head."""
    key = keys.customer_keys(edge.tag)[4]
    pack = msgspec.msgpack.encode
    edge.client.delete(key)
    for second, count in seconds[:-1]:
        edge.client.hset(key, f"r:sub_1:{second % 64}", pack([second, count]))
    total = sum(count for _, count in seconds)
    edge.client.hset(key, "r:sub_1", pack([total, *seconds[-1]]))


def test_a_minute_slides(edge: Edge) -> None:
    edge.project(requests_per_minute=10)
    second = now_ms() // 1000
    rates(edge, (second - 70, 9), (second - 30, 9))
    decision = edge.ask()
    assert decision.outcome == Outcome.ALLOW
    assert decision.limits[0].used == 10
    refused = edge.ask()
    assert refused.reason == "requests.subscription.minute"
    assert refused.retry_at_ms == (second - 30 + 61) * 1000


def test_a_second_counts_until_it_is_wholly_a_minute_old(edge: Edge) -> None:
    edge.project(requests_per_minute=10)
    second = now_ms() // 1000
    rates(edge, (second - 58, 10))
    assert edge.verdict() == "requests.subscription.minute"
    rates(edge, (second - 61, 10))
    assert edge.verdict() == "allow"


def test_a_clock_that_runs_back_frees_nothing(edge: Edge) -> None:
    edge.project(requests_per_minute=10)
    ahead = now_ms() // 1000 + 3600
    rates(edge, (ahead, 10))
    assert edge.verdict() == "requests.subscription.minute"


def test_a_replay_returns_the_first_decision_and_reserves_once(edge: Edge) -> None:
    edge.project(customer={"spend_cap": 100})
    first = edge.ask(request_id="r", amount_micros=60)
    again = edge.ask(request_id="r", amount_micros=60)
    assert again.replayed
    assert (again.outcome, again.decision_id) == (first.outcome, first.decision_id)
    assert again.hold_until_ms == first.hold_until_ms
    assert edge.verdict(amount_micros=40) == "allow"
    assert edge.verdict(amount_micros=1) == "spend_cap.customer.period"


def test_a_replay_counts_in_requests_per_minute(edge: Edge) -> None:
    edge.project(requests_per_minute=3)
    assert [edge.verdict(request_id="r") for _ in range(3)] == ["allow"] * 3
    assert edge.verdict() == "requests.subscription.minute"


def test_a_denied_request_id_is_judged_anew(edge: Edge) -> None:
    edge.project(customer={"spend_cap": 100})
    edge.total(spend=100)
    assert edge.verdict(request_id="r") == "spend_cap.customer.period"
    edge.version = 2
    edge.total(spend=0)
    assert edge.verdict(request_id="r", amount_micros=1) == "allow"


def test_a_correlation_id_stands_in_only_while_it_is_unused(edge: Edge) -> None:
    edge.project(requests_per_minute=10)
    first = edge.ask(request_id="corr", minted_id="m1")
    second = edge.ask(request_id="corr", minted_id="m2")
    assert not second.replayed
    assert first.hold_key == keys.request_key("corr")
    assert second.hold_key == keys.request_key("m2")


def test_a_lost_script_is_loaded_again(edge: Edge) -> None:
    edge.project()
    edge.client.script_flush()
    assert edge.verdict() == "allow"
    assert edge.client.script_exists(scripts.CHECK.sha) == [True]


@pytest.mark.parametrize(
    ("_case", "limits", "totals", "members", "admitted"),
    [
        ("requests", {"requests_per_minute": 100}, {}, {}, 100),
        ("tokens", {"tokens_per_minute": 700}, {}, {"tokens": 7}, 100),
        ("cap", {"customer": {"spend_cap": 1_000}}, {}, {"amount_micros": 10}, 100),
        ("wallet", {"wallet": True}, {"available": 1_009}, {"amount_micros": 10}, 100),
        (
            "quota",
            {"quotas": (Quota(metric="tokens", limit=1_000, on_exceed="deny"),)},
            {"tokens": 300},
            {"tokens": 7},
            100,
        ),
    ],
)
def test_64_clients_at_once_never_pass_a_limit(
    edge: Edge,
    _case: str,
    limits: dict[str, Any],
    totals: Mapping[str, Any],
    members: dict[str, Any],
    admitted: int,
) -> None:
    edge.project(**limits)
    edge.total(**totals)

    def ask_often(_: int) -> int:
        return sum(edge.ask(**members).outcome == Outcome.ALLOW for _ in range(10))

    with ThreadPoolExecutor(64) as pool:
        assert sum(pool.map(ask_often, range(64))) == admitted


def test_a_decision_names_every_limit_that_was_looked_at(edge: Edge) -> None:
    edge.project(
        requests_per_minute=10,
        tokens_per_minute=1_000,
        quotas=(Quota(metric="tokens", limit=5_000, on_exceed="deny"),),
        wallet=True,
        customer={"spend_cap": 9_000},
    )
    edge.total(spend=100, available=50_000, tokens=40)
    decision: Decision = edge.ask(tokens=5, amount_micros=30)
    assert [
        (one.name, one.unit, one.limit, one.remaining) for one in decision.limits
    ] == [
        ("requests.subscription.minute", "requests", 10, 9),
        ("tokens.subscription.minute", "tokens", 1_000, 995),
        ("quota.subscription.period", "tokens", 5_000, 4_955),
        ("spend_cap.customer.period", "micros", 9_000, 8_870),
        ("wallet.customer.balance", "micros", 50_000, 49_970),
    ]
