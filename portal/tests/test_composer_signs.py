"""Signs beside numbers: the form's own are taken off, another's is told."""

from __future__ import annotations

import pytest
from django.http import QueryDict

from portal.composer.checking import check
from portal.composer.signs import PERCENTAGES, unsigned
from portal.tests.composer_kit import METRICS, read


def form(**boxes: str) -> QueryDict:
    """Return a posted form in dollars with these boxes."""
    data = QueryDict(mutable=True)
    data.update({n.replace("__", "-"): text for n, text in boxes.items()})
    return data


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("c1__unit_amount", "$1,000.50", "1,000.50"),
        ("c1__unit_amount", " $ 0.85", "0.85"),
        ("c1__unit_amount", "€0.85", "€0.85"),
        ("c1__unit_amount", "5%", "5%"),
        ("c1__name", "$5", "$5"),
        ("c1__rate", "2.5 %", "2.5"),
        ("c1__tool_invocations__rate", "5%", "5%"),
        ("c1__bound__discount_percent", "10%", "10"),
        ("c2__o__unit_amount", "$2", "2"),
        ("discount__0__value", "10%", "10"),
        ("cur__EUR__c1__price/unit_amount", "€0.80", "0.80"),
        ("cur__EUR__c1__price/unit_amount", "$0.80", "$0.80"),
        ("level_amount", "$50", "50"),
    ],
)
def test_a_sign_goes_where_it_belongs_to_the_number(
    name: str, text: str, left: str
) -> None:
    data = form(**{name: text})
    assert unsigned(data, "USD")[name.replace("__", "-")] == left


def test_an_amount_off_is_no_percentage() -> None:
    data = form(discount__0__value="10%", discount__0__kind="amount")
    assert unsigned(data, "USD")["discount-0-value"] == "10%"
    assert {"markup_percent", "rate", "volume_discounts-percent"} <= PERCENTAGES


def test_another_currencys_sign_is_told_at_its_box() -> None:
    price = {"model": "flat", "amount": "€5", "due": "advance"}
    charges = [{"key": "fee", "name": "Fee", "price": price}]
    typed = read({"currency": "USD", "charges": charges})
    problem = check(typed, METRICS).problems["c1-amount"]
    assert problem.startswith("Amount “€5” is no number.")
