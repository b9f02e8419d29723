"""Further currencies in the composer: every figure of money, one box a currency.

Only figures are typed again: where tiers end, what is included and what is counted are
the plan's in every currency. A price that differs in more than figures is kept as JSON.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from catalog.pricing.exact import PRICE_LIMIT
from catalog.pricing.reading import PlanError
from portal.composer.boxes import Box
from portal.composer.numbers import clean, read
from portal.composer.typed import Charge, Typed, keys_of

# Under which a price is kept that has another shape than the plan's own.
AS_JSON = "json"
SECTION = "currencies-summary"
_BOUNDS = {"minimum": "Minimum per period", "maximum": "Maximum per period"}
# Members of a price that are one figure of money, and what they are called.
_FIGURES = {
    "unit_amount": "Price",
    "amount": "Amount",
    "fixed_amount": "Fixed fee per event",
    "minimum": "Minimum per event",
    "maximum": "Maximum per event",
    "free_amount": "Free amount",
    "base_session_fee": "Fee of a session",
    "committed_price": "Price of the commitment",
}
_RATES = {"tool_invocations": "Call of", "token_multipliers": "One of"}
_LEVELS = {"duration_buckets": "Duration", "volume_tiers": "Volume tier"}

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of money of a charge."""

    path: Path  # In the charge's JSON.
    label: str
    text: str  # In the plan's own currency.
    per: int = 1

    @property
    def name(self) -> str:
        """What stands for the path in the name of a box."""
        return "/".join(quote(str(part), safe="*") for part in self.path)

    @property
    def is_bound(self) -> bool:
        """Whether it may be left blank: no bound in that currency."""
        return self.path[0] in _BOUNDS


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One row of the table: a figure in the plan's currency and the others."""

    charge: str
    label: str
    own: str
    boxes: tuple[Box | None, ...]  # None where the price is kept as JSON.


def figures(row: Mapping[str, Any]) -> list[Figure]:
    """Return the figures of a charge's JSON."""
    found = list(_price(row.get("price"), ("price",), ""))
    found += [
        Figure((name,), label, str(row[name]))
        for name, label in _BOUNDS.items()
        if row.get(name) is not None
    ]
    return found


def _price(data: Any, path: Path, prefix: str) -> Iterator[Figure]:
    """Yield the figures of a price and of those inside it."""
    if not isinstance(data, Mapping):
        return
    per: int = data["per"] if data.get("per") in (1000, 1000000) else 1
    for name, label in _FIGURES.items():
        if name in data:
            unit = per if name == "unit_amount" else 1
            yield Figure((*path, name), prefix + label, str(data[name]), unit)
    tiers = data.get("tiers")
    for at, tier in enumerate(tiers if isinstance(tiers, list) else []):
        for name, label in (("unit_amount", "price"), ("flat_amount", "flat amount")):
            if isinstance(tier, Mapping) and name in tier:
                words = f"{prefix}Tier {at + 1} {label}"
                unit = per if name == "unit_amount" else 1
                yield Figure((*path, "tiers", at, name), words, str(tier[name]), unit)
    for name, label in _RATES.items():
        rates = data.get(name)
        for key, rate in rates.items() if isinstance(rates, Mapping) else ():
            what = "another tool" if key == "*" else str(key)
            yield Figure((*path, name, key), f"{prefix}{label} {what}", str(rate))
    for name, label in _LEVELS.items():
        levels, here = data.get(name), (*path, name)
        if isinstance(levels, Mapping):
            levels, here = levels.get("buckets"), (*here, "buckets")
        for at, level in enumerate(levels if isinstance(levels, list) else []):
            if isinstance(level, Mapping) and "rate" in level:
                words = f"{prefix}{label} {at + 1}"
                yield Figure((*here, at, "rate"), words, str(level["rate"]))
    for name, words in (("overage", "Beyond: "), ("price", "")):
        yield from _price(data.get(name), (*path, name), prefix + words)


def _get(row: Any, path: Path) -> Any:
    """Return what JSON has at a path; None where it has nothing."""
    for part in path:
        try:
            row = row[part]
        except (KeyError, IndexError, TypeError):
            return None
    return row


def read_currencies(
    body: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], uids: Sequence[str]
) -> dict[str, dict[str, dict[str, str]]]:
    """Return the further currencies of plan JSON as texts, by currency and charge.

    `rows` are the charges as the form writes them, `uids` its names for them.
    """
    found: dict[str, dict[str, dict[str, str]]] = {}
    further = body.get("currencies")
    for currency, said in further.items() if isinstance(further, Mapping) else ():
        given = said.get("charges") if isinstance(said, Mapping) else None
        texts = found.setdefault(str(currency), {})
        for row, uid in zip(rows, uids, strict=True):
            own = given.get(row["key"]) if isinstance(given, Mapping) else None
            if own is None:
                continue
            values = {}
            for figure in figures(row):
                value = _get(own, figure.path)
                values[figure.name] = "" if value is None else str(value)
            if write_charge(row, values) != own:
                values = {AS_JSON: json.dumps(own, indent=2)}
            texts[uid] = values
    return found


def write_charge(row: Mapping[str, Any], texts: Mapping[str, str]) -> Any:
    """Return what a further currency says of a charge; `row` is the charge's JSON."""
    if AS_JSON in texts:
        try:
            return json.loads(texts[AS_JSON])
        except ValueError:
            return texts[AS_JSON]
    said: dict[str, Any] = {"price": copy.deepcopy(row.get("price"))}
    for figure in figures(row):
        text = clean(texts.get(figure.name, ""))
        if figure.is_bound:
            said[str(figure.path[0])] = text or None
            continue
        holder = _get(said, figure.path[:-1])
        holder[figure.path[-1]] = text
    return said


def write_currencies(typed: Typed, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the further currencies as plan JSON; nothing where there are none."""
    if not typed.currencies:
        return {}
    pairs = list(zip(typed.charges, rows, strict=True))
    return {
        "currencies": {
            currency: {
                "charges": {
                    row["key"]: write_charge(row, texts.get(charge.uid, {}))
                    for charge, row in pairs
                }
            }
            for currency, texts in typed.currencies.items()
        }
    }


def box_id(currency: str, uid: str, name: str) -> str:
    """Return the id and the name of a figure's box."""
    return f"cur-{currency}-{uid}-{name}"


def problems(
    typed: Typed, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with the figures: box, problem, name of the charge."""
    for currency, texts in typed.currencies.items():
        for charge, row in zip(typed.charges, rows, strict=True):
            said = texts.get(charge.uid, {})
            if AS_JSON in said:
                continue  # The engine judges it.
            for figure in figures(row):
                text = said.get(figure.name, "")
                if figure.is_bound and not text.strip():
                    continue
                shown = figure.name in said
                box = box_id(currency, charge.uid, figure.name) if shown else SECTION
                label = f"{figure.label} in {currency}"
                try:
                    read(text, label, below=PRICE_LIMIT, per=figure.per)
                except PlanError as error:
                    yield box, error.message, charge.name.strip() or charge.uid


def box_of_path(typed: Typed, path: str) -> tuple[str, str]:
    """Return the box and the charge's name of a path such as currencies.EUR.charges.x.

    What has no box of its own is said at the section.
    """
    _, _, rest = path.partition("currencies.")
    currency, _, rest = rest.partition(".charges")
    keys = keys_of(typed.charges)
    for charge in typed.charges:
        key = keys[charge.uid]
        if rest == f".{key}" or rest.startswith(f".{key}."):
            member = rest[len(key) + 2 :].replace("[", ".").replace("]", "")
            name = "/".join(quote(part, safe="*") for part in member.split("."))
            texts = typed.currencies.get(currency, {}).get(charge.uid, {})
            name = AS_JSON if AS_JSON in texts else name
            found = box_id(currency, charge.uid, name) if name in texts else SECTION
            return found, charge.name.strip() or charge.uid
    return SECTION, ""


def shown(
    typed: Typed, rows: Sequence[Mapping[str, Any]], found: Mapping[str, str]
) -> list[FigureRow]:
    """Return the table of figures with their problems."""
    made = []
    for charge, row in zip(typed.charges, rows, strict=True):
        title = charge.name.strip() or "New charge"
        for one in figures(row):
            boxes = _boxes(typed, charge, one, found)
            made.append(FigureRow(title, one.label, one.text, boxes))
        if any(AS_JSON in t.get(charge.uid, {}) for t in typed.currencies.values()):
            boxes = _boxes(typed, charge, None, found)
            made.append(FigureRow(title, "As JSON", "", boxes))
    return made


def _boxes(
    typed: Typed, charge: Charge, figure: Figure | None, found: Mapping[str, str]
) -> tuple[Box | None, ...]:
    """Return a figure's box in each further currency; without a figure, the JSON's."""
    boxes: list[Box | None] = []
    for currency, texts in typed.currencies.items():
        said = texts.get(charge.uid, {})
        if (figure is None) != (AS_JSON in said):
            boxes.append(None)
            continue
        name = figure.name if figure else AS_JSON
        box = box_id(currency, charge.uid, name)
        label = f"{charge.name}: {figure.label if figure else 'price'} in {currency}"
        boxes.append(
            Box(
                box,
                box,
                label,
                said.get(name, ""),
                found.get(box, ""),
                is_number=figure is not None,
                is_code=figure is None,
            )
        )
    return tuple(boxes)
