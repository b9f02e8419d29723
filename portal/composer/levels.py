"""The spend levels of the form: rows of name, key and trigger, lowest first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from django.http import QueryDict

from catalog.pricing import SPEND_LEVEL, PlanError
from catalog.pricing.exact import PRICE_LIMIT
from catalog.pricing.level_json import LEVELS_MAX, MULTIPLIER, TRIGGERS
from portal.composer.boxes import Box
from portal.composer.numbers import clean, read
from portal.composer.typed import Level, Typed, join_values, level_keys, split_values

COLUMNS = ("name", "key", "trigger", "amount", "multiplier")
REACHED = (
    ("", "by hand"),
    ("spend_from", "spend"),
    ("credits_from", "credits bought"),
)
_DEED = re.compile(r"level\.((?P<at>[0-9]{1,2})\.(?P<deed>up|remove)|add)", re.ASCII)
_PATH = re.compile(r"levels(\[(?P<at>[0-9]+)\](\.(?P<member>.*))?)?")


@dataclass(frozen=True, slots=True)
class LevelShown:
    """One row of the table of levels."""

    number: int
    name: Box
    key: Box
    trigger: Box | None  # None: everybody begins here.
    amount: Box | None
    multiplier: Box
    up: str  # The button's value; empty on the first.
    remove: str


def from_json(rows: Any) -> list[Level]:
    """Return the levels of plan JSON as texts."""
    found = []
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping):
            trigger = next((n for n in TRIGGERS if row.get(n) is not None), "")
            texts = (
                row.get("key"),
                row.get("name"),
                trigger,
                row.get(trigger),
                row.get(MULTIPLIER),
            )
            found.append(Level(*("" if text is None else str(text) for text in texts)))
    return found


def to_json(levels: Sequence[Level]) -> list[dict[str, str]]:
    """Return the levels as plan JSON; an amount without a choice is one of spend."""
    rows = []
    for level, key in zip(levels, level_keys(levels), strict=True):
        row = {"key": key, "name": level.name.strip()}
        if level.trigger or level.amount.strip():
            row[level.trigger or TRIGGERS[0]] = clean(level.amount)
        if level.multiplier.strip():
            row[MULTIPLIER] = clean(level.multiplier)
        rows.append(row)
    return rows


def from_post(data: QueryDict) -> list[Level]:
    """Return the posted rows."""
    columns = [data.getlist(f"level_{name}") for name in COLUMNS]
    rows = list(zip_longest(*columns, fillvalue=""))[:LEVELS_MAX]
    return [
        Level(key.strip(), name, trigger if trigger in TRIGGERS else "", amount, times)
        for name, key, trigger, amount, times in rows
    ]


def problems(levels: Sequence[Level]) -> Iterator[tuple[str, str]]:
    """Find what is wrong with the boxes; the rest is the engine's to judge."""
    for at, level in enumerate(levels):
        if not level.name.strip():
            message = "Name is blank. Type what the price list shall say."
            yield f"level-{at}-name", message
        if level.trigger or level.amount.strip():
            label = f"Amount of {level.name.strip() or f'level {at + 1}'}"
            try:
                read(level.amount, label, below=PRICE_LIMIT, positive=True)
            except PlanError as error:
                yield f"level-{at}-amount", error.message


def box_of(path: str) -> str:
    """Return the id of the box that a path of plan JSON is typed into, or empty."""
    found = _PATH.fullmatch(path)
    if found is None:
        return ""
    member = found["member"] or "name"
    named = {**dict.fromkeys(TRIGGERS, "amount"), MULTIPLIER: "multiplier"}
    column = named.get(member, member)
    return f"level-{found['at'] or 0}-{column}"


def act(typed: Typed, deed: str) -> str | None:
    """Add, move or remove a level; return the box to focus, None for other deeds."""
    found = _DEED.fullmatch(deed)
    if found is None:
        return None
    rows = typed.levels
    if found["at"] is None:
        if not rows:
            rows.append(Level("free", "Free"))
        if len(rows) < LEVELS_MAX:
            rows.append(Level(trigger=TRIGGERS[0]))
        return f"level-{len(rows) - 1}-name"
    at = int(found["at"])
    if at >= len(rows):
        return ""
    if found["deed"] == "remove":
        rows.pop(at)
        return f"level-{min(at, len(rows) - 1)}-name" if rows else "level-add"
    if at:
        rows.insert(at - 1, rows.pop(at))
    return f"level-{max(at - 1, 0)}-name"


def ask_level(filters: list[tuple[str, str]]) -> int:
    """Add a condition on the level, unless there is one; return where it is."""
    for at, (name, _) in enumerate(filters):
        if name.strip() == SPEND_LEVEL:
            return at
    filters.append((SPEND_LEVEL, ""))
    return len(filters) - 1


def choices(levels: Sequence[Level], text: str) -> tuple[str, list[tuple[str, str]]]:
    """Return a condition's values in the order of levels, and what can be chosen."""
    keys = level_keys(levels)
    names = [level.name.strip() or key for level, key in zip(levels, keys, strict=True)]
    values = split_values(text)
    if set(values) <= set(keys):
        values.sort(key=keys.index)
    chosen = join_values(values)
    offered = [("", "Choose a level"), *zip(keys, names, strict=True)]
    offered += [
        (join_values(keys[at:]), f"{names[at]} and above")
        for at in range(1, len(keys) - 1)
    ]
    if chosen not in dict(offered):
        offered.append((chosen, chosen))
    return chosen, offered


def shown(
    levels: Sequence[Level], found: Mapping[str, str], currency: str
) -> list[LevelShown]:
    """Return the rows as the template shows them; `found` are problems by box."""

    def box(at: int, name: str, label: str, value: str, **more: Any) -> Box:
        where = f"level-{at}-{name}"
        text = f"Level {at + 1}: {label}"
        return Box(where, f"level_{name}", text, value, found.get(where, ""), **more)

    rows = []
    for at, level in enumerate(levels):
        is_start = not at and not level.trigger and not level.amount.strip()
        rows.append(
            LevelShown(
                at + 1,
                box(at, "name", "name", level.name),
                box(at, "key", "key", level.key),
                None
                if is_start
                else box(at, "trigger", "reached by", level.trigger, choices=REACHED),
                None
                if is_start
                else box(
                    at, "amount", f"amount in {currency}", level.amount, is_number=True
                ),
                box(
                    at,
                    "multiplier",
                    "limits a minute times",
                    level.multiplier,
                    is_number=True,
                    is_optional=True,
                ),
                f"level.{at}.up" if at else "",
                f"level.{at}.remove",
            )
        )
    return rows
