"""Whose a figure of a draft is: finance owns the markup, product managers the rest.

Owners may change both. A service key may do what the person who made it may.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aforo.core.models import Membership, Role, User
from aforo.lib.errors import AforoError
from catalog.pricing.exact import read

MARKUP = "markup_percent"
FINANCE_OWNS = "Finance sets the markup."
PRODUCT_OWNS = "Product managers set everything but the markup."


@dataclass(frozen=True, slots=True)
class Said:
    """What a version of a plan says, as it is stored."""

    body: Mapping[str, Any]
    limits: Mapping[str, Any]
    prorate: bool


def role_in(tenant_id: uuid.UUID, person: User | None) -> str:
    """Return a person's role in a tenant; empty where nobody, or no member, acts."""
    if person is None:
        return ""
    found = Membership.objects.filter(tenant_id=tenant_id, user=person, is_active=True)
    return found.values_list("role", flat=True).first() or ""


def check_owned(
    role: str, *, old: Said | None, new: Said, published: Mapping[str, Any]
) -> None:
    """Refuse a change that is not the role's to make.

    `old` is the newest version, `published` the body of the newest published one: a
    recipe that was dropped comes back with its markup. Raises AforoError 403
    `finance_only` or `product_manager_only`, with the path as its field.
    """
    if role == Role.PRODUCT_MANAGER:
        _check_markups(old.body if old else {}, new.body, published)
    elif role == Role.FINANCE:
        path = _first_difference(old, new)
        if path is not None:
            raise AforoError(
                "product_manager_only",
                403,
                f"{PRODUCT_OWNS} Finance cannot change {path}: leave it as it was, or"
                " ask a product manager.",
                field=path,
            )


def _check_markups(
    old: Mapping[str, Any], new: Mapping[str, Any], published: Mapping[str, Any]
) -> None:
    """Refuse a recipe whose markup is not what it was."""
    before = {_key(row): row for row in charges_of(old)}
    sold = {_key(row): row for row in charges_of(published)}
    after = {_key(row) for row in charges_of(new)}
    in_order = list(charges_of(old))
    for index, row in enumerate(charges_of(new)):
        if not is_recipe(row):
            continue
        was = before.get(_key(row))
        if was is None and index < len(in_order):
            # A charge that got another key stays where it was.
            place = in_order[index]
            was = place if _key(place) not in after else None
        if was is None or not is_recipe(was):
            was = sold.get(_key(row))
        fixed = _markup(was) if was is not None and is_recipe(was) else ""
        given = _markup(row)
        if not _same(fixed, given):
            path = f"charges[{index}].price.{MARKUP}"
            raise AforoError(
                "finance_only",
                403,
                f"{FINANCE_OWNS} It is {fixed or '0'} % and you entered"
                f" {given[:40] or '0'} %: leave it, or ask finance to change it.",
                field=path,
            )


def charges_of(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the charges of a body that may be incomplete; odd ones as empty."""
    rows = body.get("charges")
    for row in rows if isinstance(rows, list | tuple) else ():
        yield row if isinstance(row, Mapping) else {}


def _key(row: Mapping[str, Any]) -> str | None:
    """Return a charge's key; None for what is none."""
    key = row.get("key")
    return key if isinstance(key, str) else None


def is_recipe(row: Mapping[str, Any]) -> bool:
    """Tell whether a charge is a recipe."""
    price = row.get("price")
    return isinstance(price, Mapping) and price.get("model") == "recipe"


def _markup(row: Mapping[str, Any]) -> str:
    """Return a recipe's markup as it was typed; empty without one."""
    value = row["price"].get(MARKUP)
    return "" if value is None else str(value).strip()


def _same(one: str, other: str) -> bool:
    """Tell whether two markups are the same figure; none is zero."""
    a, b = read(one or "0"), read(other or "0")
    return one == other if a is None or b is None else a == b


def without_markup(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body without the markups of its recipes."""
    return with_markups(body, {})


def with_markups(body: Mapping[str, Any], markups: Mapping[str, str]) -> dict[str, Any]:
    """Return a body whose recipes have these markups by their key, others none."""
    rows: Any = body.get("charges")
    if not isinstance(rows, list | tuple):
        return dict(body)
    made = []
    for row in rows:
        if isinstance(row, Mapping) and is_recipe(row):
            price = {k: v for k, v in row["price"].items() if k != MARKUP}
            text = markups.get(str(row.get("key")), "")
            row = {**row, "price": price | ({MARKUP: text} if text else {})}
        made.append(row)
    return {**body, "charges": made}


def _first_difference(old: Said | None, new: Said) -> str | None:
    """Return where two versions differ but for markups; None: nowhere."""
    if old is None:
        return "charges"
    pairs = (
        ("", without_markup(old.body), without_markup(new.body)),
        ("limits", dict(old.limits), dict(new.limits)),
        ("prorate", old.prorate, new.prorate),
    )
    for path, a, b in pairs:
        if a != b:
            return _where(a, b, path)
    return None


def _where(a: Any, b: Any, path: str) -> str:
    """Return the deepest path at which two different values differ first."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in [*a, *(name for name in b if name not in a)]:
            if a.get(name) != b.get(name):
                inner = f"{path}.{name}" if path else str(name)
                return _where(a.get(name), b.get(name), inner)
    if isinstance(a, list) and isinstance(b, list):
        for index, (one, other) in enumerate(zip(a, b, strict=False)):
            if one != other:
                return _where(one, other, f"{path}[{index}]")
        return f"{path}[{min(len(a), len(b))}]"
    return path
