"""Kills of the web server at every step of taking events in, and many doors at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.scenarios import stage as scene
from tests.scenarios.stage import Lost, Stage, once

pytestmark = [pytest.mark.crash, pytest.mark.full, pytest.mark.timeout(900)]

# Where a kill lets nothing be stored, and where all of the request is.
BEFORE_COMMIT = ["ingest.before", "ingest.in_txn"]
AFTER_COMMIT = ["ingest.committed"]
THREADS = 32


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with scene.opened(*[{}] * 12) as running:
        yield running


@pytest.mark.parametrize("point", BEFORE_COMMIT)
def test_a_web_server_killed_before_the_commit_stored_nothing(stage: Stage, point: str):
    shop = stage.shop()
    events = [shop.event("one"), shop.event("two")]
    struck = stage.arm(point)

    with pytest.raises(Lost):
        stage.post(shop, events)

    struck()
    assert stage.effects(shop).events == 0
    assert stage.post_until_stored(shop, events).verdicts == ["accepted"] * 2
    stage.verify()
    assert stage.effects(shop) == once(2)


@pytest.mark.parametrize("point", AFTER_COMMIT)
def test_a_web_server_killed_after_the_commit_answers_duplicate_to_the_retry(
    stage: Stage, point: str
):
    shop = stage.shop()
    events = [shop.event("one"), shop.event("two")]
    struck = stage.arm(point)

    with pytest.raises(Lost):
        stage.post(shop, events)

    struck()
    assert stage.effects(shop).events == 2
    assert stage.post_until_stored(shop, events).verdicts == ["duplicate"] * 2
    stage.verify()
    assert stage.effects(shop) == once(2)


def test_after_a_kill_in_the_middle_of_several_batches_a_retry_tells_which_were_stored(
    stage: Stage,
):
    shop = stage.shop()
    first = [shop.event(f"a{n}") for n in range(50)]
    second = [shop.event(f"b{n}") for n in range(50)]
    assert stage.post(shop, first).verdicts == ["accepted"] * 50
    struck = stage.arm("ingest.in_txn")

    with pytest.raises(Lost):
        stage.post(shop, [*first, *second])

    struck()
    again = stage.post_until_stored(shop, [*first, *second])
    assert again.verdicts == ["duplicate"] * 50 + ["accepted"] * 50
    stage.verify()
    assert stage.effects(shop) == once(100)


@pytest.mark.parametrize("point", BEFORE_COMMIT + AFTER_COMMIT)
def test_postgres_killed_while_events_are_stored_leaves_each_once(
    stage: Stage, point: str
):
    shop = stage.shop()
    events = [shop.event("one"), shop.event("two")]
    struck = stage.arm(point, "STOP")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(stage.post, shop, events)
        struck()
        process = stage.wait_until_stopped("web")
        stage.restart("postgres")
        process.resume()
        reply = first.result(timeout=60)

    # Refused means not stored, acknowledged means durable: never the other way.
    left = {200: "duplicate", 503: "accepted"}[reply.status]
    assert stage.post_until_stored(shop, events).verdicts == [left] * 2
    stage.verify()
    assert stage.effects(shop) == once(2)


def test_a_batch_that_32_threads_send_at_once_counts_once(stage: Stage):
    shop = stage.shop()
    events = [shop.event(f"e{n}") for n in range(20)]
    barrier = threading.Barrier(THREADS)

    def send(_: int) -> list[str]:
        barrier.wait()
        return stage.post_until_stored(shop, events).verdicts

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(send, range(THREADS)))

    for verdicts in zip(*answers, strict=True):
        assert sorted(verdicts) == ["accepted"] + ["duplicate"] * (THREADS - 1)
    stage.verify()
    assert stage.effects(shop) == once(20)
