"""Minimum, maximum, discounts and spend levels of a plan in further currencies."""

from __future__ import annotations

import copy
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from catalog.difference import Terms, compare
from catalog.price_list import public_json
from catalog.pricing import (
    PlanError,
    in_currency,
    level_in_force,
    parse_plan,
    plan_to_json,
    total,
)
from catalog.tests.pricing_kit import amount, charge, event

CALLS = charge("calls", {"model": "per_unit", "unit_amount": "0.01"})
IN_EUR = {"calls": {"price": {"model": "per_unit", "unit_amount": "0.009"}}}
BODY: dict[str, Any] = {
    "currency": "USD",
    "charges": [CALLS],
    "minimum": "500",
    "maximum": "9000",
    "discounts": [
        {"name": "Launch offer", "percent": "10"},
        {"name": "Partner rebate", "amount": "50"},
    ],
    "levels": [
        {"key": "free", "name": "Free"},
        {"key": "scale", "name": "Scale", "spend_from": "50"},
    ],
    "currencies": {
        "EUR": {
            "charges": IN_EUR,
            "minimum": "450",
            "maximum": None,
            "discounts": [
                {"name": "Launch offer", "percent": "10"},
                {"name": "Partner rebate", "amount": "45"},
            ],
            "levels": [
                {"key": "free", "name": "Free"},
                {"key": "scale", "name": "Scale", "spend_from": "45"},
            ],
        }
    },
}


def changed(**of_eur: Any) -> dict[str, Any]:
    """Return the body with members of its variant in euros replaced; None: left out."""
    body = copy.deepcopy(BODY)
    eur = body["currencies"]["EUR"] | of_eur
    body["currencies"]["EUR"] = {k: v for k, v in eur.items() if v != "left out"}
    return body


def test_a_further_currency_has_its_own_amounts_of_the_whole_plan() -> None:
    plan = parse_plan(BODY)
    euros = in_currency(plan, "EUR")
    assert (euros.minimum, euros.maximum) == (Decimal(450), None)
    usage = [event(1, calls="100000")]
    # 900 − 10 % − 45; in dollars 1,000 − 10 % − 50.
    assert amount(total(euros, usage, starts_on=date(2026, 11, 1))) == 765
    dollars = in_currency(plan, "USD")
    assert amount(total(dollars, usage, starts_on=date(2026, 11, 1))) == 850
    assert amount(total(euros, [], starts_on=date(2026, 11, 1))) == 450


def test_a_level_is_reached_by_the_spend_in_its_currency() -> None:
    plan = parse_plan(BODY)
    for currency, level in (("EUR", "scale"), ("USD", "free")):
        levels = in_currency(plan, currency).levels
        found = level_in_force(levels, spend=Decimal(47), credits=Decimal(0), given="")
        assert found.key == level


def test_a_plan_with_terms_in_currencies_is_written_as_it_was_read() -> None:
    plan = parse_plan(BODY)
    written = plan_to_json(plan)
    assert written["currencies"]["EUR"]["minimum"] == "450"
    assert written["currencies"]["EUR"]["maximum"] is None
    assert parse_plan(written) == plan


def test_percentages_need_no_amount_in_another_currency() -> None:
    body = copy.deepcopy(BODY)
    for name in ("minimum", "maximum", "levels"):
        del body[name]
    body["discounts"] = body["discounts"][:1]
    body["currencies"]["EUR"] = {"charges": IN_EUR}
    euros = in_currency(parse_plan(body), "EUR")
    assert [one.name for one in euros.discounts] == ["Launch offer"]


@pytest.mark.parametrize(
    ("_case", "of_eur", "code", "path"),
    [
        ("no minimum", {"minimum": "left out"}, "missing_price", "minimum"),
        ("no maximum", {"maximum": "left out"}, "missing_price", "maximum"),
        ("no rebate", {"discounts": "left out"}, "missing_price", "discounts"),
        ("no trigger", {"levels": "left out"}, "missing_price", "levels"),
        ("below", {"maximum": "400"}, "out_of_range", "maximum"),
        ("too fine", {"minimum": "1.0000000000001"}, "too_precise", "minimum"),
        (
            "another percentage",
            {"discounts": [{"name": "Launch offer", "percent": "20"}]},
            "another_shape",
            "discounts",
        ),
        (
            "another level",
            {"levels": [{"key": "free", "name": "Free"}]},
            "another_shape",
            "levels",
        ),
        (
            "a wrong amount",
            {
                "discounts": [
                    {"name": "Launch offer", "percent": "10"},
                    {"name": "Partner rebate", "amount": "-1"},
                ]
            },
            "negative",
            "discounts[1].amount",
        ),
    ],
)
def test_wrong_terms_of_a_currency_are_refused_with_their_place(
    _case: str, of_eur: dict[str, Any], code: str, path: str
) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(changed(**of_eur))
    assert (caught.value.code, caught.value.path) == (code, f"currencies.EUR.{path}")


def test_a_change_of_them_is_told_with_its_currency() -> None:
    old = Terms(parse_plan(BODY), {}, False)
    new = Terms(parse_plan(changed(minimum="480")), {}, False)
    (change,) = compare(old, new).overall
    assert change.label == "Minimum spend, EUR"


def test_the_public_price_list_says_them_in_every_currency() -> None:
    document = public_json(parse_plan(BODY))
    euros = document["currencies"]["EUR"]
    assert euros["minimum"] == "450"
    assert "maximum" not in euros
    assert euros["discounts"][1]["text"] == "€45.00 a month off everything"
    assert euros["levels"][1] == {"key": "scale", "name": "Scale", "spend_from": "45"}
    assert euros["charges"][0]["price"]["unit_amount"] == "0.009"
    assert "currency" not in euros
