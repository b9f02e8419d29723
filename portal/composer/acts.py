"""What the buttons of the form do to its structure: add, remove, move, duplicate.

A button's value says it: `charge.add`, `c2.up`, `c2.tier.add`, `c2-o.tier.3.remove`.
Each returns the id of the box that takes the focus.
"""

from __future__ import annotations

import copy
import re

from aforo.lib.money import CURRENCIES
from catalog.pricing.metric_json import FILTER_KEYS_MAX
from catalog.pricing.parsing import CHARGES_MAX, TIERS_MAX
from portal.composer import levels, rows, term_texts
from portal.composer.models import MODELS
from portal.composer.typed import Charge, Price, Tier, Typed, keys_of

_ROW = re.compile(
    r"(?P<uid>c[0-9]{1,6})(?P<depth>(-o){0,3})\."
    r"(?P<part>tier|filter)\.((?P<index>[0-9]{1,3})\.remove|add)",
    re.ASCII,
)
_CELLS = re.compile(
    r"(?P<uid>c[0-9]{1,6})(?P<depth>(-o){0,2})\.rows\."
    r"(?P<param>[a-z_]+)\.((?P<index>[0-9]{1,4})\.remove|add)",
    re.ASCII,
)
_CURRENCY = re.compile(r"currency\.(?P<code>[A-Z]{3})\.(?P<deed>add|remove)", re.ASCII)
_CHARGE = re.compile(r"(?P<uid>c[0-9]{1,6})\.(?P<deed>[a-z]+)", re.ASCII)


def act(typed: Typed, deed: str) -> str:
    """Do what a button says; return the id of the box to focus, or an empty text."""
    if deed.startswith("show."):  # A box that decides which others there are.
        return deed.removeprefix("show.")
    if found := _CURRENCY.fullmatch(deed):
        if found["deed"] == "remove":
            typed.currencies.pop(found["code"], None)
        elif found["code"] != typed.currency and found["code"] in CURRENCIES:
            typed.currencies.setdefault(found["code"], {})
            typed.currencies = dict(sorted(typed.currencies.items()))
        return "currencies-summary"
    if deed == "charge.add":
        return _add(typed, Charge(typed.new_uid(), MODELS["per_unit"].start()))
    if deed == "quota.add":
        quotas = typed.limits.setdefault("quotas", [])
        quotas.append({"metric": "", "limit": "", "on_exceed": "deny"})
        return f"quota-{len(quotas) - 1}-metric"
    if (focus := levels.act(typed, deed)) is not None:
        return focus
    if (focus := term_texts.act(typed.terms, deed)) is not None:
        return focus
    if found := _ROW.fullmatch(deed):
        return _row(typed, found)
    if found := _CELLS.fullmatch(deed):
        return _cells(typed, found)
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
            for texts in typed.currencies.values():
                texts.pop(charge.uid, None)
            after = typed.charges[min(at, len(typed.charges) - 1) :][:1]
            return f"{after[0].uid}-summary" if after else "charge-add"
        case "level":
            return f"{charge.uid}-filter-{levels.ask_level(charge.filters)}-values"
        case "duplicate":
            twin = copy.deepcopy(charge)
            twin.uid, twin.key, twin.is_open = typed.new_uid(), "", True
            twin.name = f"{charge.name} copy".strip()
            # The first keeps its key, also when it was not written down yet.
            charge.key = keys_of(typed.charges)[charge.uid]
            for texts in typed.currencies.values():
                texts[twin.uid] = dict(texts.get(charge.uid, {}))
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
    price = _price(charge, found["depth"])
    if price is None or not price.tiers:
        return ""
    return _tier(price, at, f"{charge.uid}{found['depth']}")


def _price(charge: Charge, depth: str) -> Price | None:
    """Return the price of a charge, or one inside it."""
    price: Price | None = charge.price
    for _ in range(depth.count("-o")):
        price = price.inner if price else None
    return price


def _cells(typed: Typed, found: re.Match[str]) -> str:
    """Add a row to a table, before the one for the rest, or remove one."""
    charge = typed.charge(found["uid"])
    price = _price(charge, found["depth"]) if charge else None
    form = MODELS.get(price.model) if price else None
    tables = [p for p in form.params if p.kind == "rows"] if form else []
    param = next((p for p in tables if p.name == found["param"]), None)
    if price is None or param is None:
        return ""
    table = price.rows.get(param.name, [])
    own = [row for row in table if not rows.is_rest(param, row)]
    at = int(found["index"]) if found["index"] else None
    if at is not None and at < len(own):
        table.remove(own.pop(at))
    elif at is None and len(own) < param.rows_max:
        table.insert(len(own), rows.new_row(param))
        at = len(own)
    price.rows[param.name] = rows.settled(param, table)
    last = max(len(price.rows[param.name]) - 1 - bool(param.rest), 0)
    prefix = f"{found['uid']}{found['depth']}"
    at = last if at is None else min(at, last)
    return rows.cell_id(param, prefix, at, param.columns[0].name)


def _condition(charge: Charge, at: int | None) -> str:
    """Add a condition, or remove one."""
    conditions = charge.filters
    if at is None:
        if len(conditions) < FILTER_KEYS_MAX:
            conditions.append(("", ""))
        return f"{charge.uid}-filter-{len(conditions) - 1}-property"
    if at < len(conditions):
        conditions.pop(at)
    return f"{charge.uid}-filter-add"


def _tier(price: Price, at: int | None, prefix: str) -> str:
    """Add a tier above the last one, whose end can be typed then; or remove one."""
    tiers = price.tiers
    if at is None:
        if len(tiers) < TIERS_MAX:
            tiers.append(Tier())
        return f"{prefix}-tier-{max(len(tiers) - 2, 0)}-up_to"
    if at < len(tiers) and len(tiers) > 1:
        tiers.pop(at)
        tiers[-1].up_to = ""  # The last one is unbounded.
    return f"{prefix}-tier-{min(at, len(tiers) - 1)}-unit_amount"
