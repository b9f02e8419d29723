"""One kill at every boundary: web, worker, Postgres, Redis, and a flushed Redis.

test_faults_web, _worker, _stores and _books go through the rest of the matrix.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.scenarios import stage as scene
from tests.scenarios.stage import Lost, Reply, Stage, once, until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

# What the product promises, counted from when the killed part runs again: how long
# that takes is the machine's.
SWEEP_S_MAX = 15
BACK_S_MAX = 10


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    capped = {"limits": {"spend_cap": "5.00", "default_estimate": "0.01"}}
    plain = {"limits": {"default_estimate": "0.01"}}
    with scene.opened(*[plain] * 5, capped) as running:
        yield running


def test_a_web_server_killed_in_its_transaction_stored_nothing_and_a_retry_counts_once(
    stage: Stage,
):
    shop = stage.shops.pop(0)
    events = [shop.event("one"), shop.event("two")]
    struck = stage.arm("ingest.in_txn")

    with pytest.raises(Lost):
        stage.post(shop, events)

    struck()
    assert stage.effects(shop).events == 0
    assert stage.post_until_stored(shop, events).verdicts == ["accepted"] * 2
    assert stage.post_until_stored(shop, events).verdicts == ["duplicate"] * 2
    stage.verify()
    assert stage.effects(shop) == once(2)


def test_a_worker_killed_in_its_transaction_leaves_nothing_and_the_sweep_rates_once(
    stage: Stage,
):
    shop = stage.shops.pop(0)

    reply = stage.kill_when_stopped_at(
        "rate.in_txn", "worker", lambda: stage.post(shop, [shop.event("one")])
    )

    assert reply.verdicts == ["accepted"]
    assert stage.effects(shop).entries == 0
    stage.wait_for_pool()
    until(lambda: stage.effects(shop).entries, "the sweep rated it", SWEEP_S_MAX)
    stage.verify()
    assert stage.effects(shop) == once(1)


def flow(call: Callable[[int], Reply], stop: threading.Event) -> list[Reply | None]:
    """Call again and again until told to stop; None for a lost connection."""
    replies: list[Reply | None] = []
    while not stop.is_set():
        try:
            replies.append(call(len(replies)))
        except Lost:
            replies.append(None)
        time.sleep(0.02)
    return replies


class Traffic:
    """Calls in a thread, while something is hurt."""

    def __init__(self, call: Callable[[int], Reply]) -> None:
        self.replies: list[Reply | None] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=lambda: self.replies.extend(flow(call, self._stop)), daemon=True
        )

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    def statuses(self) -> set[int | None]:
        return {reply.status if reply else None for reply in self.replies}


def test_without_postgres_events_are_refused_with_503_checks_go_on_and_nothing_is_lost(
    stage: Stage,
):
    shop = stage.shops.pop(0)
    stage.post_until_stored(shop, [shop.event("first")])
    assert stage.judged(shop).status == 200

    with (
        Traffic(lambda n: stage.post(shop, [shop.event(f"e{n}")])) as events,
        Traffic(lambda n: stage.check(shop, request_id=f"c{n}")) as checks,
    ):
        time.sleep(1)
        with stage.frozen("supervisor"):  # Nobody starts it again yet.
            old = stage.instance.kill9("postgres")
            time.sleep(6)
        stage.instance.wait_for_restart("postgres", old, seconds=90)
        stage.wait_for_postgres()
        started = time.monotonic()
        stage.post_until_stored(shop, [shop.event("last")])
        took = time.monotonic() - started
        time.sleep(1)

    refused = [r for r in events.replies if r and r.status != 200]
    assert refused
    assert {r.status for r in refused} == {503}
    assert all(int(r.headers["retry-after"]) >= 1 for r in refused)
    assert checks.statuses() == {200}
    assert took < BACK_S_MAX
    sent = [shop.event(f"e{n}") for n in range(len(events.replies))]
    for start in range(0, len(sent), 500):
        stage.post_until_stored(shop, sent[start : start + 500])
    stage.verify()
    assert stage.effects(shop) == once(len(sent) + 2)
    kept = {name for (name,) in stage.rows(
        "SELECT event_id FROM metering_usageevent WHERE customer_id = %s",
        shop.customer_id,
    )}  # fmt: skip
    accepted = {f"e{n}" for n, r in enumerate(events.replies) if r and r.status == 200}
    assert accepted
    assert accepted <= kept


def test_without_redis_checks_are_allowed_as_degraded_and_events_are_still_billed(
    stage: Stage,
):
    shop = stage.shops.pop(0)
    assert stage.judged(shop).status == 200

    with Traffic(lambda n: stage.check(shop, request_id=f"c{n}")) as checks:
        time.sleep(0.5)
        with stage.frozen("supervisor"):
            old = stage.instance.kill9("redis")
            time.sleep(1)
            stored = stage.post(shop, [shop.event("during")])
        stage.instance.wait_for_restart("redis", old)
        until(lambda: not stage.check(shop).json["degraded"], "the breaker closed")

    assert checks.statuses() == {200}
    degraded = [r.json["degraded"] for r in checks.replies if r]
    assert True in degraded
    assert False in degraded
    assert stored.verdicts == ["accepted"]
    stage.verify()
    assert stage.effects(shop) == once(1)


def test_after_flushall_good_keys_are_good_and_a_spend_cap_is_where_it_was(
    stage: Stage,
):
    shop = stage.shops.pop()  # The one with a cap of five dollars.
    stage.post_until_stored(shop, [shop.event("three dollars")])
    stage.drain()
    assert stage.judged(shop, estimate={"amount": "1.00"}).status == 200
    stage.redis().flushall()

    reply = stage.judged(shop, estimate={"amount": "2.01"})

    assert (reply.status, reply.json["code"]) == (429, "spend_cap")
    assert stage.judged(shop).status == 200
    stage.post_until_stored(shop, [shop.event("three more")])
    stage.drain()
    assert stage.judged(shop).json["code"] == "spend_cap"
    stage.verify()
    assert stage.effects(shop) == once(2)
