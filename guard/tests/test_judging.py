from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from aforo.lib import crypto
from aforo.lib.errors import AforoError
from guard import judging
from guard.asking import parse
from guard.engine.decision import Reason
from guard.memory import Memory, subject
from guard.operations import (
    Changes,
    Fields,
    Record,
    RecordFault,
    RecordIdentity,
    RecordKey,
    Run,
    StoreFault,
    Warm,
)
from guard.outage import KNOWN_S, Known, Recent
from guard.tests.test_outage import FACTS, RATE

KEY = crypto.parse_key(crypto.mint_key("sk", "live", "a" * 12))
SERVICE = crypto.parse_key(crypto.mint_key("svc", "live", "b" * 12))
assert KEY is not None
assert SERVICE is not None


# cus, agt, sub, prd, crd, currency, on_outage, model, expiry, version, tenant
IDS_REPLY = [b"cus_a", b"", b"", b"", b"crd_a"]
FACTS_REPLY = [*IDS_REPLY, b"USD", b"open", b"", 0, 1, b"ten_a", 0, b""]

World = dict[Any, Callable[[Any], Any]]


def fail(error: Exception) -> Callable[[Any], Any]:
    def perform(_: Any) -> Any:
        raise error

    return perform


STORE_DOWN: World = {kind: fail(StoreFault("timeout")) for kind in (Fields, Run)}
RECORD_DOWN: World = {
    kind: fail(RecordFault("away"))
    for kind in (Warm, Record, RecordKey, RecordIdentity, Changes)
}


def run(
    memory: Memory,
    world: World,
    key: Any,
    body: bytes = b"{}",
) -> judging.Verdict:
    """Drive the flow in a world where each kind of operation has one answer."""
    flow = judging.judge(memory, judging.Caller("10.0.0.1", key), parse(b"{}"))
    answer: Any = None
    fault: Exception | None = None
    while True:
        try:
            operation = flow.throw(fault) if fault else flow.send(answer)
        except StopIteration as end:
            verdict: judging.Verdict = end.value
            return verdict
        answer = fault = None
        try:
            answer = world[type(operation)](operation)
        except (StoreFault, RecordFault) as error:
            fault = error


def refusal(*args: Any, **kwargs: Any) -> tuple[int, str]:
    with pytest.raises(AforoError) as caught:
        run(*args, **kwargs)
    return caught.value.status, caught.value.code


def test_without_store_and_record_a_stranger_is_503_and_never_allowed() -> None:
    world: World = {**STORE_DOWN, **RECORD_DOWN}
    assert refusal(Memory(), world, KEY) == (503, "guard_unavailable")
    assert refusal(Memory(), world, SERVICE) == (503, "guard_unavailable")


def test_without_store_and_record_a_known_caller_passes_for_ten_minutes() -> None:
    memory = Memory()
    world: World = {**STORE_DOWN, **RECORD_DOWN}
    remember(memory)
    assert run(memory, world, KEY).decision.degraded


def test_after_ten_minutes_without_store_and_record_the_plan_decides() -> None:
    passed = 0.0
    world: World = {**STORE_DOWN, **RECORD_DOWN}
    memories = {}
    for policy in ("open", "local", "closed"):
        memories[policy] = Memory(known=Recent(clock=lambda: passed))
        remember(memories[policy], on_outage=policy)
    passed = KNOWN_S + 1
    assert run(memories["open"], world, KEY).decision.outcome == "allow"
    assert run(memories["closed"], world, KEY).decision.reason == Reason.OUTAGE
    assert refusal(memories["local"], world, KEY) == (503, "guard_unavailable")


def test_who_was_refused_is_known_no_more_when_the_store_falters() -> None:
    memory = Memory()
    remember(memory)
    no = [b"no", b"credential.revoked", 0, 1, b"", 0, 0, FACTS_REPLY, []]
    assert refusal(memory, {Run: lambda _: no}, KEY)[0] == 401
    world: World = {**STORE_DOWN, **RECORD_DOWN}
    assert refusal(memory, world, KEY) == (503, "guard_unavailable")


def test_changes_heard_before_count_when_the_record_does_not_answer() -> None:
    passed = 0.0
    memory = Memory(changes=Recent(clock=lambda: passed))
    remember(memory)
    memory.changes.put("all", {FACTS.customer_id: FACTS.config_version + 1})
    passed = 5
    world: World = {**STORE_DOWN, **RECORD_DOWN}
    assert refusal(memory, world, KEY) == (503, "guard_unavailable")


def test_what_is_known_to_be_outdated_passes_nobody_however_open_the_plan() -> None:
    memory = Memory()
    remember(memory)
    memory.changes.put("all", {FACTS.customer_id: FACTS.config_version + 1})
    world: World = {**STORE_DOWN, **RECORD_DOWN}
    assert refusal(memory, world, KEY) == (503, "guard_unavailable")


@pytest.mark.parametrize(("policy", "outcome"), [("open", "allow"), ("closed", "deny")])
def test_a_cold_customer_without_record_is_judged_as_its_plan_says(
    policy: str, outcome: str
) -> None:
    memory = Memory()
    remember(memory, on_outage=policy)
    world: World = {**RECORD_DOWN, Run: lambda _: [b"cold"]}
    verdict = run(memory, world, KEY)
    assert (verdict.decision.outcome, verdict.fault) == (outcome, "record")


def remember(memory: Memory, **facts: Any) -> None:
    """Let the memory have seen KEY's caller."""
    payer = judging.Payer(KEY.tag, "", KEY.digest, "")  # type: ignore[union-attr]
    request = judging._question(payer, parse(b"{}"))
    memory.known.put(
        subject(request), Known(structs.replace(FACTS, **facts), (RATE,), 5)
    )


def test_a_changed_configuration_is_looked_up_again() -> None:
    memory = Memory()
    remember(memory)
    world: World = {
        **STORE_DOWN,
        **RECORD_DOWN,
        Changes: lambda _: {FACTS.customer_id: FACTS.config_version + 1},
        Record: lambda _: None,
    }
    assert refusal(memory, world, KEY) == (401, "invalid_credentials")


def test_a_cold_customer_without_record_is_503() -> None:
    world: World = {**RECORD_DOWN, Run: lambda _: [b"cold"]}
    assert refusal(Memory(), world, KEY) == (503, "guard_unavailable")


def test_a_customer_that_stays_cold_is_judged_by_the_record() -> None:
    world: World = {
        Run: lambda _: [b"cold"],
        Warm: lambda _: True,
        Record: lambda _: None,
        Changes: lambda _: {},
    }
    assert refusal(Memory(), world, KEY) == (401, "invalid_credentials")


def test_an_absent_customer_is_looked_for_once() -> None:
    asked: list[Any] = []

    def warm(operation: Any) -> bool:
        asked.append(operation)
        return False

    memory = Memory()
    world: World = {Run: lambda _: [b"cold"], Warm: warm}
    for _ in range(3):
        assert refusal(memory, world, KEY) == (401, "invalid_credentials")
    assert len(asked) == 1
