"""The boxes of what holds for a plan as a whole, and what is wrong with them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from catalog.pricing import PlanError
from catalog.pricing.exact import PRICE_LIMIT, RATE_LIMIT
from catalog.pricing.term_json import parse_terms
from portal.composer.boxes import Box
from portal.composer.numbers import read
from portal.composer.term_texts import Discount, discount_json, to_json
from portal.composer.typed import Typed, keys_of

BOUNDS = (("minimum", "Minimum spend"), ("maximum", "Maximum spend"))
_PATH = re.compile(r"discounts\[(?P<at>[0-9]+)\](\.(?P<column>[a-z]+).*)?")
# Where a member of plan JSON is typed.
_BOXES = {"percent": "value", "amount": "value", "": "value"}
# A box that is wrong, why, and what it is part of.
Problem = tuple[str, str, str]


class Tick(NamedTuple):
    """One charge that a discount can be taken off."""

    id: str
    value: str
    label: str
    is_ticked: bool


@dataclass(frozen=True, slots=True)
class ShownDiscount:
    """One row of the discounts."""

    at: int
    title: str
    boxes: list[Box]
    ticks: list[Tick]
    problem: str  # With the charges.
    remove: str  # The button's value.


@dataclass(frozen=True, slots=True)
class ShownTerms:
    """The sections below the charges."""

    bounds: list[Box]
    discounts: list[ShownDiscount]


def shown(typed: Typed, problems: Mapping[str, str]) -> ShownTerms:
    """Return the boxes of the whole plan with their problems."""
    values = (typed.terms.minimum, typed.terms.maximum)
    bounds = [
        Box(
            f"plan-{name}",
            f"plan-{name}",
            f"{label} per period in {typed.currency}",
            value,
            problems.get(f"plan-{name}", ""),
            is_optional=True,
            is_number=True,
        )
        for (name, label), value in zip(BOUNDS, values, strict=True)
    ]
    rows = enumerate(typed.terms.discounts)
    return ShownTerms(bounds, [_discount(typed, problems, at, row) for at, row in rows])


def _discount(
    typed: Typed, problems: Mapping[str, str], at: int, row: Discount
) -> ShownDiscount:
    """Return one discount."""
    prefix = f"discount-{at}"
    kinds = (("percent", "percent"), ("amount", f"{typed.currency} per period"))

    def box(name: str, label: str, value: str, **more: Any) -> Box:
        own = f"{prefix}-{name}"
        return Box(own, own, label, value, problems.get(own, ""), **more)

    def day(name: str, label: str, value: str, hint: str) -> Box:
        more = {"is_optional": True, "is_date": not value or _is_day(value)}
        return box(name, label, value, hint=hint, **more)

    boxes = [
        box("name", "Name", row.name, hint="As the invoice says it."),
        box("value", "Discount", row.value, is_number=True),
        box("kind", "In", row.kind, choices=kinds),
        day("from", "From", row.starts_on, "Periods that start on this day or later."),
        day("until", "Until", row.ends_on, "Periods that start before this day."),
    ]
    return ShownDiscount(
        at,
        row.name.strip() or f"Discount {at + 1}",
        boxes,
        _ticks(typed, row, prefix),
        problems.get(f"{prefix}-charges", ""),
        f"discount.{at}.remove",
    )


def _ticks(typed: Typed, row: Discount, prefix: str) -> list[Tick]:
    """Return all charges to choose from, those too that are not there any more."""
    names = {
        charge.uid: charge.name.strip() or f"Charge {number}"
        for number, charge in enumerate(typed.charges, start=1)
    }
    gone = {key: f"{key} (not there)" for key in row.charges if key not in names}
    return [
        Tick(
            f"{prefix}-charges" if not n else f"{prefix}-charges-{n}",
            value,
            label,
            value in row.charges,
        )
        for n, (value, label) in enumerate({**names, **gone}.items())
    ]


def _is_day(text: str) -> bool:
    """Tell whether a browser's date box can show a text."""
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def term_problems(typed: Typed) -> Iterator[Problem]:
    """Find what is wrong with the boxes of the whole plan."""
    keys = keys_of(typed.charges)
    known = list(keys.values())
    texts = (typed.terms.minimum, typed.terms.maximum)
    found = []
    for (name, label), text in zip(BOUNDS, texts, strict=True):
        if text.strip():
            box = f"plan-{name}"
            found += _number(box, text, label, below=PRICE_LIMIT, positive=False)
    yield from ((box, message, "") for box, message in found)
    if not found:
        body = to_json(typed.terms, keys)
        yield from _refused({n: body[n] for n, _ in BOUNDS if n in body}, known, 0, "")
    for at, row in enumerate(typed.terms.discounts):
        yield from _discount_problems(row, at, keys, known)


def _discount_problems(
    row: Discount, at: int, keys: Mapping[str, str], known: Sequence[str]
) -> Iterator[Problem]:
    """Find what is wrong with one discount."""
    label = row.name.strip() or f"Discount {at + 1}"
    found = []
    if not row.name.strip():
        message = "Name is blank. Type what the invoice shall say."
        found.append((f"discount-{at}-name", message))
    below = RATE_LIMIT if row.kind == "percent" else PRICE_LIMIT
    value = f"discount-{at}-value"
    found += _number(value, row.value, "Discount", below=below, positive=True)
    yield from ((box, message, label) for box, message in found)
    if not found:
        body = {"discounts": [discount_json(row, keys)]}
        yield from _refused(body, known, at, label)


def _number(
    box: str, text: str, label: str, *, below: Decimal, positive: bool
) -> list[tuple[str, str]]:
    """Return why a number cannot be read, if it cannot."""
    try:
        read(text, label, below=below, positive=positive)
    except PlanError as error:
        return [(box, error.message)]
    return []


def _refused(
    body: Mapping[str, Any], known: Sequence[str], at: int, label: str
) -> Iterator[Problem]:
    """Yield what the engine refuses of a part of the terms; `at` is its row."""
    try:
        parse_terms(body, known)
    except PlanError as error:
        yield term_box(error.path, at), sentence(error.message), label


def term_box(path: str, first: int = 0) -> str:
    """Return the id of the box that a path of the terms is typed into."""
    found = _PATH.match(path)
    if found is None:
        return f"plan-{path}" if path in dict(BOUNDS) else "currency"
    column = found["column"] or ""
    at = int(found["at"]) + first
    return f"discount-{at}-{_BOXES.get(column, column)}"


def sentence(message: str) -> str:
    """Return the engine's words as a sentence."""
    return f"{message[:1].upper()}{message[1:]}{'' if message.endswith('.') else '.'}"
