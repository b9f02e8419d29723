"""Which margin is which level, over exact figures."""

from __future__ import annotations

from decimal import Decimal

import pytest

from guard.margin import rules
from guard.margin.rules import DEFAULT, Figures
from guard.models import Level

OK, UNKNOWN, WARN, THROTTLE, BLOCK = Level


def at(cogs: str, *, revenue: str = "100", **more: int | bool) -> Figures:
    return Figures(Decimal(revenue), Decimal(cogs), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cogs", "before", "after"),
    [
        ("80", OK, OK),
        ("80.000000000001", OK, WARN),
        ("90", OK, WARN),
        ("90.000000000001", OK, THROTTLE),
        ("100", OK, THROTTLE),
        ("100.000000000001", OK, BLOCK),
        # A level eases two points above its line, and falls as far as it must.
        ("78.000000000001", WARN, WARN),
        ("78", WARN, OK),
        ("88.000000000001", THROTTLE, THROTTLE),
        ("88", THROTTLE, WARN),
        ("98.000000000001", BLOCK, BLOCK),
        ("98", BLOCK, THROTTLE),
        ("88.5", BLOCK, THROTTLE),
        ("79", BLOCK, WARN),
        ("70", BLOCK, OK),
        # What rises does not wait.
        ("150", WARN, BLOCK),
    ],
)
def test_levels(cogs: str, before: Level, after: Level) -> None:
    assert rules.level(at(cogs), DEFAULT, before) == after


def test_below_a_minimum_cost_everything_is_ok() -> None:
    assert rules.level(at("0.999999999999", revenue="0.1"), DEFAULT) == OK
    assert rules.level(at("1", revenue="0.1"), DEFAULT) == BLOCK
    assert rules.level(at("0.5", revenue="0.1"), DEFAULT, BLOCK) == OK


def test_cost_without_revenue_is_minus_a_hundred_but_for_an_allowance() -> None:
    assert rules.margin(at("1", revenue="0")) == -100
    assert rules.level(at("1", revenue="0"), DEFAULT) == BLOCK
    free = rules.ladder_of({"free_cogs_allowance": "5"})
    assert rules.level(at("5", revenue="0"), free) == OK
    assert rules.level(at("5.01", revenue="0"), free) == BLOCK
    assert rules.margin(at("5", revenue="-2")) == -100


def test_what_is_not_known_is_unknown_and_never_milder_than_what_is() -> None:
    assert rules.level(at("0.5", cost_unknown_count=1), DEFAULT) == UNKNOWN
    assert rules.level(at("50", cost_unknown_count=1), DEFAULT) == OK
    assert rules.level(at("95", cost_unknown_count=1), DEFAULT) == THROTTLE
    assert rules.level(at("95", is_convertible=False), DEFAULT) == UNKNOWN
    assert rules.margin(at("95", is_convertible=False)) is None


def test_lines_are_the_plans_then_the_customers() -> None:
    ladder = rules.ladder_of({"warn": "60", "block": None}, {"warn": "50"}, None)
    assert rules.level(at("45"), ladder) == OK
    assert rules.level(at("51"), ladder) == WARN
    assert rules.level(at("500"), ladder) == THROTTLE
    assert rules.ladder_of(None, {}) is DEFAULT


def test_under_several_contracts_no_line_is_above_any_of_theirs() -> None:
    one = rules.ladder_of({"warn": "60", "throttle": "30"})
    other = rules.ladder_of({"warn": "40", "block": None, "minimum_cogs": "7"})
    both = rules.mildest([one, other])
    assert both.lines == {WARN: Decimal(40), THROTTLE: Decimal(10), BLOCK: None}
    assert both.minimum_cogs == 7


def test_a_margin_is_rounded_down_to_four_places() -> None:
    assert rules.margin(at("1", revenue="3")) == Decimal("66.6666")
    assert rules.margin(at("4", revenue="3")) == Decimal("-33.3334")
    assert rules.margin(at("9e20", revenue="0.000000000001")) == rules.LEAST
