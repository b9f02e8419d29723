"""Breakdowns in words, and lines as they are stored."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from catalog.pricing import (
    Step,
    collect,
    explain,
    line_from_json,
    line_to_json,
    opening,
    price,
    rate,
    steps_from_json,
    steps_to_json,
)
from catalog.tests.pricing_kit import charge, event, plan_of, tiers

PER_M = {"per": 1_000_000}
ROWS = tiers(("1000", "0.01"), ("5000", "0.005"), (None, "0.002", "3"))
GRADUATED = {"model": "graduated", "tiers": ROWS}
VOLUME = {"model": "volume", "tiers": ROWS}
TIERED_PACKAGE = {"model": "package", "size": "100", "price": GRADUATED}

TOTALS: list[tuple[dict[str, Any], str, list[str]]] = [
    (
        GRADUATED,
        "6000",
        [
            "first 1,000 × $0.01 = $10.00",
            "next 4,000 × $0.005 = $20.00",
            "1,000 above 5,000 × $0.002 + $3.00 flat = $5.00",
        ],
    ),
    (GRADUATED, "400", ["400 of the first 1,000 × $0.01 = $4.00"]),
    (VOLUME, "6000", ["all 6,000 × $0.002 + $3.00 flat = $15.00"]),
    (
        {"model": "per_unit", "unit_amount": "3", **PER_M},
        "1500",
        ["1,500 × $3.00 per 1M = $0.0045"],
    ),
    (
        {"model": "per_unit", "unit_amount": "0.0000005"},
        "1842",
        ["1,842 × $0.0000005 = $0.000921"],
    ),
    (
        {"model": "package", "size": "1000", "amount": "1"},
        "1001",
        ["2 packages of 1,000 × $1.00 = $2.00"],
    ),
    (TIERED_PACKAGE, "50", ["1 of the first 1,000 package of 100 × $0.01 = $0.01"]),
    (
        {
            "model": "included",
            "units": "1000",
            "overage": {"model": "per_unit", "unit_amount": "5"},
        },
        "1000.5",
        ["1,000 of 1,000 included = $0.00", "0.5 × $5.00 = $2.50"],
    ),
    (
        {"model": "percentage", "rate": "2.9", "fixed_amount": "0.30"},
        "100",
        ["2.9 % of $100.00 = $2.90", "1 × $0.30 per event = $0.30"],
    ),
    (
        {"model": "percentage", "rate": "50", "maximum": "12"},
        "100",
        [
            "50 % of $100.00 = $50.00",
            "capped at the maximum of $12.00 per event = −$38.00",
        ],
    ),
]


@pytest.mark.parametrize(("model", "quantity", "words"), TOTALS)
def test_a_total_is_explained_step_by_step(
    model: dict[str, Any], quantity: str, words: list[str]
) -> None:
    plan = plan_of(charge("tokens", model))
    (line,) = price(plan, collect(plan, [event(tokens=quantity)]))
    assert list(explain(line)) == words


def difference(model: dict[str, Any], first: int, second: int) -> tuple[str, ...]:
    """Return in words what the second of two events costs."""
    plan = plan_of(charge("tokens", model))
    before = rate(plan, {}, event(1, tokens=first)).after
    (line,) = rate(plan, before, event(2, tokens=second)).lines
    return explain(line)


def test_an_event_that_crosses_a_tier_shows_both_sides() -> None:
    assert difference(GRADUATED, 900, 300) == (
        "100 of the first 1,000 × $0.01 = $1.00",
        "200 above 1,000 × $0.005 = $1.00",
    )


def test_a_volume_tier_reached_takes_the_old_price_back() -> None:
    assert difference(VOLUME, 900, 300) == (
        "−900 × $0.01 = −$9.00",
        "all 1,200 × $0.005 = $6.00",
    )


def test_an_event_within_a_started_package_says_so() -> None:
    model = {"model": "package", "size": "1000", "amount": "1"}
    assert difference(model, 10, 10) == ("no further package of 1,000 = $0.00",)


def test_what_is_due_at_the_opening_is_explained() -> None:
    rows = tiers(("10", "1", "2"), (None, "1"))
    plan = plan_of(
        charge("fee", {"model": "flat", "amount": "1200", "due": "advance"}),
        charge("tokens", {"model": "graduated", "tiers": rows}),
    )
    assert [explain(line) for line in opening(plan)] == [
        ("flat amount = $1,200.00",),
        ("$2.00 flat up to 10 = $2.00",),
    ]


@pytest.mark.parametrize(
    ("currency", "words"),
    [
        ("EUR", "1,500 × €2.00 = €3,000.00"),
        ("JPY", "1,500 × ¥2 = ¥3,000"),
        ("KWD", "1,500 × KWD 2.000 = KWD 3,000.000"),
    ],
)
def test_amounts_are_written_in_the_plans_currency(currency: str, words: str) -> None:
    model = {"model": "per_unit", "unit_amount": "2"}
    plan = plan_of(charge("tokens", model), currency=currency)
    (line,) = rate(plan, {}, event(tokens=1500)).lines
    assert explain(line) == (words,)


def test_a_stored_line_is_short_and_complete() -> None:
    model = {"model": "per_unit", "unit_amount": "3", **PER_M}
    plan = plan_of(charge("tokens", model, unit="tokens"))
    (line,) = rate(plan, {}, event(tokens="1500")).lines
    assert line_to_json(line) == {
        "charge": "tokens",
        "name": "Tokens",
        "quantity": "1500",
        "amount": "0.0045",
        "unit": "tokens",
        "currency": "USD",
        "steps": [["unit", "1500", "3", "0.0045", "1000000"]],
    }
    assert line_from_json(line_to_json(line)) == line


def test_steps_keep_small_and_negative_numbers_in_plain_digits() -> None:
    steps = (
        Step("tier", Decimal("1E-12"), Decimal("1E+3"), Decimal("-1E-12")),
        Step("included", Decimal(-5), Decimal(0), Decimal("0E-12"), up_to=Decimal(9)),
    )
    data = steps_to_json(steps)
    assert data == [
        ["tier", "0.000000000001", "1000", "-0.000000000001"],
        ["included", "-5", "0", "0", "1", "0", "0", "9"],
    ]
    assert steps_from_json(data) == steps
