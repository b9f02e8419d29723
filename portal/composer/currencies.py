"""Further currencies in the composer: every figure of money, one box a currency.

Only figures are typed again: where tiers end, what is included and what is counted are
the plan's in every currency. A price that differs in more than figures is kept as JSON.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from catalog.pricing.exact import PRICE_LIMIT
from catalog.pricing.level_json import TRIGGERS
from catalog.pricing.merging import WHOLE as MEMBERS
from catalog.pricing.merging import without_markup
from catalog.pricing.reading import PlanError
from portal.composer.boxes import Box
from portal.composer.numbers import clean, read
from portal.composer.typed import Typed, keys_of

# Under which a price is kept that has another shape than the plan's own.
AS_JSON = "json"
SECTION = "currencies-summary"
UNSEEN_MAX = 5  # Figures that one problem names.
# The part that is no charge: what holds for the plan as a whole.
WHOLE = "whole"
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

# Lists of the plan as a whole, the members of a row that are money, and their words.
_LISTS = {
    "discounts": (("amount",), "{name}: amount off"),
    "levels": (TRIGGERS, "Level {name}: from"),
}

Path = tuple[str | int, ...]


class Part(NamedTuple):
    """One charge, or the plan as a whole, with the JSON that says its figures."""

    uid: str
    key: str  # Of the charge; empty for the plan as a whole.
    title: str
    row: Mapping[str, Any]


def parts(typed: Typed, body: Mapping[str, Any]) -> list[Part]:
    """Return the form's charges and the plan as a whole; `body` is its plan JSON."""
    found = [
        Part(charge.uid, row["key"], charge.name.strip() or "New charge", row)
        for charge, row in zip(typed.charges, body["charges"], strict=True)
    ]
    row = {name: body[name] for name in MEMBERS if name in body}
    return [*found, Part(WHOLE, "", "Whole plan", row)]


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
    for name, (members, words) in _LISTS.items():
        for at, one in enumerate(row.get(name) or []):
            found += [
                Figure((name, at, member), words.format(**one), str(one[member]))
                for member in members
                if one.get(member) is not None
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
        for key, rate in sorted(rates.items()) if isinstance(rates, Mapping) else ():
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
    weights = data.get("weights")
    for at, weight in enumerate(weights if isinstance(weights, list) else []):
        # One of another money is more or less of our cost.
        if isinstance(weight, Mapping) and weight.get("cogs") and "amount" in weight:
            words = f"{prefix}Units for one of our cost"
            here = (*path, "weights", at, "amount")
            yield Figure(here, words, str(weight["amount"]))
    inside = (("overage", "Beyond: "), ("price", ""), ("cost_budget", "Cost budget: "))
    for name, words in inside:
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
    body: Mapping[str, Any], among: Sequence[Part]
) -> dict[str, dict[str, dict[str, str]]]:
    """Return the further currencies of plan JSON as texts, by currency and part."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    further = body.get("currencies")
    for currency, said in further.items() if isinstance(further, Mapping) else ():
        texts = found.setdefault(str(currency), {})
        for part in among:
            own = _given(said, part)
            if own is None:
                continue
            values = {}
            for figure in figures(part.row):
                value = _get(own, figure.path)
                values[figure.name] = "" if value is None else str(value)
            if write_part(part, values) != own:
                values = {AS_JSON: json.dumps(own, indent=2)}
            texts[part.uid] = values
    return found


def _given(said: Any, part: Part) -> Any:
    """Return what a further currency says of a part; None for nothing."""
    if not isinstance(said, Mapping):
        return None
    if part.uid == WHOLE:
        return {name: said[name] for name in MEMBERS if name in said} or None
    charges = said.get("charges")
    return charges.get(part.key) if isinstance(charges, Mapping) else None


def write_part(part: Part, texts: Mapping[str, str]) -> Any:
    """Return what a further currency says of a part."""
    if AS_JSON in texts:
        try:
            return json.loads(texts[AS_JSON])
        except ValueError:
            return texts[AS_JSON]
    said: dict[str, Any] = {}
    if part.uid != WHOLE:
        price = copy.deepcopy(part.row.get("price"))
        said["price"] = without_markup(price) if isinstance(price, dict) else price
    for figure in figures(part.row):
        text = clean(texts.get(figure.name, ""))
        if figure.is_bound:
            said[str(figure.path[0])] = text or None
            continue
        name = str(figure.path[0])
        said.setdefault(name, copy.deepcopy(part.row.get(name)))
        _get(said, figure.path[:-1])[figure.path[-1]] = text
    return said


def write_currencies(typed: Typed, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the further currencies as plan JSON; nothing where there are none."""
    if not typed.currencies:
        return {}
    *charges, whole = parts(typed, body)
    written = {}
    for currency, texts in typed.currencies.items():
        rows = {one.key: write_part(one, texts.get(one.uid, {})) for one in charges}
        said = write_part(whole, texts.get(WHOLE, {}))
        # What is no object is refused by the engine, with its place.
        of_plan = said if isinstance(said, Mapping) else {MEMBERS[0]: said}
        written[currency] = {"charges": rows, **of_plan}
    return {"currencies": written}


def box_id(currency: str, uid: str, name: str) -> str:
    """Return the id and the name of a figure's box."""
    return f"cur-{currency}-{uid}-{name}"


def settle(typed: Typed, body: Mapping[str, Any]) -> None:
    """Give every figure its text in every further currency, blank where none is typed.

    A page shows a box for each of them, so each can be told what it lacks.
    """
    for texts in typed.currencies.values():
        for part in parts(typed, body):
            said = texts.setdefault(part.uid, {})
            if AS_JSON not in said:
                for figure in figures(part.row):
                    said.setdefault(figure.name, "")


def problems(typed: Typed, body: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with the figures: box, problem, name of the part.

    Figures whose boxes are not on the page yet are told together.
    """
    unseen = []
    for currency, texts in typed.currencies.items():
        for part in parts(typed, body):
            said = texts.get(part.uid, {})
            if AS_JSON in said:
                continue  # The engine judges it.
            for figure in figures(part.row):
                text = said.get(figure.name, "")
                if figure.is_bound and not text.strip():
                    continue
                label = f"{figure.label} in {currency}"
                if figure.name not in said:
                    unseen.append(f"{part.title}: {label}")
                    continue
                try:
                    read(text, label, below=PRICE_LIMIT, per=figure.per)
                except PlanError as error:
                    box = box_id(currency, part.uid, figure.name)
                    yield box, error.message, part.title
    if unseen:
        more = f" and {len(unseen) - UNSEEN_MAX} more" * (len(unseen) > UNSEEN_MAX)
        lacking = ", ".join(unseen[:UNSEEN_MAX]) + more
        verb = "is" if len(unseen) == 1 else "are"
        yield SECTION, f"{lacking} {verb} blank. Press “Show all figures”.", ""


def box_of_path(typed: Typed, path: str) -> tuple[str, str]:
    """Return the box and the part's name of a path such as currencies.EUR.charges.x.

    What has no box of its own is said at the section.
    """
    _, _, rest = path.partition("currencies.")
    currency, _, rest = rest.partition(".")
    if rest.startswith(MEMBERS):
        return _box_of(typed, currency, WHOLE, rest), "Whole plan"
    rest = rest.removeprefix("charges")
    keys = keys_of(typed.charges)
    for charge in typed.charges:
        key = keys[charge.uid]
        if rest == f".{key}" or rest.startswith(f".{key}."):
            member = rest[len(key) + 2 :]
            found = _box_of(typed, currency, charge.uid, member)
            return found, charge.name.strip() or charge.uid
    return SECTION, ""


def _box_of(typed: Typed, currency: str, uid: str, member: str) -> str:
    """Return the box of a member of a part; the section where it has none."""
    dotted = member.replace("[", ".").replace("]", "")
    name = "/".join(quote(one, safe="*") for one in dotted.split("."))
    texts = typed.currencies.get(currency, {}).get(uid, {})
    name = AS_JSON if AS_JSON in texts else name
    return box_id(currency, uid, name) if name in texts else SECTION


def shown(
    typed: Typed, body: Mapping[str, Any], found: Mapping[str, str]
) -> list[FigureRow]:
    """Return the table of figures with their problems."""
    made = []
    for part in parts(typed, body):
        lines = [
            FigureRow("", figure.label, figure.text, _boxes(typed, part, figure, found))
            for figure in figures(part.row)
        ]
        if any(AS_JSON in t.get(part.uid, {}) for t in typed.currencies.values()):
            lines.append(FigureRow("", "As JSON", "", _boxes(typed, part, None, found)))
        for at, line in enumerate(lines):
            name = part.title if not at else ""
            made.append(FigureRow(name, line.label, line.own, line.boxes))
    return made


def _boxes(
    typed: Typed, part: Part, figure: Figure | None, found: Mapping[str, str]
) -> tuple[Box | None, ...]:
    """Return a figure's box in each further currency; without a figure, the JSON's."""
    boxes: list[Box | None] = []
    for currency, texts in typed.currencies.items():
        said = texts.get(part.uid, {})
        if (figure is None) != (AS_JSON in said):
            boxes.append(None)
            continue
        name = figure.name if figure else AS_JSON
        box = box_id(currency, part.uid, name)
        label = f"{part.title}: {figure.label if figure else 'price'} in {currency}"
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
