"""What is typed into the plan form: texts, whether or not they make sense yet.

A draft keeps what was typed also where it is wrong, so nothing is lost; `checking`
says what is wrong.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from portal.composer.term_texts import Terms

JSON_MODEL = "json"  # For prices that have no form here: shown and kept as JSON.
_UID = re.compile(r"c[0-9]{1,6}", re.ASCII)
_NOT_KEY = re.compile(r"[^a-z0-9_.-]+", re.ASCII)
KEY_MAX = 64


@dataclass(slots=True)
class Tier:
    """One row of a tier table; only its end is typed, its floor is the row before."""

    up_to: str = ""
    unit_amount: str = ""
    flat_amount: str = ""


@dataclass(slots=True)
class Price:
    """A charge model with the texts of its parameters."""

    model: str
    values: dict[str, str] = field(default_factory=dict)
    tiers: list[Tier] = field(default_factory=list)
    inner: Price | None = None  # Of included: the overage; of package: its price.
    # Of each table the rows, each the texts of its columns; see params.
    rows: dict[str, list[dict[str, str]]] = field(default_factory=dict)


@dataclass(slots=True)
class Charge:
    """One charge of the form."""

    uid: str  # Of the form row: c1, c2, …
    price: Price
    key: str = ""  # Empty: made from the name when it is saved.
    name: str = ""
    unit: str = ""
    metric: str = ""  # The code.
    filters: list[tuple[str, str]] = field(default_factory=list)
    # discount_percent, minimum and maximum of a period.
    bounds: dict[str, str] = field(default_factory=dict)
    is_open: bool = True


@dataclass(slots=True)
class Level:
    """One spend level of the form."""

    key: str = ""  # Empty: made from the name when it is saved.
    name: str = ""
    trigger: str = ""  # spend_from or credits_from; empty: by hand.
    amount: str = ""
    multiplier: str = ""  # Of the limits a minute; empty: 1.


@dataclass(slots=True)
class Typed:
    """The whole form but the simulator."""

    currency: str
    charges: list[Charge]
    levels: list[Level] = field(default_factory=list)
    prorate: bool = False
    limits: dict[str, Any] = field(default_factory=dict)
    # Figures in further currencies: by currency, row and place in the charge.
    currencies: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    terms: Terms = field(default_factory=Terms)  # Of the plan as a whole.

    def new_uid(self) -> str:
        """Return a name for a further row."""
        used = [int(charge.uid[1:]) for charge in self.charges]
        return f"c{max(used, default=0) + 1}"

    def charge(self, uid: str) -> Charge | None:
        """Return the row with this name."""
        return next((c for c in self.charges if c.uid == uid), None)


def is_uid(text: str) -> bool:
    """Tell whether a text names a row."""
    return _UID.fullmatch(text) is not None


def split_values(text: str) -> list[str]:
    """Return the values of a condition: between commas, a comma itself in quotes."""
    rows = list(csv.reader([text.replace("\n", " ")], skipinitialspace=True))
    return [value.strip() for value in rows[0] if value.strip()] if rows else []


def join_values(values: Sequence[str]) -> str:
    """Return values as one text that `split_values` reads back."""
    return ", ".join(
        '"' + value.replace('"', '""') + '"' if re.search(r'[",]', value) else value
        for value in values
    )


def keys_of(charges: Sequence[Charge]) -> dict[str, str]:
    """Return each row's key: its own, or one made of its name that nobody else has."""
    names = [(charge.key, charge.name) for charge in charges]
    uids = [charge.uid for charge in charges]
    return dict(zip(uids, _made_keys(names, "charge"), strict=True))


def level_keys(levels: Sequence[Level]) -> list[str]:
    """Return each level's key: its own, or one made of its name."""
    return _made_keys([(level.key, level.name) for level in levels], "level")


def _made_keys(rows: Sequence[tuple[str, str]], noun: str) -> list[str]:
    """Return the keys of rows of key and name; those without get one of their own."""
    taken = {key for key, _ in rows if key}
    found = []
    for key, name in rows:
        if not key:
            base = _NOT_KEY.sub("-", name.lower()).strip("-.")[: KEY_MAX - 4]
            base = base if base[:1].isalpha() else f"{noun}-{base}".rstrip("-")
            key, number = base, 2
            while key in taken:
                key, number = f"{base}-{number}", number + 1
            taken.add(key)
        found.append(key)
    return found
