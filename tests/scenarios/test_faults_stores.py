"""Redis killed, flushed or without its scripts; and that every point is reached."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from aforo.lib.crash import POINTS
from tests.scenarios import (
    stage as scene,
)
from tests.scenarios import (
    test_faults_books,
    test_faults_web,
    test_faults_worker,
)
from tests.scenarios.stage import Stage, once, until
from tests.scenarios.test_faults_boundaries import Traffic

full = pytest.mark.full
pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]
BROKER = 1
SWEEP_S_MAX = 15


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with scene.opened(*[{"limits": {"default_estimate": "0.01"}}] * 6) as running:
        yield running


def test_every_fault_point_is_reached_by_a_scenario():
    reached = [
        *test_faults_web.BEFORE_COMMIT,
        *test_faults_web.AFTER_COMMIT,
        *test_faults_worker.BEFORE_COMMIT,
        *test_faults_worker.AFTER_COMMIT,
        *test_faults_worker.RELAY_POINTS,
        *test_faults_books.INVOICE_POINTS,
    ]

    assert sorted(reached) == sorted(POINTS)


@full
def test_tasks_lost_with_the_broker_are_made_up_for_by_the_sweep(stage: Stage):
    shop, later = stage.shop(), stage.shop()
    with stage.frozen("worker", all_of_it=True):
        stage.post(shop, [shop.event("one")])
        with stage.redis(BROKER) as broker:
            until(lambda: broker.llen("aforo"), "the message waits")
            broker.flushdb()

    until(lambda: stage.effects(shop).entries, "the sweep rated it", SWEEP_S_MAX)
    stage.post(later, [later.event("one")])
    until(lambda: stage.effects(later).entries, "messages arrive again")
    stage.verify()
    assert stage.effects(shop) == stage.effects(later) == once(1)


@full
def test_a_broker_killed_with_tasks_in_it_loses_none(stage: Stage):
    shop = stage.shop()
    with stage.frozen("worker", all_of_it=True):
        stage.post(shop, [shop.event("one")])
        stage.restart("redis")

    until(lambda: stage.effects(shop).entries, "it was rated", SWEEP_S_MAX * 2)
    stage.verify()
    assert stage.effects(shop) == once(1)


@full
def test_a_flush_amid_checks_turns_no_good_key_away(stage: Stage):
    shop = stage.shop()
    assert stage.judged(shop).status == 200
    with Traffic(lambda n: stage.check(shop, request_id=f"c{n}")) as checks:
        time.sleep(1)
        stage.redis().flushall()
        time.sleep(2)

    assert len(checks.replies) > 10
    assert checks.statuses() == {200}
    stage.verify()


@full
def test_lost_scripts_are_given_again_and_no_caller_notices(stage: Stage):
    shop = stage.shop()
    assert stage.judged(shop, request_id="before").status == 200
    stage.redis().script_flush()

    assert stage.judged(shop, request_id="after").status == 200

    stage.redis().script_flush()
    stage.post(shop, [shop.event("one", requestId="after")])
    stage.verify()
    assert stage.effects(shop) == once(1)
