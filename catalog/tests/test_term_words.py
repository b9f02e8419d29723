"""What holds for a whole plan: in words, figure by figure, compared, and in public."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from catalog.describe import describe
from catalog.difference import Change, Terms, compare
from catalog.facts import plan_facts
from catalog.price_list import public_json
from catalog.pricing import Plan, parse_plan
from catalog.term_words import plan_terms

CHARGES = [
    {
        "key": key,
        "name": f"{key.title()} tokens",
        "metric": {"key": key, "aggregation": "sum", "measurement": key},
        "price": {"model": "per_unit", "unit_amount": "1"},
    }
    for key in ("input", "output")
]
LAUNCH = {"name": "Launch offer", "percent": "10", "charges": ["input"]}
REBATE = {"name": "Partner rebate", "amount": "50"}
DATED = {**LAUNCH, "from": "2026-11-01", "until": "2027-02-01"}


def plan_with(**terms: Any) -> Plan:
    """Return a plan of two charges with terms."""
    return parse_plan({"currency": "USD", "charges": CHARGES, **terms})


def changes(old: Plan, new: Plan) -> tuple[Change, ...]:
    """Return what changes for the whole plan."""
    found = compare(Terms(old, {}, False), Terms(new, {}, False))
    assert found.is_empty is not bool(found.overall)
    return found.overall


def test_a_description_ends_with_the_terms() -> None:
    words = describe(plan_with(minimum="500", discounts=[DATED, REBATE]))
    assert words.endswith(
        "Minimum spend: $500.00 a month. Launch offer: 10 % off Input tokens, from"
        " 1 Nov 2026, before 1 Feb 2027. Partner rebate: $50.00 a month off everything."
    )
    only = parse_plan({"currency": "USD", "charges": [], "minimum": "5"})
    assert describe(only) == "Nothing is charged. Minimum spend: $5.00 a month."


@pytest.mark.parametrize("count", [1, 9, 50])
def test_a_description_with_many_discounts_is_still_short(count: int) -> None:
    many = [{**DATED, "name": f"A discount {n}"} for n in range(count)]
    words = describe(plan_with(minimum="500", discounts=many))
    assert len(words.split()) <= 120
    assert ("Further discounts" in words) is (count > 1)


def test_every_figure_is_a_fact() -> None:
    facts = plan_facts(plan_with(minimum="500", maximum="900", discounts=[DATED]))
    assert [(fact.label, fact.words, fact.value) for fact in facts] == [
        ("Minimum spend", "$500.00", Decimal(500)),
        ("Maximum spend", "$900.00", Decimal(900)),
        (
            "Launch offer",
            "10 % off Input tokens, from 1 Nov 2026, before 1 Feb 2027",
            Decimal(10),
        ),
    ]


def test_versions_are_compared_by_the_names_of_their_discounts() -> None:
    old = plan_with(minimum="400", discounts=[LAUNCH])
    assert changes(old, old) == ()
    new = plan_with(minimum="500", discounts=[REBATE, {**LAUNCH, "percent": "15"}])
    assert changes(old, new) == (
        Change("Minimum spend", "$400.00", "$500.00", Decimal("0.25")),
        Change("Partner rebate", "", "$50.00 a month off everything"),
        Change(
            "Launch offer",
            "10 % off Input tokens",
            "15 % off Input tokens",
            Decimal("0.5"),
        ),
    )
    assert changes(old, plan_with()) == (
        Change("Minimum spend", "$400.00", ""),
        Change("Launch offer", "10 % off Input tokens", ""),
    )


def test_a_price_list_says_them_by_the_names_of_charges() -> None:
    plan = plan_with(maximum="900", discounts=[DATED, REBATE])
    found = public_json(plan)
    assert found["maximum"] == "900"
    assert found["discounts"] == [
        {
            **DATED,
            "charges": ["Input tokens"],
            "text": "10 % off Input tokens, from 1 Nov 2026, before 1 Feb 2027",
        },
        {**REBATE, "text": "$50.00 a month off everything"},
    ]
    assert [term.name for term in plan_terms(plan)] == [
        "Maximum spend",
        "Launch offer",
        "Partner rebate",
    ]
    assert set(public_json(plan_with())) == {"currency", "charges"}
