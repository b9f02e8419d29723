"""Money: exact decimals, twelve places kept, one rounding to the minor unit."""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

# Every figure of the books has at most 12 places; 50 digits hold any product of two.
CONTEXT = decimal.Context(
    prec=50,
    rounding=ROUND_HALF_EVEN,
    traps=[
        decimal.InvalidOperation,
        decimal.DivisionByZero,
        decimal.Overflow,
        decimal.FloatOperation,
    ],
)
PLACES = 12
QUANTUM = Decimal(1).scaleb(-PLACES)
_quantize = CONTEXT.quantize  # A bound method takes half of the time.
# numeric(38,12) leaves 26 digits before the point.
LIMIT = Decimal(10) ** 26
# Redis and Lua count in millionths, exact in a double below 2^53.
MICROS_MAX = 2**53
ZERO = Decimal(0)

# ISO 4217 minor units that are not two.
MINOR_UNITS = {
    **dict.fromkeys(
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF UYI".split(), 0
    ),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}
# The currencies that a tenant can choose: ISO 4217 codes in circulation.
CURRENCIES = frozenset(
    """AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL
    BSD BTN BWP BYN BZD CAD CDF CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD
    EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS
    INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD
    LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK
    NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK
    SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH
    UGX USD UYI UYU UYW UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG""".split()
)


def q12(value: Decimal) -> Decimal:
    """Return the value with twelve places, half-even."""
    return _quantize(value, QUANTUM)


def minor_units(currency: str) -> int:
    """Return how many places the currency's coins have."""
    return MINOR_UNITS.get(currency, 2)


def round_minor(value: Decimal, currency: str) -> Decimal:
    """Round to the currency's minor unit, half up: once, at the invoice line."""
    unit = Decimal(1).scaleb(-minor_units(currency))
    return value.quantize(unit, rounding=ROUND_HALF_UP, context=CONTEXT)


def micros_up(value: Decimal) -> int:
    """Return millionths, rounded up: what is spent or held is never understated."""
    return int((value * 1_000_000).to_integral_value(decimal.ROUND_CEILING))


def micros_down(value: Decimal) -> int:
    """Return millionths, rounded down: what is left is never overstated."""
    return int((value * 1_000_000).to_integral_value(decimal.ROUND_FLOOR))


def plain(value: Decimal) -> str:
    """Return the shortest exact text of a decimal: no exponent, no trailing zeros."""
    text = str(value)  # Three times as fast as format(), which exponents need.
    if text.isdigit():  # As most quantities are.
        return text
    if "E" in text:
        text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def figures_text(values: Iterable[Decimal]) -> str:
    """Return exact numbers as the books keep a list of them: apart by blanks."""
    return " ".join(map(plain, values))


def figures_of(text: str) -> list[Decimal]:
    """Return the numbers of a text that figures_text() made."""
    return [Decimal(number) for number in text.split()]


def display(value: Decimal, currency: str) -> str:
    """Return an amount as people read it, such as $1,020.00 or $0.0027.

    From one unit up: the currency's places. Below: up to four significant digits,
    and never a non-zero amount as zero ("<$0.000001").
    """
    symbol = SYMBOLS.get(currency, f"{currency} ")
    sign = "−" if value < 0 else ""
    size = abs(value)
    if size == 0 or size >= 1:
        return f"{sign}{symbol}{round_minor(size, currency):,f}"
    if size < Decimal("0.000001"):
        return f"{sign}<{symbol}0.000001"
    places = min(PLACES, 3 - size.adjusted())
    rounded = size.quantize(
        Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP, context=CONTEXT
    )
    text = plain(rounded)
    whole, _, fraction = text.partition(".")
    return f"{sign}{symbol}{whole}.{fraction.ljust(minor_units(currency) or 1, '0')}"
