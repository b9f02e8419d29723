"""A scheduled job runs once per slot."""

from __future__ import annotations

import datetime as dt

import pytest

from aforo.core.jobs import run_slot, slot_of
from aforo.core.models import JobSlot
from aforo.lib import clock

pytestmark = pytest.mark.django_db
NOON = dt.datetime(2026, 3, 1, 12, 0, 3, tzinfo=dt.UTC)


def test_a_slot_is_the_start_of_its_interval() -> None:
    assert slot_of(NOON, 60) == NOON.replace(second=0)
    assert slot_of(NOON, 10) == NOON.replace(second=0)


def test_the_second_beat_of_a_slot_does_nothing() -> None:
    runs: list[str] = []
    with clock.travel(NOON):
        assert run_slot("job", 60, lambda: runs.append("first"))
        assert not run_slot("job", 60, lambda: runs.append("second"))
    with clock.travel(NOON + dt.timedelta(minutes=1)):
        assert run_slot("job", 60, lambda: runs.append("third"))
    assert runs == ["first", "third"]


def test_the_outcome_is_kept_and_old_slots_are_not() -> None:
    with clock.travel(NOON - dt.timedelta(days=30)):
        run_slot("job", 60, lambda: "old")
    with clock.travel(NOON):
        run_slot("job", 60, lambda: "3 done")
    assert [(s.outcome, s.finished_at is not None) for s in JobSlot.objects.all()] == [
        ("3 done", True)
    ]
