"""Whose box it is: finance types the markups, product managers everything else.

A browser does not send boxes that are disabled: what they said is filled in from what
is stored. What somebody sends nevertheless is kept as it was sent, so that
`catalog.ownership` refuses it by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from django.http import QueryDict

from aforo.core.models import Role
from catalog.models import PlanVersion
from catalog.ownership import (
    FINANCE_OWNS,
    MARKUP,
    PRODUCT_OWNS,
    charges_of,
    is_recipe,
    with_markups,
)
from portal.composer.bodies import from_body, to_body
from portal.composer.numbers import clean
from portal.composer.typed import Typed, keys_of

# Why a box is not the reader's to change.
REASONS: dict[str, str] = {
    Role.PRODUCT_MANAGER: FINANCE_OWNS,
    Role.FINANCE: PRODUCT_OWNS,
}
# What a form sends that says something of a plan; the simulator's boxes do not.
_SAYS = re.compile(
    r"c[0-9]+-(?!(open|of|markup_percent|(o-)*was)$).*|currency|prorate|spend_cap"
    r"|requests_per_minute|tokens_per_minute|quota_.*|cur-.*|further|level_.*"
    r"|plan-(minimum|maximum)|discount(-.*)?",
    re.ASCII,
)


def _stored_markups(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the markups of a stored body by charge."""
    found = {}
    for row in charges_of(body):
        if is_recipe(row) and row["price"].get(MARKUP) is not None:
            found[str(row.get("key"))] = str(row["price"][MARKUP])
    return found


def keep_markups(
    typed: Typed, names: Collection[str], *bodies: Mapping[str, Any] | None
) -> None:
    """Give recipes whose markup was not sent the one of the first body that has it."""
    known: dict[str, str] = {}
    for body in reversed([b for b in bodies if b]):
        known |= _stored_markups(body)
    keys = keys_of(typed.charges)
    for charge in typed.charges:
        if f"{charge.uid}-{MARKUP}" in names or charge.price.model != "recipe":
            continue
        charge.price.values[MARKUP] = known.get(keys[charge.uid], "")


def is_only_markups(data: QueryDict) -> bool:
    """Tell whether a form holds nothing but what finance may type."""
    return not any(_SAYS.fullmatch(name) for name in data)


def marked_body(data: QueryDict, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored body with the markups of a form; the rest as it is."""
    markups = _stored_markups(stored)
    for uid in data.getlist("row"):
        name = f"{uid}-{MARKUP}"
        if name in data:
            markups[data.get(f"{uid}-of", "")] = clean(str(data[name]))
    return with_markups(stored, markups)


def marked_form(data: QueryDict, newest: PlanVersion) -> Typed:
    """Return the stored version with the markups of a form, as the form has it."""
    body = marked_body(data, newest.body)
    typed = from_body(body, limits=newest.limits, prorate=newest.prorate)
    for charge in typed.charges:
        charge.is_open = bool(data.get(f"{charge.uid}-open"))
    return typed


def body_to_save(typed: Typed, newest: PlanVersion | None) -> dict[str, Any]:
    """Return what finance saves: the stored body to the letter, with other markups.

    A form that says more than that is returned as it is, to be refused.
    """
    body = to_body(typed)
    if newest is None:
        return body
    stored = from_body(newest.body, limits=newest.limits, prorate=newest.prorate)
    if with_markups(to_body(stored), {}) != with_markups(body, {}):
        return body
    return with_markups(newest.body, _stored_markups(body))


def has_recipe(body: Mapping[str, Any]) -> bool:
    """Tell whether a stored body has a markup to set."""
    return any(is_recipe(row) for row in charges_of(body))
