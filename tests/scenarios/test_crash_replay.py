"""Parts of the tree die in the middle of a replay: nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aforo.demo import files
from tests import harness
from tests.harness import Instance
from tests.scenarios import replays

SLICE = 6_000
# Which part dies when so many chunks of the replay are done.
DEATHS = ((8, "worker"), (20, "redis"), (35, "postgres"), (48, "worker"))
PATIENCE_S = 300


@pytest.fixture
def running() -> Iterator[Instance]:
    """An instance of its own."""
    with harness.short_folder() as folder:
        one = Instance(folder)
        one.start()
        try:
            yield one
        finally:
            one.stop()


@pytest.mark.crash
@pytest.mark.timeout(1_200)
def test_a_replay_survives_the_death_of_worker_redis_and_postgres(running):
    process = replays.start(running, "--slice", str(SLICE))
    try:
        for chunk, name in DEATHS:
            replays.wait_for_chunk(running, chunk)
            running.wait_for_restart(name, running.kill9(name))
        printed, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert f"{SLICE:,} of {SLICE:,}" in printed

    replays.wait_until_clean(running)
    calls = replays.planned(running)[:SLICE]
    for file in files.FILES:
        assert replays.stored(running, file) == replays.expected(calls, file)
    # Each event is billed once: as many entries as events, each of another event.
    ((events, entries, distinct),) = replays.query(
        running,
        "SELECT (SELECT count(*) FROM metering_usageevent), count(*),"
        " count(DISTINCT event_id) FROM billing_ledgerentry"
        " WHERE event_id IS NOT NULL",
    )
    assert (events, entries, distinct) == (SLICE, SLICE, SLICE)
