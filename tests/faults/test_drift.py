"""Edge and record compared while usage is rated: what differs is found, and only it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import kit
from tests.scenarios import stage as scene
from tests.scenarios.stage import Shop, Stage

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

SHOPS = 4
BATCH = 100
COMPARED_S = 12


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with scene.opened(*[{"limits": {"default_estimate": "0.01"}}] * SHOPS) as running:
        yield running


def test_live_rating_is_no_drift(stage: Stage):
    shops: list[Shop] = stage.shops

    def send(thread: int, count: int) -> None:
        shop = shops[(thread + count) % SHOPS]
        names = [f"{thread}-{count}-{n}" for n in range(BATCH)]
        reply = stage.post_until_stored(shop, [shop.event(name) for name in names])
        assert set(reply.verdicts) == {"accepted"}

    with kit.Busy(send, threads=2) as load:
        seen = kit.beside(stage, "tests.faults.comparing", str(COMPARED_S))

    assert load.calls * BATCH > COMPARED_S * 100
    assert seen["rounds"] > 10
    assert (seen["drift"], seen["breaks"]) == ([], [])
    stage.verify()
