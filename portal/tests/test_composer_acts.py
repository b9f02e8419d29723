"""The composer's buttons: what they do to the form; keys and numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from portal.composer.acts import act
from portal.composer.bodies import to_body
from portal.composer.numbers import clean, grouped
from portal.composer.typed import Typed
from portal.tests.composer_kit import EACH, PRICES, TIERS, body_of, posted, read

TIERED = {"model": "graduated", "tiers": TIERS}


def test_another_model_keeps_what_fits() -> None:
    def chosen(price: dict[str, Any], model: str, box: str = "c1-model") -> Any:
        typed = posted(read(body_of(price)), **{box: model})
        return to_body(typed)["charges"][0]["price"]

    tiered = chosen(EACH, "graduated")
    assert tiered["tiers"] == [{"up_to": None, "unit_amount": "3.00"}]
    assert tiered["per"] == 1000000
    assert chosen({"model": "graduated", "tiers": TIERS}, "volume")["tiers"] == TIERS
    assert chosen(EACH, "included")["overage"] == EACH
    package = chosen(EACH, "package")
    assert package == {"model": "package", "size": "", "amount": "3.00"}
    inner = chosen(PRICES[6], "volume", "c1-overage")["overage"]
    assert inner["tiers"] == [{"up_to": None, "unit_amount": "3.00"}]


def names(typed: Typed) -> list[str]:
    """Return the names of the charges in order."""
    return [charge.name for charge in typed.charges]


def test_charges_are_added_moved_duplicated_and_removed() -> None:
    typed = read(body_of(EACH, TIERED))
    assert act(typed, "charge.add") == "c3-name"
    assert act(typed, "c2.up") == "c2-up"
    assert names(typed) == ["Charge 1", "Charge 0", ""]
    act(typed, "c2.up")
    act(typed, "c3.down")
    assert names(typed) == ["Charge 1", "Charge 0", ""]
    assert act(typed, "c2.duplicate") == "c4-name"
    assert names(typed)[1] == "Charge 1 copy"
    assert typed.charges[1].key == ""
    assert act(typed, "c4.remove") == "c1-summary"
    for uid in ("c1", "c2"):
        act(typed, f"{uid}.remove")
    assert act(typed, "c3.remove") == "charge-add"
    assert typed.charges == []


def test_tiers_are_added_and_removed_and_the_last_has_no_end() -> None:
    typed = read(body_of(TIERED))
    assert act(typed, "c1.tier.add") == "c1-tier-2-up_to"
    assert len(typed.charges[0].price.tiers) == 4
    act(typed, "c1.tier.3.remove")
    assert act(typed, "c1.tier.2.remove") == "c1-tier-1-unit_amount"
    tiers = to_body(typed)["charges"][0]["price"]["tiers"]
    assert [tier["up_to"] for tier in tiers] == ["1000", None]
    for _ in range(3):
        act(typed, "c1.tier.0.remove")
    assert len(typed.charges[0].price.tiers) == 1


def test_tiers_of_an_inner_price_are_added() -> None:
    typed = read(body_of(PRICES[8]))
    assert act(typed, "c1-o-o.tier.add") == "c1-o-o-tier-2-up_to"


def test_conditions_are_added_and_removed() -> None:
    typed = read(body_of(EACH))
    assert act(typed, "c1.filter.add") == "c1-filter-0-property"
    assert act(typed, "c1.filter.0.remove") == "c1-filter-add"
    assert typed.charges[0].filters == []


@pytest.mark.parametrize(
    "deed",
    [
        "",
        "x",
        "c9.up",
        "c1.explode",
        "c1.tier.99.remove",
        "c1.tier.-1.remove",
        "c1-o.tier.add",
        "c1.filter.9.remove",
    ],
)
def test_a_button_that_is_not_there_does_nothing(deed) -> None:
    typed = read(body_of(EACH))
    act(typed, deed)
    assert to_body(typed) == body_of(EACH)


def test_a_key_is_made_of_the_name_and_stays_single() -> None:
    charges = [
        {"name": name, "price": EACH} for name in ("Tool calls", "Tool calls", "42", "")
    ]
    made = to_body(read({"currency": "USD", "charges": charges}))["charges"]
    assert [row["key"] for row in made] == [
        "tool-calls", "tool-calls-2", "charge-42", "charge",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,000.50", "1000.50"),
        ("$0.0100", "$0.0100"),
        (" 1 000 ", "1000"),
        (".5", "0.5"),
        ("0.0000025", "0.0000025"),
        ("1,00", "1,00"),
        ("abc", "abc"),
        ("1_000", "1000"),
    ],
)
def test_numbers_are_read_as_people_write_them(text, expected) -> None:
    assert clean(text) == expected


def test_quantities_are_grouped_and_nothing_else_is_changed() -> None:
    assert grouped("1000000.50") == "1,000,000.50"
    assert grouped("abc") == "abc"
    assert Decimal(clean(grouped("1234567"))) == 1234567
