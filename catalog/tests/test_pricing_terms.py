"""Minimum and maximum spend and discounts of a plan: worked, refused, written."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from catalog.pricing import (
    Plan,
    PlanError,
    closing,
    explain,
    lint,
    opening,
    parse_plan,
    plan_lines,
    plan_to_json,
    rate_many,
    total,
    true_ups,
)
from catalog.pricing.exact import divide
from catalog.pricing.terms import Parts, line_charge, terms_of
from catalog.tests.pricing_kit import amount, charge, event, priced

DAY = date(2026, 11, 1)
CHARGES = [
    charge("platform", {"model": "flat", "amount": "200", "due": "advance"}),
    charge("input", {"model": "per_unit", "unit_amount": "1"}),
    charge("output", {"model": "per_unit", "unit_amount": "1"}),
]


def plan_with(**terms: Any) -> Plan:
    """Return $200 a month, input and output at $1 each, with terms."""
    return parse_plan({"currency": "USD", "charges": CHARGES, **terms})


def off(name: str, **more: Any) -> dict[str, Any]:
    """Return a discount's JSON."""
    return {"name": name, **more}


def lines_of(
    plan: Plan, *, input: str = "155", output: str = "13", starts_on: date = DAY
) -> dict[str, Decimal]:
    """Return the lines of a period by name."""
    usage = [event(1, input=input, output=output)]
    return {li.name: li.amount for li in total(plan, usage, starts_on=starts_on)}


TEN = off("Launch", percent="10", charges=["input"])
WORKED: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
    ("nothing", {}, {}, "368"),
    ("a minimum", {"minimum": "500"}, {"Minimum spend": "132"}, "500"),
    ("a minimum that is reached", {"minimum": "368"}, {}, "368"),
    ("a maximum", {"maximum": "300"}, {"Maximum spend": "-68"}, "300"),
    ("a maximum that is not reached", {"maximum": "368"}, {}, "368"),
    ("ten percent of one charge", {"discounts": [TEN]}, {"Launch": "-15.5"}, "352.5"),
    (
        "ten percent of all",
        {"discounts": [off("All", percent="10")]},
        {"All": "-36.8"},
        "331.2",
    ),
    (
        "percentages are of the amount before any of them",
        {"discounts": [TEN, off("More", percent="20", charges=["input"])]},
        {"Launch": "-15.5", "More": "-31"},
        "321.5",
    ),
    (
        "percentages take all of a charge at most",
        {"discounts": [TEN, off("Rest", percent="95", charges=["input"])]},
        {"Launch": "-15.5", "Rest": "-139.5"},
        "213",
    ),
    (
        "an amount",
        {"discounts": [off("Rebate", amount="50")]},
        {"Rebate": "-50"},
        "318",
    ),
    (
        "an amount as far as its charge goes",
        {"discounts": [off("Rebate", amount="50", charges=["output"])]},
        {"Rebate": "-13"},
        "355",
    ),
    (
        "percentages come before amounts, whatever is written first",
        {"discounts": [off("Rebate", amount="400"), off("Half", percent="50")]},
        {"Half": "-184", "Rebate": "-184"},
        "0",
    ),
    (
        "discount, then minimum",
        {"discounts": [TEN], "minimum": "500"},
        {"Launch": "-15.5", "Minimum spend": "147.5"},
        "500",
    ),
    (
        "discount, then maximum",
        {"discounts": [TEN], "maximum": "360"},
        {"Launch": "-15.5"},
        "352.5",
    ),
]


@pytest.mark.parametrize(
    ("_case", "terms", "expected", "whole"), WORKED, ids=[row[0] for row in WORKED]
)
def test_terms_come_after_the_charges(
    _case: str, terms: dict[str, Any], expected: dict[str, str], whole: str
) -> None:
    found = lines_of(plan_with(**terms))
    own = {"Platform", "Input", "Output"}
    assert {name: found[name] for name in found if name not in own} == {
        name: Decimal(text) for name, text in expected.items()
    }
    assert sum(found.values()) == Decimal(whole)


@pytest.mark.parametrize(
    ("day", "applies"),
    [
        (date(2026, 10, 31), False),
        (date(2026, 11, 1), True),
        (date(2027, 1, 31), True),
        (date(2027, 2, 1), False),
    ],
)
def test_a_dated_discount_holds_for_periods_that_start_within(
    day: date, applies: bool
) -> None:
    dated = {**TEN, "from": "2026-11-01", "until": "2027-02-01"}
    found = lines_of(plan_with(discounts=[dated]), starts_on=day)
    assert ("Launch" in found) is applies


def test_a_dated_discount_needs_the_day() -> None:
    plan = plan_with(discounts=[{**TEN, "from": "2026-11-01"}])
    with pytest.raises(AssertionError, match="the day the period starts"):
        total(plan, {})


def test_every_line_says_how_it_comes_about() -> None:
    rebate = off("Rebate", amount="50")
    plan = plan_with(discounts=[TEN, rebate], minimum="500")
    lines = total(plan, [event(1, input="155")], starts_on=DAY)
    assert [explain(line) for line in lines[2:]] == [
        ("10 % of $155.00 = −$15.50",),
        ("up to $50.00 off $339.50 = −$50.00",),
        ("minimum spend $500.00, $289.50 used = $210.50",),
    ]
    (capped,) = plan_lines(plan_with(maximum="300"), lines[:2], DAY)
    assert explain(capped) == ("maximum spend $300.00, $355.00 used = −$55.00",)
    for line in lines:
        assert line.amount == sum(step.amount for step in line.steps)


def test_opening_events_closing_and_terms_are_the_total() -> None:
    plan = plan_with(discounts=[TEN], minimum="500")
    events = [event(n, input=str(n), output="0.5") for n in range(1, 6)]
    for order in (events, events[::-1]):
        outcomes, state = rate_many(plan, {}, order)
        posted = [*opening(plan), *priced(outcomes), *closing(plan, state)]
        posted += true_ups(plan, state)
        posted += plan_lines(plan, posted, DAY)
        assert amount(posted) == amount(total(plan, events, starts_on=DAY)) == 500


def test_amounts_are_shared_by_the_days_and_percentages_are_not() -> None:
    plan = plan_with(
        discounts=[TEN, off("Rebate", amount="30")], maximum="90", minimum="90"
    )
    usage = total(plan_with(), [event(1, input="100")])[1:]
    third = plan_lines(plan, usage, DAY, lambda value: divide(value, Decimal(3)))
    assert {line.name: line.amount for line in third} == {
        "Launch": Decimal(-10),
        "Rebate": Decimal(-10),
        "Maximum spend": Decimal(-50),
    }


def test_the_part_of_fixed_amounts_is_told_apart() -> None:
    """So that a wallet, which pays usage only, gets back just its part."""
    parts = {
        "platform": Parts(Decimal(200), Decimal(0)),
        "input": Parts(Decimal(20), Decimal(80)),
    }

    def fixed(**terms: Any) -> list[Any]:
        found = terms_of(
            plan_with(**terms), parts, starts_on=DAY, share=lambda value: value
        )
        return [(row.line.amount, row.fixed) for row in found]

    assert fixed(discounts=[off("All", percent="10")]) == [(-30, -22)]
    assert fixed(discounts=[off("Rebate", amount="90", charges=["input"])]) == [
        (-90, -10)
    ]
    assert fixed(maximum="250") == [(-50, 0)]
    assert fixed(maximum="150") == [(-150, -70)]
    assert fixed(minimum="400") == [(100, 100)]


def test_keys_of_the_plan_are_none_of_a_charge_and_stay_with_the_name() -> None:
    first = plan_with(discounts=[off("Launch offer!", percent="1"), TEN], minimum="1")
    found = terms_of(
        first,
        {"input": Parts(Decimal(0), Decimal("0.5"))},
        starts_on=DAY,
        share=lambda value: value,
    )
    keys = [row.line.charge_key for row in found]
    assert keys == [
        "plan:discount:launch-offer",
        "plan:discount:launch",
        "plan:minimum",
    ]
    assert [line_charge(first, key)[0] for key in ("input", *keys)] == [1, 3, 4, 6]
    assert line_charge(first, keys[0])[1].name == "Launch offer!"
    with pytest.raises(KeyError):
        line_charge(first, "plan:discount:gone")
    with pytest.raises(PlanError):
        parse_plan({"currency": "USD", "charges": [{**CHARGES[1], "key": keys[0]}]})


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("a number", {"minimum": 5}, "wrong_type", "minimum"),
    ("negative", {"minimum": "-5"}, "negative", "minimum"),
    ("too precise", {"maximum": "0.0000000000001"}, "too_precise", "maximum"),
    ("crossed", {"minimum": "2", "maximum": "1"}, "out_of_range", "maximum"),
    ("no list", {"discounts": {}}, "wrong_type", "discounts"),
    ("many", {"discounts": [TEN] * 51}, "too_many", "discounts"),
    ("unknown", {"discounts": [{**TEN, "due": 1}]}, "unknown_key", "discounts[0].due"),
    ("no name", {"discounts": [{"percent": "1"}]}, "missing_key", "discounts[0]"),
    ("neither", {"discounts": [{"name": "A"}]}, "unsupported", "discounts[0]"),
    (
        "both",
        {"discounts": [{**TEN, "amount": "5"}]},
        "unsupported",
        "discounts[0]",
    ),
    ("101 %", {"discounts": [off("A", percent="101")]}, "out_of_range", "percent"),
    ("0 %", {"discounts": [off("A", percent="0")]}, "out_of_range", "percent"),
    (
        "places",
        {"discounts": [off("A", percent="1.00001")]},
        "too_precise",
        "percent",
    ),
    ("nothing", {"discounts": [off("A", amount="0")]}, "out_of_range", "amount"),
    (
        "a charge that is not there",
        {"discounts": [off("A", percent="1", charges=["input", "inptu"])]},
        "unknown_charge",
        "discounts[0].charges[1]",
    ),
    (
        "a charge twice",
        {"discounts": [off("A", percent="1", charges=["input", "input"])]},
        "duplicate_charge",
        "discounts[0].charges[1]",
    ),
    (
        "no charges",
        {"discounts": [off("A", percent="1", charges=[])]},
        "empty",
        "discounts[0].charges",
    ),
    (
        "no date",
        {"discounts": [{**TEN, "from": "2026-02-30"}]},
        "invalid_date",
        "discounts[0].from",
    ),
    (
        "another way to write a date",
        {"discounts": [{**TEN, "until": "20261101"}]},
        "invalid_date",
        "discounts[0].until",
    ),
    (
        "from is not before until",
        {"discounts": [{**TEN, "from": "2026-11-01", "until": "2026-11-01"}]},
        "out_of_range",
        "discounts[0].until",
    ),
    (
        "two of one name",
        {"discounts": [TEN, {**TEN, "name": "LAUNCH"}]},
        "duplicate_discount",
        "discounts[1].name",
    ),
]


@pytest.mark.parametrize(
    ("_case", "terms", "code", "path"), REFUSED, ids=[row[0] for row in REFUSED]
)
def test_a_term_that_makes_no_sense_is_refused_where_it_stands(
    _case: str, terms: dict[str, Any], code: str, path: str
) -> None:
    with pytest.raises(PlanError) as found:
        plan_with(**terms)
    assert (found.value.code, found.value.path.endswith(path)) == (code, True)


def test_refusals_say_the_value_and_what_to_do() -> None:
    with pytest.raises(PlanError, match=r"maximum: 1\.5 is below the minimum of 2"):
        plan_with(minimum="2", maximum="1.5")
    with pytest.raises(
        PlanError, match="“2026-13-01” is no date: write year-month-day"
    ):
        plan_with(discounts=[{**TEN, "from": "2026-13-01"}])


def test_terms_are_read_back_as_they_were_written() -> None:
    body = {
        "minimum": "500",
        "maximum": "10000",
        "discounts": [
            {**TEN, "from": "2026-11-01", "until": "2027-02-01"},
            off("Partner rebate", amount="50"),
        ],
    }
    written = plan_to_json(plan_with(**body))
    assert {name: written[name] for name in body} == body
    assert parse_plan(written) == plan_with(**body)
    assert set(plan_to_json(plan_with())) == {"currency", "charges"}


FINDINGS: list[tuple[dict[str, Any], list[str]]] = [
    ({"minimum": "500", "maximum": "900"}, []),
    ({"minimum": "200"}, ["minimum_reached"]),
    ({"maximum": "150"}, ["maximum_reached"]),
    (
        {"discounts": [TEN, off("Rest", percent="95", charges=["input", "output"])]},
        ["discounts_over_all"],
    ),
    (
        {
            "discounts": [
                off("All", amount="5"),
                off("Some", amount="5", charges=["input"]),
            ]
        },
        ["discount_order"],
    ),
]


@pytest.mark.parametrize(("terms", "codes"), FINDINGS)
def test_terms_that_look_like_a_mistake_are_reported(
    terms: dict[str, Any], codes: list[str]
) -> None:
    assert [finding.code for finding in lint(plan_with(**terms))] == codes
