"""What must hold when the guard's Redis forgets, and how fast a key ends under load."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults import kit
from tests.faults.kit import Scene, Server
from tests.faults.proxy import Proxy
from tests.faults.test_store_faults import OPEN, stranger
from tests.scenarios.stage import Reply, Shop, once, until
from tests.scenarios.test_faults_boundaries import Traffic

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]

CAPPED = {"limits": {"spend_cap": "5.00", "default_estimate": "0.01"}}
CLOSED = {"limits": {"on_outage": "closed", "default_estimate": "0.01"}}
ACTIONS = ("revoke-credential", "revoke-service-key", "pause-agent")
CHECKS_PER_S, THREADS = 200, 4
# The promise is one second; a machine that does much else is given more.
ENDED_S_MAX = 3.0
# Calls too few to open the breaker: a probe tells the store what it missed.
PROBED_S_MAX = 1.5


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with kit.opened(*[OPEN] * 8, CLOSED, CAPPED, CAPPED) as running:
        yield running


def by_service(scene: Scene, shop: Shop) -> Reply:
    """Ask as the seller's gateway that names the customer."""
    named = {"customer_id": shop.external_id}
    return scene.stage.call("/v1/check", shop.service_secret, named)


def is_judged_by_name(scene: Scene, shop: Shop) -> bool:
    """Whether the edge itself answers the gateway."""
    return by_service(scene, shop).json["degraded"] is False


def test_a_store_that_starts_anew_without_data_resets_no_cap(scene: Scene):
    shop, other = scene.stage.shops.pop(), scene.stage.shops.pop()
    stage = scene.stage
    stage.post_until_stored(shop, [shop.event("spent")])
    stage.drain()
    scene.until_judged(shop.secret)
    scene.until_judged(other.secret)

    with Traffic(lambda n: stage.check(other)) as checks:
        scene.server.kill9(forget=True)
        time.sleep(1)
        assert stage.check(shop).json["degraded"] is True
        scene.server.start()
        scene.until_judged(shop.secret)
        # Three dollars of five are spent: the record says so, not an empty counter.
        reply = stage.judged(shop, estimate={"amount": "3"})
        assert (reply.status, reply.json["code"]) == (429, "spend_cap")
    assert len(checks.replies) > 10
    assert checks.statuses() == {200}
    stage.verify()
    assert stage.effects(shop) == once(1)


def test_a_flush_amid_traffic_turns_no_good_key_away(scene: Scene):
    shop = scene.stage.shops.pop(0)
    scene.until_judged(shop.secret)
    with (
        Traffic(lambda n: scene.stage.check(shop)) as checks,
        Traffic(lambda n: by_service(scene, shop)) as named,
    ):
        for _ in range(3):
            time.sleep(0.5)
            with scene.server.client() as control:
                control.flushall()
        time.sleep(1)
    assert min(len(checks.replies), len(named.replies)) > 10
    assert checks.statuses() | named.statuses() == {200}
    scene.stage.verify()


def test_what_was_forbidden_while_the_store_was_away_stays_so_when_it_is_back(
    scene: Scene,
):
    shops = {action: scene.stage.shops.pop(0) for action in ACTIONS}
    revoked, keyless, paused = shops.values()
    for shop in shops.values():
        scene.until_judged(shop.secret)
        until(functools.partial(is_judged_by_name, scene, shop), "judged")

    def statuses() -> list[int]:
        return [
            scene.stage.check(revoked).status,
            by_service(scene, keyless).status,
            scene.stage.check(paused).status,
        ]

    with scene.proxy.suffering(Proxy.reset):
        assert statuses() == [200, 200, 200]
        for action, shop in shops.items():
            kit.beside(scene.stage, "tests.faults.acting", action, shop.customer_id)
        # The record is asked with a door's patience; a busy one may be too slow.
        until(lambda: statuses() == [401, 401, 403], "the record's word counts")
    time.sleep(PROBED_S_MAX)
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        # So seldom that the address is not refused for its many attempts.
        time.sleep(0.4)
        assert statuses() == [401, 401, 403]
    scene.stage.verify()


def test_without_postgres_who_is_known_goes_on_and_nobody_else(scene: Scene):
    *_, closed = scene.stage.shops
    scene.stage.shops.remove(closed)
    shop = scene.stage.shops[0]
    for known in (shop, closed):
        scene.until_judged(known.secret)
    with scene.stage.frozen("postgres", all_of_it=True):
        assert scene.stage.judged(shop).json["degraded"] is False
        with scene.server.client() as control:
            control.flushall()
        for _ in range(5):
            reply = scene.stage.check(shop)
            assert (reply.status, reply.json["degraded"]) == (200, True)
            assert scene.stage.check(closed).status == 503
            refused = scene.stage.call("/v1/check", stranger(shop), {})
            assert refused.status in {401, 503}
    scene.stage.wait_for_postgres()
    scene.until_judged(shop.secret)
    scene.until_judged(closed.secret)


def free_port() -> int:
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_promoted_replica_that_missed_writes_is_brought_up_to_the_record(
    scene: Scene,
):
    shop, stage = scene.stage.shops.pop(0), scene.stage
    stage.post_until_stored(shop, [shop.event("seen")])
    stage.drain()
    port = free_port()
    replica = Server(scene.server.path.parent, "replica")
    replica.start()
    try:
        with scene.server.client() as first, replica.client() as second:
            first.config_set("port", port)
            second.replicaof("127.0.0.1", str(port))
            until(
                lambda: second.info("replication")["master_link_status"] == "up",
                "the replica follows",
            )
            second.replicaof("NO", "ONE")
        stage.post_until_stored(shop, [shop.event("missed")])
        stage.drain()
        scene.proxy.upstream = replica.path
        scene.proxy.cut()
        scene.until_judged(shop.secret)
        seen = kit.beside(stage, "tests.faults.comparing", "1")
        assert "lost=0" not in seen["drift"][0]
        stage.verify()
        assert stage.effects(shop) == once(2)
    finally:
        scene.proxy.upstream = scene.server.path
        scene.proxy.cut()
        replica.kill9()
        with scene.server.client() as first:
            first.flushall()


@pytest.mark.parametrize("action", ACTIONS)
def test_an_end_of_rights_is_felt_within_a_second_under_load(scene: Scene, action: str):
    shop = scene.stage.shops.pop(0)
    scene.until_judged(shop.secret)
    seen: list[tuple[float, int]] = []
    local = threading.local()
    ask = {"customer_id": shop.external_id}
    by_key = action == "revoke-service-key"
    secret = shop.service_secret if by_key else shop.secret

    with contextlib.ExitStack() as lines:

        def check(thread: int, count: int) -> None:
            if not hasattr(local, "line"):
                local.line = lines.enter_context(kit.Line(scene.stage))
            started = time.time()
            reply, took = local.line.check(secret, **(ask if by_key else {}))
            seen.append((started, reply.status))
            time.sleep(max(0, THREADS / CHECKS_PER_S - took))

        with kit.Busy(check, THREADS):
            until(lambda: len(seen) > CHECKS_PER_S, "the load runs")
            done = kit.beside(
                scene.stage, "tests.faults.acting", action, shop.customer_id
            )
            time.sleep(ENDED_S_MAX + 1)
    at = done["committed_at"]
    last = max(started for started, status in seen if status == 200)
    rate = len(seen) / (seen[-1][0] - seen[0][0])
    print(f"{action}: last allowed {last - at:+.3f} s after the commit, {rate:.0f}/s")
    assert last - at < ENDED_S_MAX
    # 503: the edge was too slow for a check, and the record for a look.
    after = {status for started, status in seen if started > last}
    assert after <= {401, 403, 429, 503}
    # 429: an address that was refused a hundred times in this minute.
    assert after & {401, 403, 429}
    assert seen[-1][1] != 200
