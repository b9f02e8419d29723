from __future__ import annotations

import random
import time
from typing import Any

import pytest

from guard.engine import hold, keys, settle
from guard.engine.decision import Decision, Outcome
from guard.engine.state import Loop, Quota, Repeats
from guard.tests.edge import Edge
from guard.tests.shadow import Shadow

STEPS = 400
RULES = [
    "loop.call.window",
    "requests.subscription.minute",
    "tokens.subscription.minute",
    "quota.subscription.period",
    "spend_cap.customer.period",
]


def plan(draw: random.Random) -> dict[str, Any]:
    def some(low: int, high: int) -> int | None:
        return draw.choice([None, draw.randint(low, high)])

    return {
        "requests_per_minute": some(0, 90),
        "tokens_per_minute": some(0, 2_000),
        "token_quota": some(0, 6_000),
        "spend_cap": some(0, 60_000),
        "agent_cap": some(0, 60_000),
        "team_cap": some(0, 60_000),
        "wallet": draw.choice([True, False]),
        "same_calls": some(1, 9),
        "not_enforced": frozenset(draw.sample(RULES, draw.choice([0, 0, 1, 3]))),
    }


QUOTA = "quota.subscription.period|tokens"


def loop_of(count: int | None) -> Loop | None:
    return None if count is None else Loop(same_call=Repeats(count=count, seconds=60))


class Run:
    """Drives the real edge and its shadow side by side."""

    def __init__(self, edge: Edge, draw: random.Random) -> None:
        self.edge, self.draw = edge, draw
        limits = plan(draw)
        self.shadow = Shadow(**limits, available=draw.randint(0, 80_000))
        quota = limits["token_quota"]
        quotas = [] if quota is None else [quota]
        edge.project(
            customer={"spend_cap": limits["spend_cap"]},
            agent={
                "spend_cap": limits["agent_cap"],
                "team_spend_cap": limits["team_cap"],
            },
            requests_per_minute=limits["requests_per_minute"],
            tokens_per_minute=limits["tokens_per_minute"],
            quotas=tuple(
                Quota(metric="tokens", limit=q, on_exceed="deny") for q in quotas
            ),
            wallet=limits["wallet"],
            loop=loop_of(limits["same_calls"]),
            shadow={
                rule.replace("quota.subscription.period", QUOTA): True
                for rule in limits["not_enforced"]
            },
            # Holds of one second: some expire while the run goes on.
            max_call_s=draw.choice([900, -59]),
        )
        self.version = 1
        self.total()

    def total(self, settled: list[str] | None = None) -> settle.Projected:
        self.version += 1
        return self.edge.total(
            version=self.version,
            spend=self.shadow.spend,
            available=self.shadow.available,
            tokens=self.shadow.tokens_used,
            spends={"agt_1": self.shadow.spend, "tem_1": self.shadow.spend},
            settled=settled or [],
        )

    def check(self) -> str:
        known = list(self.shadow.holds)
        asked: dict[str, Any] = {
            "request_id": self.draw.choice([*known[-5:], "new"]),
            "micros": self.draw.choice([0, self.draw.randint(1, 900)]),
            "tokens": self.draw.choice([0, self.draw.randint(1, 90)]),
            "call": self.draw.choice(["", "a", "b", str(self.draw.random())]),
        }
        if asked["request_id"] == "new":
            asked["request_id"] = f"r{len(known)}-{self.draw.random()}"
        decision = self.edge.ask(
            request_id=asked["request_id"],
            amount_micros=asked["micros"],
            tokens=asked["tokens"],
            args_hash=asked["call"],
        )
        expected = self.shadow.verdict(**asked, now_ms=decision.now_ms)
        assert self.seen(decision) == expected
        assert [rule.name for rule in decision.shadow] == self.shadow.would
        if decision.outcome == Outcome.ALLOW:
            self.shadow.admit(
                **asked,
                now_ms=decision.now_ms,
                until_ms=decision.hold_until_ms,
                decision_id=decision.decision_id,
            )
            first = self.shadow.holds[asked["request_id"]]
            assert first.decision_id == decision.decision_id
        return expected

    def seen(self, decision: Decision) -> str:
        return "replay" if decision.replayed else str(decision.reason or "allow")

    def settle(self) -> str:
        ids = self.draw.sample(
            sorted(self.shadow.holds), k=min(3, len(self.shadow.holds))
        )
        for request_id in [*ids, f"unseen-{self.draw.random()}"]:
            self.shadow.settle(
                request_id,
                micros=self.draw.randint(0, 900),
                tokens=self.draw.randint(0, 90),
            )
            self.total([request_id])
        return "settle"

    def release(self) -> str:
        known = list(self.shadow.holds.items())
        for request_id, shadow in known[-1:]:
            place = hold.HoldId(self.edge.tag, keys.request_key(request_id))
            answer = hold.release(self.edge.client, place)
            if shadow.state == "used":
                assert answer in {"used", "before"}
            else:
                assert answer in {"released", "used"}  # used: it has run out
            shadow.state = "used"
        return "release"

    def old_totals(self) -> str:
        assert not self.edge.total(version=1, spend=0, available=10**9).totals
        return "old totals"

    def recount(self) -> str:
        counted = settle.recount(self.edge.client, self.edge.tag)
        assert counted.drift_micros == 0
        return "recount"

    def age(self) -> str:
        seconds = self.draw.choice([1, 7, 30, 59, 60, 61, 62, 90])
        self.edge.age_windows(seconds)
        shadow = self.shadow
        shadow.request_times = [at - seconds for at in shadow.request_times]
        shadow.token_times = [(at - seconds, n) for at, n in shadow.token_times]
        return "age"

    def pause(self) -> str:
        time.sleep(self.draw.choice([0.0, 0.0, 0.0, 0.3]))
        return "pause"


@pytest.mark.parametrize("seed", range(16))
def test_the_script_answers_as_the_shadow_model(any_edge: Edge, seed: int) -> None:
    draw = random.Random(seed)
    edge = any_edge
    run = Run(edge, draw)
    steps = [run.check] * 40 + [run.settle] * 2 + [run.release] * 2
    steps += [run.old_totals, run.recount, run.pause, run.age, run.age]
    outcomes = [draw.choice(steps)() for _ in range(STEPS)]
    assert settle.recount(edge.client, edge.tag).drift_micros == 0
    assert len(set(outcomes)) >= 5
