"""Minimum and maximum spend and discounts of a plan: from plan JSON, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from aforo.lib.money import plain
from catalog.pricing.exact import HUNDRED, PRICE_LIMIT, RATE_LIMIT, places
from catalog.pricing.plan import Discount, Plan
from catalog.pricing.reading import PlanError, array, decimal, members, text
from catalog.pricing.terms import discount_key

DISCOUNTS_MAX = 50
NAME_MAX = 60
SHOWN_MAX = 5  # Keys that a refusal offers.
# A percentage multiplies whole amounts: more places would not be exact.
PERCENT_PLACES = 4
# The members of plan JSON that this module reads.
MEMBERS = ("minimum", "maximum", "discounts")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class Terms(NamedTuple):
    """What holds for a plan as a whole."""

    minimum: Decimal | None
    maximum: Decimal | None
    discounts: tuple[Discount, ...]


def parse_terms(plan: Mapping[str, Any], charges: Sequence[str]) -> Terms:
    """Return what plan JSON says of the plan as a whole; `charges` are its keys."""

    def amount(name: str) -> Decimal | None:
        if plan.get(name) is None:
            return None
        return decimal(plan[name], name, below=PRICE_LIMIT)

    minimum, maximum = amount("minimum"), amount("maximum")
    if minimum is not None and maximum is not None and minimum > maximum:
        message = f"{plain(maximum)} is below the minimum of {plain(minimum)}"
        raise PlanError("out_of_range", "maximum", message)
    rows = plan.get("discounts")
    rows = () if rows is None else array(rows, "discounts", longest=DISCOUNTS_MAX)
    discounts: dict[str, Discount] = {}
    for index, row in enumerate(rows):
        path = f"discounts[{index}]"
        discount = _discount(row, path, charges)
        known = discounts.setdefault(discount_key(discount.name), discount)
        if known is not discount:
            message = f"another discount is called {known.name}: give it another name"
            raise PlanError("duplicate_discount", f"{path}.name", message)
    return Terms(minimum, maximum, tuple(discounts.values()))


def _discount(data: object, path: str, charges: Sequence[str]) -> Discount:
    """Return one discount."""
    row = members(
        data, path, required="name", optional="percent amount charges from until"
    )
    percent, amount = row.get("percent"), row.get("amount")
    if (percent is None) == (amount is None):
        message = "name either percent or amount"
        raise PlanError("unsupported", path, message)
    name = text(row["name"], f"{path}.name", longest=NAME_MAX)
    return Discount(
        name=name,
        percent=None if percent is None else _percent(percent, f"{path}.percent"),
        amount=None
        if amount is None
        else decimal(amount, f"{path}.amount", below=PRICE_LIMIT, positive=True),
        charges=_charges(row.get("charges"), f"{path}.charges", charges),
        **_days(row, path),
    )


def _percent(value: object, path: str) -> Decimal:
    """Return a percentage above zero and up to 100."""
    percent = decimal(value, path, below=RATE_LIMIT, positive=True)
    if percent > HUNDRED:
        message = f"{plain(percent)} is more than all of it: at most 100"
        raise PlanError("out_of_range", path, message)
    if places(percent, per=1) > PERCENT_PLACES:
        message = f"more than {PERCENT_PLACES} decimal places"
        raise PlanError("too_precise", path, message)
    return percent


def _charges(data: object, path: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of the charges that a discount is taken off."""
    if data is None:
        return ()
    rows = array(data, path, longest=max(len(known), 1))
    if not rows:
        raise PlanError("empty", path, "leave it out for all charges")
    keys: list[str] = []
    for index, row in enumerate(rows):
        here = f"{path}[{index}]"
        key = text(row, here, longest=64)
        if key not in known:
            there = ", ".join([*known][:SHOWN_MAX])
            more = ", …" if len(known) > SHOWN_MAX else ""
            message = f"there is no charge {key}; the plan has {there or 'none'}{more}"
            raise PlanError("unknown_charge", here, message)
        if key in keys:
            raise PlanError("duplicate_charge", here, f"{key} is named twice")
        keys.append(key)
    return tuple(keys)


def _days(row: Mapping[str, Any], path: str) -> dict[str, date | None]:
    """Return from when a discount holds, and until when it does not any more."""
    start, end = (_date(row.get(n), f"{path}.{n}") for n in ("from", "until"))
    if start is not None and end is not None and start >= end:
        message = f"{end} is not after {start}, when it begins"
        raise PlanError("out_of_range", f"{path}.until", message)
    return {"starts_on": start, "ends_on": end}


def _date(value: object, path: str) -> date | None:
    """Return a day of the calendar, if there is one."""
    if value is None:
        return None
    typed = text(value, path, longest=40)
    try:
        if not _DATE.fullmatch(typed):
            raise ValueError
        return date.fromisoformat(typed)
    except ValueError:
        message = f"“{typed}” is no date: write year-month-day, such as 2026-11-01"
        raise PlanError("invalid_date", path, message) from None


def terms_to_json(plan: Plan) -> dict[str, Any]:
    """Return the members of plan JSON that hold for the plan as a whole."""
    row: dict[str, Any] = {}
    for name, value in (("minimum", plan.minimum), ("maximum", plan.maximum)):
        if value is not None:
            row[name] = plain(value)
    if plan.discounts:
        row["discounts"] = [_to_json(discount) for discount in plan.discounts]
    return row


def _to_json(discount: Discount) -> dict[str, Any]:
    """Return one discount."""
    row: dict[str, Any] = {"name": discount.name}
    for name, value in (("percent", discount.percent), ("amount", discount.amount)):
        if value is not None:
            row[name] = plain(value)
    if discount.charges:
        row["charges"] = list(discount.charges)
    for name, day in (("from", discount.starts_on), ("until", discount.ends_on)):
        if day is not None:
            row[name] = day.isoformat()
    return row
