"""What a usage block says, and how its fields are taken without trusting them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

NOT_READ = "usage_not_read"
AMBIGUOUS = "usage_ambiguous"
MISSING = "usage_missing"

# No call holds so many of anything; more is somebody's mistake.
COUNT_LIMIT = 10**15
TEXT_MAX = 120
DOUBTS_MAX = 5


@dataclass(frozen=True, slots=True)
class Hint:
    """What the sender says about a block; it only names what shape leaves open."""

    provider: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A block in canonical terms: counts are exact, totals include their parts.

    `flags` is empty for a block that was understood; else it holds usage_not_read (no
    known shape), usage_ambiguous (its numbers can mean two things, `doubts` says
    which) or usage_missing (the provider had not said the final figures).
    """

    api: str = ""  # The shape: anthropic.messages, openai.chat, …; empty: none known.
    provider: str = ""  # Where the shape or the hint tells; else empty.
    model: str = ""
    measurements: Mapping[str, int | Decimal] = field(default_factory=dict)
    # What selects another price than the ordinary one: speed, service_tier, region.
    context: Mapping[str, str] = field(default_factory=dict)
    reported_cost: Decimal | None = None  # In USD, by the provider itself.
    flags: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether the measurements may be priced."""
        return not self.flags


class Split(NamedTuple):
    """The inclusive totals of a call."""

    input_tokens: int
    output_tokens: int


@dataclass(slots=True)
class Block:
    """A provider's object, read field by field; what is wrong with it is noted."""

    fields: Mapping[str, Any]
    doubts: list[str] = field(default_factory=list)

    def doubt(self, text: str) -> None:
        """Note what is doubtful, once."""
        if text not in self.doubts and len(self.doubts) < DOUBTS_MAX:
            self.doubts.append(text[:200])

    def value(self, *path: str) -> Any:
        """Return a member by its path; None when it is absent."""
        found: Any = self.fields
        for step in path:
            if found is None:
                return None
            if not isinstance(found, dict) and found is not self.fields:
                self.doubt(f"{'.'.join(path)}: {path[0]} is no object")
                return None
            found = found.get(step)
        return found

    def count(self, *path: str) -> int | None:
        """Return a whole number by its path; None when it is absent or no count."""
        found = self.fields.get(path[0]) if len(path) == 1 else self.value(*path)
        if found is None:
            return None
        if type(found) is int and 0 <= found < COUNT_LIMIT:
            return found
        number = as_count(found)
        if number is None:
            self.doubt(f"{'.'.join(path)} is not a count")
        return number

    def first(self, *names: str) -> int | None:
        """Return the first of several spellings of one count that is there."""
        for name in names:
            if self.fields.get(name) is not None:
                return self.count(name)
        return None

    def text(self, *path: str) -> str:
        """Return a short text by its path; empty when it is absent or no text."""
        found = self.value(*path)
        return found if isinstance(found, str) and len(found) <= TEXT_MAX else ""

    def amount(self, *path: str) -> Decimal | None:
        """Return a quantity that may have decimals; None when it is absent."""
        found = self.value(*path)
        if found is None:
            return None
        number = as_amount(found)
        if number is None:
            self.doubt(f"{'.'.join(path)} is not a quantity")
        return number


def as_count(value: Any) -> int | None:
    """Return a value that is a whole number from 0 on; None for anything else."""
    if type(value) is int:
        return value if 0 <= value < COUNT_LIMIT else None
    number = as_amount(value)
    if number is None or number != number.to_integral_value():
        return None
    return int(number)


def as_amount(value: Any) -> Decimal | None:
    """Return a number from 0 on with at most 12 decimals; None for anything else."""
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        return None
    if not 0 <= value < COUNT_LIMIT:
        return None
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "a finite number has an exponent"
    return value if exponent >= -12 else None


def kept(**counts: int | Decimal | None) -> dict[str, int | Decimal]:
    """Return the counts that the block gives."""
    return {name: count for name, count in counts.items() if count is not None}


def positive(**counts: int | Decimal | None) -> dict[str, int | Decimal]:
    """Return the counts above zero: parts that most calls do not have."""
    return {name: count for name, count in counts.items() if count}
