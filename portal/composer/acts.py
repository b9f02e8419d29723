"""What the buttons of the form do to its structure: add, remove, move, duplicate.

A button's value says it: `charge.add`, `c2.up`, `c2.tier.add`, `c2-o.tier.3.remove`.
Each returns the id of the box that takes the focus.
"""

from __future__ import annotations

import copy
import re

from catalog.pricing.metric_json import FILTER_KEYS_MAX
from catalog.pricing.parsing import CHARGES_MAX, TIERS_MAX
from portal.composer import term_texts
from portal.composer.models import MODELS
from portal.composer.typed import Charge, Price, Tier, Typed, keys_of

_ROW = re.compile(
    r"(?P<uid>c[0-9]{1,6})(?P<depth>(-o){0,2})\."
    r"(?P<part>tier|filter)\.((?P<index>[0-9]{1,3})\.remove|add)",
    re.ASCII,
)
_CHARGE = re.compile(r"(?P<uid>c[0-9]{1,6})\.(?P<deed>[a-z]+)", re.ASCII)


def act(typed: Typed, deed: str) -> str:
    """Do what a button says; return the id of the box to focus, or an empty text."""
    if deed.startswith("show."):  # A box that decides which others there are.
        return deed.removeprefix("show.")
    if deed == "charge.add":
        return _add(typed, Charge(typed.new_uid(), MODELS["per_unit"].start()))
    if deed == "quota.add":
        quotas = typed.limits.setdefault("quotas", [])
        quotas.append({"metric": "", "limit": "", "on_exceed": "deny"})
        return f"quota-{len(quotas) - 1}-metric"
    if (focus := term_texts.act(typed.terms, deed)) is not None:
        return focus
    if found := _ROW.fullmatch(deed):
        return _row(typed, found)
    found = _CHARGE.fullmatch(deed)
    charge = typed.charge(found["uid"]) if found else None
    if found is None or charge is None:
        return ""
    return _charge(typed, charge, found["deed"])


def _add(typed: Typed, charge: Charge, at: int | None = None) -> str:
    """Put a charge at a place, or last."""
    if len(typed.charges) >= CHARGES_MAX:
        return ""
    typed.charges.insert(len(typed.charges) if at is None else at, charge)
    return f"{charge.uid}-name"


def _charge(typed: Typed, charge: Charge, deed: str) -> str:
    """Move, duplicate or remove a charge."""
    at = typed.charges.index(charge)
    match deed:
        case "up" | "down":
            to = at - 1 if deed == "up" else at + 1
            if 0 <= to < len(typed.charges):
                typed.charges.insert(to, typed.charges.pop(at))
            return f"{charge.uid}-{deed}"
        case "remove":
            key = keys_of(typed.charges)[charge.uid]
            term_texts.forget(typed.terms, charge.uid, key)
            typed.charges.pop(at)
            after = typed.charges[min(at, len(typed.charges) - 1) :][:1]
            return f"{after[0].uid}-summary" if after else "charge-add"
        case "duplicate":
            twin = copy.deepcopy(charge)
            twin.uid, twin.key, twin.is_open = typed.new_uid(), "", True
            twin.name = f"{charge.name} copy".strip()
            # The first keeps its key, also when it was not written down yet.
            charge.key = keys_of(typed.charges)[charge.uid]
            return _add(typed, twin, at + 1)
        case _:
            return ""


def _row(typed: Typed, found: re.Match[str]) -> str:
    """Add or remove a row of tiers or conditions."""
    charge = typed.charge(found["uid"])
    if charge is None:
        return ""
    at = int(found["index"]) if found["index"] else None
    if found["part"] == "filter":
        return _condition(charge, at)
    price: Price | None = charge.price
    for _ in range(found["depth"].count("-o")):
        price = price.inner if price else None
    if price is None or not price.tiers:
        return ""
    return _tier(price, at, f"{charge.uid}{found['depth']}")


def _condition(charge: Charge, at: int | None) -> str:
    """Add a condition, or remove one."""
    rows = charge.filters
    if at is None:
        if len(rows) < FILTER_KEYS_MAX:
            rows.append(("", ""))
        return f"{charge.uid}-filter-{len(rows) - 1}-property"
    if at < len(rows):
        rows.pop(at)
    return f"{charge.uid}-filter-add"


def _tier(price: Price, at: int | None, prefix: str) -> str:
    """Add a tier above the last one, whose end can be typed then; or remove one."""
    rows = price.tiers
    if at is None:
        if len(rows) < TIERS_MAX:
            rows.append(Tier())
        return f"{prefix}-tier-{max(len(rows) - 2, 0)}-up_to"
    if at < len(rows) and len(rows) > 1:
        rows.pop(at)
        rows[-1].up_to = ""  # The last one is unbounded.
    return f"{prefix}-tier-{min(at, len(rows) - 1)}-unit_amount"
