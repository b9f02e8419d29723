"""Exact arithmetic: which numbers fit, and the one place where a price is rounded."""

from __future__ import annotations

import decimal
import re
from decimal import ROUND_HALF_EVEN, Decimal

from aforo.lib.money import QUANTUM

ZERO = Decimal(0)
ONE = Decimal(1)
HUNDRED = Decimal(100)

# A quantity (and the sum of them) stays below 10^16, a unit price below 10^9, both
# with 12 places: 28 and 21 digits, so that every product fits into 50 digits and
# every amount into 26 digits before the point. Nothing below them can lose a digit.
QUANTITY_LIMIT = Decimal(10) ** 16
PRICE_LIMIT = Decimal(10) ** 9
RATE_LIMIT = Decimal(10) ** 6

# The context of all pricing: whatever would lose a digit raises instead.
EXACT = decimal.Context(
    prec=50,
    rounding=ROUND_HALF_EVEN,
    traps=[
        decimal.InvalidOperation,
        decimal.DivisionByZero,
        decimal.Overflow,
        decimal.Inexact,
        decimal.FloatOperation,
    ],
)
# Rounding to 12 places: an amount of more than 26 digits before the point raises.
_AMOUNT = decimal.Context(
    prec=38,
    rounding=ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.FloatOperation],
)
# 28 digits at 12 places: raises Inexact beyond 12 places, InvalidOperation from 10^16.
_QUANTITY = decimal.Context(
    prec=28,
    traps=[decimal.InvalidOperation, decimal.Inexact, decimal.FloatOperation],
)
# A quotient is cut at 80 digits with a sticky last one, so that q12 alone rounds it.
_DIVISION = decimal.Context(
    prec=80,
    rounding=decimal.ROUND_05UP,
    traps=[
        decimal.InvalidOperation,
        decimal.DivisionByZero,
        decimal.FloatOperation,
    ],
)
# Holds every number that `read` takes.
_WIDE = decimal.Context(prec=100, traps=[decimal.Inexact])
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)

# The two as bound methods, called with QUANTUM where a function call would show.
round_amount = _AMOUNT.quantize
fit_quantity = _QUANTITY.quantize


def q12(value: Decimal) -> Decimal:
    """Return the amount with twelve places, half-even."""
    return round_amount(value, QUANTUM)


def check_quantity(value: Decimal) -> None:
    """Raise decimal.Inexact beyond 12 places, InvalidOperation from 10^16 or NaN."""
    fit_quantity(value, QUANTUM)


def divide(value: Decimal, by: Decimal) -> Decimal:
    """Return the quotient with twelve places, half-even: the only inexact operation."""
    return q12(_DIVISION.divide(value, by))


def started(quantity: Decimal, size: Decimal) -> Decimal:
    """Return how many packages of a size a quantity starts."""
    whole, rest = divmod(quantity, size)
    return whole + ONE if rest else whole


def places(value: Decimal, *, per: int) -> int:
    """Return how many decimal places one of `per` (a power of ten) really has."""
    if not value:
        return 0
    one = _WIDE.divide(value, Decimal(per)).normalize(_WIDE)
    exponent = one.as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def read(text: str) -> Decimal | None:
    """Return the number that a plain decimal text means, or None."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None
