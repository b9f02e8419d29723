"""Kills at random under load: web, worker, Redis and Postgres, nothing lost or doubled.

The kills are drawn from a seed that a failure prints; `AFORO_KILL_SEED` runs it again,
`AFORO_KILL_SECONDS` makes it longer.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.scenarios import stage as scene
from tests.scenarios.stage import PRICE, Effects, Lost, Shop, Stage, until

pytestmark = [pytest.mark.crash, pytest.mark.full, pytest.mark.timeout(1500)]

SECONDS = int(os.environ.get("AFORO_KILL_SECONDS", "90"))
SEED = int(os.environ.get("AFORO_KILL_SEED", "0")) or random.randrange(1, 10**6)
PARTS = ("worker", "web", "redis", "postgres")
PAUSE_S = (1.0, 5.0)  # Between one part's return and the next kill.
SENDERS = 3
BATCH = 100
DRAIN_S_MAX = 240


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with scene.opened(*[{}] * (SENDERS + 1)) as running:
        yield running


class Sender(threading.Thread):
    """Posts batches as a client does: again, with the same ids, until they are in."""

    def __init__(self, stage: Stage, shops: list[Shop], number: int) -> None:
        """Send events of two shops: one of its own, one that all senders share."""
        super().__init__(daemon=True)
        self.stage = stage
        self.own, self.shared = shops
        self.number = number
        self.stored = 0
        self.tries = 0
        self.faults: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Send until it is over; the batch under way is finished."""
        for batch in itertools.count():
            if self.over.is_set() or self.faults:
                return
            # A request is of one seller's key: every third goes to the hot customer.
            shop = self.shared if batch % 3 == 0 else self.own
            events = [shop.event(f"s{self.number}-b{batch}-{n}") for n in range(BATCH)]
            self._send(shop, events)

    def _send(self, shop: Shop, events: list[dict[str, object]]) -> None:
        """Send a batch until it is stored."""
        deadline = time.monotonic() + scene.PATIENCE_S
        while time.monotonic() < deadline:
            self.tries += 1
            try:
                reply = self.stage.post(shop, events)
            except (Lost, KeyError):  # Away, or its address is not written yet.
                time.sleep(0.1)
                continue
            if reply.status == 200:
                # A batch whose answer was lost is known the second time.
                if set(reply.verdicts) - {"accepted", "duplicate"}:
                    self.faults.append(str(reply.json)[:500])
                self.stored += len(events)
                return
            if reply.status != 503:
                self.faults.append(f"{reply.status}: {reply.json}"[:500])
                return
            time.sleep(0.1)
        self.faults.append("a batch was not taken for too long")


def kill_at_random(stage: Stage, draw: random.Random) -> list[str]:
    """Kill one part after the other for the time of the test; return which."""
    killed = []
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        time.sleep(draw.uniform(*PAUSE_S))
        part = draw.choice(PARTS)
        killed.append(part)
        stage.restart(part)
        if part == "postgres":
            stage.wait_for_postgres()
    return killed


def test_kills_at_random_under_load_lose_and_double_nothing(stage: Stage) -> None:
    shared = stage.shop()
    own = [stage.shop() for _ in range(SENDERS)]
    senders = [Sender(stage, [shop, shared], n) for n, shop in enumerate(own)]
    for sender in senders:
        sender.start()

    killed = kill_at_random(stage, random.Random(SEED))
    for sender in senders:
        sender.over.set()
    for sender in senders:
        sender.join(timeout=scene.PATIENCE_S * 2)

    told = f"seed {SEED}, killed {killed}"
    assert [s.faults for s in senders] == [[]] * SENDERS, told
    assert len(set(killed)) > 1, told
    stored = sum(s.stored for s in senders)
    assert stored > 10 * BATCH, told
    # What was in flight at a kill really was sent again.
    assert sum(s.tries for s in senders) > stored // BATCH, told

    def rated() -> bool:
        try:
            return sum(stage.effects(s).pending for s in [shared, *own]) == 0
        except psycopg.OperationalError:
            return False

    until(rated, f"everything was rated; {told}", DRAIN_S_MAX)
    found = [stage.effects(shop) for shop in [shared, *own]]
    assert sum(e.events for e in found) == stored, told
    assert found == [Effects(e.events, e.events, PRICE * e.events, 0) for e in found]
    print(stage.verify(), told, f"{stored:,} events")
