"""What is told as an agent's largest movement, and what is not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from portal.selectors.agent_changes import largest
from portal.selectors.analytics import Sums


def sums(**changes: Any) -> Sums:
    """Return 100 events of 1,000 tokens, $0.50 and 20 cents of cost each."""
    values: dict[str, Any] = {
        "events": 100,
        "input_tokens": 60_000,
        "output_tokens": 40_000,
        "revenue": Decimal(50),
        "cost": Decimal(20),
    }
    return Sums("USD", **{**values, **changes})


def twice(**changes: Any) -> Sums:
    """Return twice as much use of the same kind."""
    return sums(
        events=200,
        input_tokens=120_000,
        output_tokens=80_000,
        revenue=Decimal(100),
        cost=Decimal(40),
        **changes,
    )


def test_more_use_of_the_same_kind_is_no_change() -> None:
    found = largest(twice(), sums(), "1–18 Oct")
    assert (found.name, found.note) == ("", "nothing by 10 % or more")


@pytest.mark.parametrize(
    ("now", "name", "size", "rose", "is_bad", "was", "shown"),
    [
        ({"input_tokens": 91_000}, "tokens an event", "31 %", True, True,
         "1,000", "1,310"),
        ({"input_tokens": 30_000}, "tokens an event", "30 %", False, False,
         "1,000", "700"),
        ({"cost": Decimal(90)}, "cost an event", "4.5×", True, True,
         "$0.20", "$0.90"),
        ({"revenue": Decimal(30)}, "revenue an event", "40 %", False, True,
         "$0.50", "$0.30"),
        ({"errors": 8}, "failed events", "from none", True, True, "0.0 %",
         "8.0 %"),
        ({"unknown": 50, "cost": Decimal(10)}, "events without cost", "from none",
         True, True, "0.0 %", "50.0 %"),
    ],
)  # fmt: skip
def test_the_largest_movement_is_told(
    now: dict[str, Any],
    name: str,
    size: str,
    rose: bool,
    is_bad: bool,
    was: str,
    shown: str,
) -> None:
    found = largest(sums(**now), sums(), "1–18 Oct")
    assert (found.name, found.size, found.rose) == (name, size, rose)
    assert (found.is_bad, found.now) == (is_bad, shown)
    assert found.was == was


@pytest.mark.parametrize(("tokens", "told"), [(69_999, False), (70_000, True)])
def test_ten_percent_is_told_and_less_is_not(tokens: int, told: bool) -> None:
    found = largest(sums(input_tokens=tokens), sums(), "1–18 Oct")
    assert bool(found.name) is told


def test_of_two_movements_the_larger_factor_wins_in_either_direction() -> None:
    found = largest(sums(input_tokens=110_000, revenue=Decimal(10)), sums(), "1–18 Oct")
    assert (found.name, found.size, found.rose) == ("revenue an event", "80 %", False)


@pytest.mark.parametrize(("errors", "told"), [(4, False), (5, True)])
def test_a_few_failures_are_chance(errors: int, told: bool) -> None:
    found = largest(sums(errors=errors), sums(), "1–18 Oct")
    assert (found.name == "failed events") is told


@pytest.mark.parametrize(
    ("now", "before", "note"),
    [
        (sums(), Sums("USD"), "not used 1–18 Oct"),
        (Sums("USD"), sums(), "no events; 100 in 1–18 Oct"),
        (sums(events=19), sums(), "too few events to compare"),
        (sums(), sums(events=19), "too few events to compare"),
    ],
)
def test_what_cannot_be_compared_says_why(now: Sums, before: Sums, note: str) -> None:
    found = largest(now, before, "1–18 Oct")
    assert (found.name, found.note) == ("", note)
