"""What holds for a plan as a whole, as typed: texts, whether or not they make sense."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from catalog.pricing.term_json import DISCOUNTS_MAX
from portal.composer.numbers import clean

KINDS = ("percent", "amount")
_REMOVE = re.compile(r"discount\.([0-9]{1,2})\.remove", re.ASCII)


@dataclass(slots=True)
class Discount:
    """One row of the discounts."""

    name: str = ""
    kind: str = "percent"  # What the value is.
    value: str = ""
    # Rows of the form; what is none of them is the key of a charge that is not there.
    charges: list[str] = field(default_factory=list)
    starts_on: str = ""
    ends_on: str = ""


@dataclass(slots=True)
class Terms:
    """Minimum and maximum spend and the discounts."""

    minimum: str = ""
    maximum: str = ""
    discounts: list[Discount] = field(default_factory=list)


def from_body(body: Mapping[str, Any], uids: Mapping[str, str]) -> Terms:
    """Return the terms of plan JSON; `uids` are the rows of the charges by key."""
    rows = body.get("discounts")
    return Terms(
        _text(body.get("minimum")),
        _text(body.get("maximum")),
        [
            _discount(row, uids)
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, Mapping)
        ],
    )


def _discount(row: Mapping[str, Any], uids: Mapping[str, str]) -> Discount:
    """Return one discount as texts."""
    kind = "amount" if row.get("amount") is not None else "percent"
    keys = row.get("charges")
    named = [str(key) for key in (keys if isinstance(keys, list) else [])]
    return Discount(
        _text(row.get("name")),
        kind,
        _text(row.get(kind)),
        [uids.get(key, key) for key in named],
        _text(row.get("from")),
        _text(row.get("until")),
    )


def _text(value: Any) -> str:
    """Return what stands in a text box for a value of plan JSON."""
    return "" if value is None else str(value)


def to_json(terms: Terms, keys: Mapping[str, str]) -> dict[str, Any]:
    """Return members of plan JSON, complete or not; `keys` are those of the rows."""
    body: dict[str, Any] = {}
    for name, typed in (("minimum", terms.minimum), ("maximum", terms.maximum)):
        if text := clean(typed):
            body[name] = text
    if terms.discounts:
        body["discounts"] = [discount_json(row, keys) for row in terms.discounts]
    return body


def discount_json(discount: Discount, keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the plan JSON of one discount."""
    row: dict[str, Any] = {"name": discount.name.strip()}
    row[discount.kind] = clean(discount.value)
    if discount.charges:
        row["charges"] = [keys.get(uid, uid) for uid in discount.charges]
    for name, day in (("from", discount.starts_on), ("until", discount.ends_on)):
        if day.strip():
            row[name] = day.strip()
    return row


def from_post(data: QueryDict) -> Terms:
    """Return the posted terms."""
    rows = [at for at in data.getlist("discount") if at.isascii() and at.isdecimal()]
    return Terms(
        data.get("plan-minimum", ""),
        data.get("plan-maximum", ""),
        [_posted(data, f"discount-{at}") for at in dict.fromkeys(rows)][:DISCOUNTS_MAX],
    )


def _posted(data: QueryDict, prefix: str) -> Discount:
    """Return one posted row."""
    kind = data.get(f"{prefix}-kind", "")
    return Discount(
        data.get(f"{prefix}-name", ""),
        kind if kind in KINDS else KINDS[0],
        data.get(f"{prefix}-value", ""),
        [text for text in dict.fromkeys(data.getlist(f"{prefix}-charges")) if text],
        data.get(f"{prefix}-from", ""),
        data.get(f"{prefix}-until", ""),
    )


def act(terms: Terms, deed: str) -> str | None:
    """Add or remove a discount; return the id to focus, None for another deed."""
    if deed == "discount.add":
        if len(terms.discounts) < DISCOUNTS_MAX:
            terms.discounts.append(Discount())
        return f"discount-{len(terms.discounts) - 1}-name"
    found = _REMOVE.fullmatch(deed)
    if found is None:
        return None
    if int(found[1]) < len(terms.discounts):
        terms.discounts.pop(int(found[1]))
    return "discount-add"


def forget(terms: Terms, uid: str, key: str) -> None:
    """Name a charge that is removed by its key, so that no discount becomes one of all.

    That is a problem then, and the discount says which charge is gone.
    """
    for discount in terms.discounts:
        discount.charges = [key if row == uid else row for row in discount.charges]
