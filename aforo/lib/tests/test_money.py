"""Money: exact, rounded once, read by people."""

from __future__ import annotations

import decimal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aforo.lib import money

amounts = st.decimals(
    min_value=Decimal("-9e9"), max_value=Decimal("9e9"), places=12, allow_nan=False
)


@pytest.mark.parametrize(
    ("value", "currency", "expected"),
    [
        ("2.345", "USD", "2.35"),
        ("2.344999999999", "USD", "2.34"),
        ("-2.345", "USD", "-2.35"),
        ("10.5", "JPY", "11"),
        ("1.2345", "KWD", "1.235"),
        ("1.00005", "CLF", "1.0001"),
    ],
)
def test_rounding_is_half_up_to_the_minor_unit(
    value: str, currency: str, expected: str
) -> None:
    assert money.round_minor(Decimal(value), currency) == Decimal(expected)


@pytest.mark.parametrize(
    ("value", "currency", "expected"),
    [
        ("1020", "USD", "$1,020.00"),
        ("0", "USD", "$0.00"),
        ("0.0027", "USD", "$0.0027"),
        ("0.1027", "USD", "$0.1027"),
        ("0.5", "USD", "$0.50"),
        ("0.99999", "USD", "$1.00"),
        ("0.0000025", "USD", "$0.0000025"),
        ("0.0000009", "USD", "<$0.000001"),
        ("-3.5", "USD", "−$3.50"),
        ("1234567", "JPY", "¥1,234,567"),
        ("12.5", "CHF", "CHF 12.50"),
    ],
)
def test_amounts_read_as_people_expect(
    value: str, currency: str, expected: str
) -> None:
    assert money.display(Decimal(value), currency) == expected


@given(amounts)
def test_no_amount_but_zero_reads_as_zero(value: Decimal) -> None:
    zero = money.display(Decimal(0), "USD")
    assert (money.display(value, "USD") == zero) == (value == 0)


@given(amounts)
def test_what_is_spent_rounds_up_and_what_is_left_rounds_down(value: Decimal) -> None:
    up, down = money.micros_up(value), money.micros_down(value)
    assert Decimal(down) <= value * 1_000_000 <= Decimal(up)
    assert up - down in (0, 1)


@given(amounts)
def test_plain_text_is_exact_and_shortest(value: Decimal) -> None:
    text = money.plain(value)
    assert Decimal(text) == value
    assert "E" not in text
    assert not ("." in text and text.endswith("0"))


def test_a_float_never_becomes_money() -> None:
    with decimal.localcontext(money.CONTEXT), pytest.raises(decimal.FloatOperation):
        Decimal(0.1)  # noqa: RUF032 - the float is the point


@given(amounts)
def test_the_rounding_residual_is_at_most_half_a_minor_unit(value: Decimal) -> None:
    residual = money.round_minor(value, "USD") - value
    assert abs(residual) <= Decimal("0.005")
