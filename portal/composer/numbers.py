"""Numbers as people type them, and what is wrong with them in words."""

from __future__ import annotations

import re
from decimal import Decimal

from aforo.lib.money import PLACES, SYMBOLS
from catalog.pricing import PlanError
from catalog.pricing.reading import decimal
from catalog.pricing.words import number_words

GROUPED_MAX = 40  # Digits: far beyond every quantity that is taken.
_GROUPED = re.compile(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", re.ASCII)
_COMMA = re.compile(r"[0-9]+,[0-9]+", re.ASCII)
_POWER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?[eE][+-]?[0-9]{1,2}", re.ASCII)
_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)


def clean(text: str) -> str:
    """Return a number without spaces and thousands commas, a power of ten written out.

    What is no number stays as it was typed.
    """
    short = re.sub(r"[\s_\u00a0\u202f']", "", text)
    if _GROUPED.fullmatch(short):
        short = short.replace(",", "")
    if short.startswith("."):
        short = f"0{short}"
    if _POWER.fullmatch(short):
        short = f"{Decimal(short):f}"
    return short if _PLAIN.fullmatch(short) else text.strip()


def without_sign(text: str, currency: str) -> str:
    """Return a number without its currency's sign in front; another's sign stays."""
    short = text.strip()
    rest = short.removeprefix(SYMBOLS.get(currency, currency)).strip()
    is_number = rest != short and _PLAIN.fullmatch(clean(rest))
    return rest if is_number else text


def without_percent(text: str) -> str:
    """Return a percentage without its sign."""
    return text.strip().removesuffix("%").strip()


def grouped(text: str) -> str:
    """Return a quantity with thousands apart, digits untouched; else the text."""
    whole, dot, fraction = text.partition(".")
    if not _PLAIN.fullmatch(text) or len(whole) > GROUPED_MAX:
        return text
    return f"{int(whole):,}{dot}{fraction}"


def read(
    text: str, label: str, *, below: Decimal, positive: bool = False, per: int = 1
) -> Decimal:
    """Return the number, or raise PlanError whose message is a whole sentence."""
    if not text.strip():
        raise PlanError("empty", "", f"{label} is blank. Type a number.")
    try:
        return decimal(clean(text), "", below=below, positive=positive, per=per)
    except PlanError as error:
        message = _words(error.code, text.strip(), label, below=below, per=per)
        raise PlanError(error.code, "", message) from None


def _words(code: str, text: str, label: str, *, below: Decimal, per: int) -> str:
    """Return what is wrong with a number, which one it is and how to put it right."""
    shown = text[:40]
    if code == "too_precise":
        places = len(clean(text).partition(".")[2].rstrip("0"))
        if per == 1:
            return f"{label} needs at most {PLACES} decimals; you entered {places}."
        most = PLACES - len(str(per)) + 1
        return (
            f"{label} per {per:,} needs at most {most} decimals, so that one unit has"
            f" {PLACES}; you entered {places}."
        )
    if code == "negative":
        return f"{label} must not be below zero; you entered {shown}."
    if code == "out_of_range":
        if text.strip("0.,"):
            return f"{label} must be below {number_words(below)}; you entered {shown}."
        return f"{label} must be above zero; you entered {shown}."
    if _COMMA.fullmatch(text):
        return f"{label} “{shown}” is unclear. Type {text.replace(',', '.')}."
    return f"{label} “{shown}” is no number. Type digits and a point, such as 0.0025."
