"""What open holds reserve, as pages read it from a real Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from guard import in_flight, stores
from guard.engine import hold
from guard.in_flight import InFlight
from guard.tests.edge import Edge


@pytest.fixture
def pages(settings: Any) -> Iterator[Any]:
    """The client of pages, made anew before and after."""
    stores.for_pages.cache_clear()
    yield settings
    stores.for_pages.cache_clear()


def test_nothing_is_in_flight_before_the_first_check(edge: Edge, pages: Any) -> None:
    assert in_flight.of_customer(edge.tag) == InFlight(0, Decimal(0))


def test_open_holds_are_summed_and_a_released_one_is_gone(
    edge: Edge, pages: Any
) -> None:
    edge.project()
    first = edge.ask(amount_micros=250_000)
    edge.ask(amount_micros=1_000_000)
    assert in_flight.of_customer(edge.tag) == InFlight(2, Decimal("1.25"))
    hold.release(edge.client, hold.HoldId(edge.tag, first.hold_key))
    assert in_flight.of_customer(edge.tag) == InFlight(1, Decimal(1))


def test_a_hold_that_ran_out_counts_no_more_before_a_check_gives_it_back(
    edge: Edge, pages: Any
) -> None:
    edge.project(max_call_s=-59)
    edge.ask(amount_micros=400_000)
    assert in_flight.of_customer(edge.tag) == InFlight(1, Decimal("0.4"))
    time.sleep(1.1)
    assert in_flight.of_customer(edge.tag) == InFlight(0, Decimal(0))


def test_without_redis_nobody_knows(edge: Edge, pages: Any) -> None:
    pages.GUARD_REDIS_URL = "redis://127.0.0.1:1/0"
    assert in_flight.of_customer(edge.tag) is None
