"""Kills of the worker at every step from a pending event to a published one."""

from __future__ import annotations

import collections
import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.scenarios import stage as scene
from tests.scenarios.stage import Stage, once, until

pytestmark = [pytest.mark.crash, pytest.mark.full, pytest.mark.timeout(900)]

# Where a kill leaves the event pending, and where it is in the books.
BEFORE_COMMIT = ["rate.claimed", "rate.in_txn"]
AFTER_COMMIT = ["rate.committed"]
RELAY_POINTS = ["relay.published"]
SWEEP_S_MAX = 15
EDGE_S_MAX = 60
TOPIC = "aforo.usage.events"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with scene.opened(*[{}] * 12) as running:
        yield running


@pytest.mark.parametrize("point", BEFORE_COMMIT)
def test_a_worker_killed_before_its_commit_leaves_events_to_the_sweep(
    stage: Stage, point: str
):
    shop = stage.shop()

    stage.kill_when_stopped_at(
        point, "worker", lambda: stage.post_until_stored(shop, [shop.event("one")])
    )

    assert stage.effects(shop).entries == 0
    stage.wait_for_pool()
    until(lambda: stage.effects(shop).entries, "the sweep rated it", SWEEP_S_MAX)
    stage.verify()
    assert stage.effects(shop) == once(1)


@pytest.mark.parametrize("point", AFTER_COMMIT)
def test_a_worker_killed_after_its_commit_has_rated_once(stage: Stage, point: str):
    shop = stage.shop()

    stage.kill_when_stopped_at(
        point, "worker", lambda: stage.post_until_stored(shop, [shop.event("one")])
    )

    assert stage.effects(shop) == once(1)
    stage.wait_for_pool()
    stage.verify()
    assert stage.effects(shop) == once(1)


def test_a_pool_child_that_is_killed_gives_its_task_back(stage: Stage):
    shop = stage.shop()
    first = stage.instance.pids["worker"]
    struck = stage.arm("rate.in_txn", "STOP")
    stage.post_until_stored(shop, [shop.event("one")])
    struck()
    child = stage.wait_until_stopped("worker")
    assert child.pid != first

    os.kill(child.pid, signal.SIGKILL)

    until(lambda: stage.effects(shop).entries, "it was rated", SWEEP_S_MAX)
    assert stage.instance.pids["worker"] == first
    stage.verify()
    assert stage.effects(shop) == once(1)


def test_a_worker_killed_between_its_commit_and_the_edge_is_made_up_for(stage: Stage):
    shop = stage.shop()
    struck = stage.arm("rate.in_txn", "STOP")
    stage.post_until_stored(shop, [shop.event("one")])
    struck()
    child = stage.wait_until_stopped("worker")

    with stage.frozen("redis"):
        child.resume()  # It commits, and then waits for the edge's answer.
        until(lambda: stage.effects(shop).entries, "it committed")
        stage.restart("worker")

    assert behind(stage, shop.customer_id) > 0
    until(lambda: behind(stage, shop.customer_id) == 0, "the edge knows", EDGE_S_MAX)
    stage.verify()
    assert stage.effects(shop) == once(1)


def behind(stage: Stage, customer_id: str) -> int:
    """Return by how many versions the edge of a customer is behind."""
    [(versions,)] = stage.rows(
        "SELECT version - projected_version FROM billing_customerbooks"
        " WHERE customer_id = %s",
        customer_id,
    )
    return int(versions)


@pytest.mark.parametrize("point", RELAY_POINTS)
def test_a_relay_killed_before_it_marks_publishes_again_and_consumers_drop_it(
    stage: Stage, point: str
):
    shop = stage.shop()
    stage.drain()
    # Armed once the event is rated, or another's message would be hit.
    stage.kill_when_stopped_at(
        point, "worker", lambda: stage.post_until_stored(shop, [shop.event("one")])
    )
    stage.wait_for_pool()
    stage.verify()

    with stage.redis(4) as client:
        told = [fields for _, fields in client.xrange(TOPIC)]
    mine = [
        f for f in told if f[b"customer"].decode() == shop.customer_id.replace("-", "")
    ]
    counts = collections.Counter(int(f[b"version"]) for f in mine)
    assert max(counts.values()) == 2
    last, seen = 0, []
    for message in mine:
        if int(message[b"version"]) > last:
            last = int(message[b"version"])
            seen += [e["event_id"] for e in json.loads(message[b"events"])]
    assert seen == ["one"]
    assert stage.effects(shop) == once(1)
