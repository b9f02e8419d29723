from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from msgspec import structs

from aforo.lib import crypto
from billing import credentials
from guard import door, record, stores
from guard.engine.decision import CheckRequest, Facts, Limit, Reason
from guard.outage import Breaker, Known, LocalLimits, Recent
from guard.tests.broken_store import broken_store
from guard.tests.doors import Asker, Door
from guard.tests.edge import Edge
from tests.factories import Shop

Cut = Callable[..., None]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cut(settings: Any, any_door: Door) -> Cut:
    """Lets the door find its store elsewhere from now on."""

    def switch(url: str, timeout_s: float = 0.025) -> None:
        settings.GUARD_REDIS_URL = url
        settings.GUARD_TIMEOUT_S = timeout_s
        # The recovery probes with the blocking client, whichever door it is.
        stores.for_checks.cache_clear()
        any_door.disconnect()

    return switch


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose sockets have short names."""
    with tempfile.TemporaryDirectory(prefix="aforo-") as name:
        yield Path(name)


def spooled() -> list[dict[str, Any]]:
    """Return what the process noted so far."""
    files = sorted(door.journal()._folder.iterdir())
    return [
        json.loads(line) for file in files for line in file.read_text().splitlines()
    ]


GONE = "unix:///nowhere/redis.sock"


def test_a_known_caller_passes_degraded_and_is_noted(
    bob: Asker, cut: Cut, db: None
) -> None:
    assert bob.ask().json["degraded"] is False
    cut(GONE)
    reply = bob.ask(request_id="r9", tool_name="search")
    assert reply.status == 200
    assert reply.json["decision"] == "allow"
    assert reply.json["degraded"] is True
    assert reply.headers["x-aforo-degraded"] == "true"
    assert reply.json["customer_id"] == "cus_bob"
    (note,) = [line for line in spooled() if line.get("degraded") is True]
    assert note["request_id"] == "r9"
    assert note["inputs"]["fault"] == "unreachable"
    assert note["inputs"]["tool_name"] == "search"


@pytest.mark.parametrize(
    "error",
    [
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Redis is configured to save RDB snapshots",
        "BUSY Redis is busy running a script.",
        "CLUSTERDOWN The cluster is down",
        "NOREPLICAS Not enough good replicas to write.",
        "MASTERDOWN Link with MASTER is down",
        "MOVED 12182 127.0.0.1:7001",
        "ASK 12182 127.0.0.1:7001",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "NOPERM User guard has no permissions to run the 'evalsha' command",
    ],
)
def test_a_store_that_answers_errors_is_away(
    bob: Asker, cut: Cut, folder: Path, db: None, error: str
) -> None:
    assert bob.ask().status == 200
    with broken_store(folder, f"-{error}\r\n".encode()) as broken:
        cut(broken.url, timeout_s=5)
        reply = bob.ask()
    assert (reply.status, reply.json["degraded"]) == (200, True)
    (note,) = [line for line in spooled() if line.get("degraded") is True]
    assert note["inputs"]["fault"] == error.partition(" ")[0]


def test_a_store_with_too_many_clients_is_away(
    bob: Asker, cut: Cut, folder: Path, db: None
) -> None:
    assert bob.ask().status == 200
    with broken_store(folder, b"-ERR max number of clients reached\r\n") as broken:
        cut(broken.url, timeout_s=5)
        reply = bob.ask()
    assert (reply.status, reply.json["degraded"]) == (200, True)


def test_after_five_slow_calls_the_store_is_skipped(
    bob: Asker, cut: Cut, folder: Path, db: None
) -> None:
    bob.ask()
    # Its clock stands still: on a busy machine five calls may take over a second.
    door.memory().breaker = Breaker(Clock())
    with broken_store(folder, None) as silent:
        cut(silent.url)
        replies = [bob.ask() for _ in range(60)]
        assert {reply.json["degraded"] for reply in replies} == {True}
        assert door.memory().breaker.is_open
        # Each slow call says one word on its way; a probe may come on top.
        assert silent.messages <= 7


def test_a_store_that_comes_back_is_used_again(
    bob: Asker, cut: Cut, edge: Edge, db: None, settings: Any
) -> None:
    here = settings.GUARD_REDIS_URL
    bob.ask()
    cut(GONE)
    door.memory().breaker = Breaker(Clock())
    assert [bob.ask().json["degraded"] for _ in range(8)] == [True] * 8
    assert door.memory().breaker.is_open
    cut(here, timeout_s=5)
    deadline = time.monotonic() + 20
    while door.memory().breaker.is_open and time.monotonic() < deadline:
        # The probing thread may have kept the client of before.
        stores.for_checks.cache_clear()
        time.sleep(0.05)
    assert bob.ask().json["degraded"] is False


@pytest.mark.parametrize(
    ("policy", "status"), [("open", 200), ("local", 200), ("closed", 503)]
)
def test_a_plan_says_what_happens_in_an_outage(
    bob: Asker, edge: Edge, cut: Cut, db: None, policy: str, status: int
) -> None:
    edge.config_version = 2
    edge.project(on_outage=policy)
    assert bob.ask().status == 200
    cut(GONE)
    assert bob.ask().status == status


def test_requests_per_minute_hold_locally(
    bob: Asker, edge: Edge, cut: Cut, db: None
) -> None:
    edge.config_version = 2
    edge.project(requests_per_minute=3)
    bob.ask()
    cut(GONE)
    assert [bob.ask().status for _ in range(5)] == [200, 200, 200, 429, 429]
    reply = bob.ask()
    assert reply.json["detail"].startswith("Blocked: requests per minute. 3 of 3 used.")
    assert int(reply.headers["retry-after"]) >= 1


def test_bad_input_is_refused_in_an_outage_too(bob: Asker, cut: Cut, db: None) -> None:
    cut(GONE)
    assert bob.ask(estimate={"amount": -1}).status == 400
    assert bob.raw(b"{}", Authorization="Bearer x").status == 401


@pytest.fixture
def stored(stored_shop: Shop, any_door: Door, cut: Cut) -> Asker:
    """A committed shop's caller that no door has seen, while the store is away."""
    cut(GONE)
    return Asker(any_door, f"Bearer {stored_shop.secret}")


def test_strangers_are_looked_up_in_the_record(
    stored: Asker, stored_shop: Shop, any_door: Door
) -> None:
    reply = stored.ask()
    assert (reply.status, reply.json["degraded"]) == (200, True)
    assert reply.json["agent_id"] == stored_shop.agent.public_id
    gateway = Asker(any_door, f"Bearer {stored_shop.service_secret}")
    reply = gateway.ask(customer_id=stored_shop.customer.external_id)
    assert (reply.status, reply.json["degraded"]) == (200, True)
    assert gateway.ask(customer_id="cus_absent").status == 404
    unknown = crypto.mint_key("sk", "live", stored_shop.customer.tag)
    assert Asker(any_door, f"Bearer {unknown}").ask().status == 401
    # Revoked while the store is away: known here, refused all the same.
    credentials.revoke(credential=stored_shop.credential, actor=None)
    door.memory().changes.clear()
    reply = stored.ask()
    assert (reply.status, reply.code) == (401, "invalid_credentials")


def test_a_flushed_store_is_warm_again_with_the_first_check(
    any_door: Door, stored_shop: Shop, store: redis.Redis
) -> None:
    caller = Asker(any_door, f"Bearer {stored_shop.secret}")
    gateway = Asker(any_door, f"Bearer {stored_shop.service_secret}")
    assert caller.ask().status == 200
    store.flushdb()
    assert caller.ask().json["degraded"] is False
    name = stored_shop.customer.external_id
    assert gateway.ask(customer_id=name).json["degraded"] is False


def test_the_record_says_which_configurations_changed(stored_shop: Shop) -> None:
    changed = record.changes()
    assert changed[stored_shop.customer.public_id] >= 1


def test_five_faults_within_a_second_open_the_breaker() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    assert [breaker.fault() for _ in range(5)] == [False] * 4 + [True]
    assert breaker.is_open
    breaker.close()
    assert not breaker.is_open


def test_faults_that_are_far_apart_do_not_open_it() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(20):
        clock.now += 0.3
        breaker.fault()
    assert not breaker.is_open


def test_what_is_remembered_ages_and_is_bounded() -> None:
    clock = Clock()
    recent: Recent[int, str] = Recent(2, clock)
    for number in range(3):
        recent.put(number, str(number))
    assert recent.get(0, within_s=10) is None
    assert recent.get(2, within_s=10) == "2"
    clock.now += 11
    assert recent.get(2, within_s=10) is None


FACTS = Facts(
    tenant_id="ten_a",
    customer_id="cus_a",
    agent_id="agt_a",
    subscription_id="sub_a",
    product_id="prd_a",
    credential_id="crd_a",
    currency="USD",
    on_outage="open",
    throttle_model="",
    credential_expires_at_ms=0,
    config_version=1,
)
RATE = Limit(Reason.REQUESTS_MINUTE, "requests", 8, 0, 0)
TOKENS = Limit(Reason.TOKENS_MINUTE, "tokens", 100, 0, 0)
CAP = Limit(Reason.SPEND_CAP_CUSTOMER, "micros", 100, 40, 0)


def passes(local: LocalLimits, known: Known, count: int, **members: Any) -> int:
    request = CheckRequest("tag", "r", "dec", **members)
    decisions = [local.judge(request, known) for _ in range(count)]
    assert all(decision.degraded for decision in decisions)
    return sum(decision.outcome == "allow" for decision in decisions)


def test_each_process_holds_its_share_of_a_rate() -> None:
    clock = Clock()
    local = LocalLimits(2, clock)
    known = Known(FACTS, (RATE,), 10)
    assert passes(local, known, 20) == 4
    clock.now += 62
    assert passes(local, known, 20) == 4


def test_a_rate_of_zero_lets_nothing_pass() -> None:
    zero = structs.replace(RATE, limit=0)
    assert passes(LocalLimits(2, Clock()), Known(FACTS, (zero,), 10), 5) == 0


def test_tokens_hold_locally() -> None:
    local = LocalLimits(1, Clock())
    assert passes(local, Known(FACTS, (TOKENS,), 10), 10, tokens=30) == 3


@pytest.mark.parametrize(("policy", "passed"), [("open", 20), ("local", 6)])
def test_the_last_known_remainder_holds_where_the_plan_says_so(
    policy: str, passed: int
) -> None:
    known = Known(structs.replace(FACTS, on_outage=policy), (CAP,), 10)
    assert passes(LocalLimits(1, Clock()), known, 20) == passed


def test_what_passed_is_forgotten_when_the_store_is_back() -> None:
    local = LocalLimits(1, Clock())
    known = Known(FACTS, (RATE,), 10)
    passes(local, known, 20)
    local.forget()
    assert passes(local, known, 20) == 8
