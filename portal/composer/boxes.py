"""One box of the form as the templates show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.ownership import MARKUP

Choices = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Box:
    """One box of the form."""

    id: str
    name: str
    label: str
    value: str
    problem: str = ""
    hint: str = ""
    choices: Choices = ()
    is_optional: bool = False
    is_number: bool = False
    is_fixed: bool = False  # Shown, and not to be changed.
    is_code: bool = False
    is_date: bool = False
    rows: int = 8  # Of code.
    suggest: str = ""  # The list of what was seen: see portal.selectors.seen.
    column: str = ""  # Of a table's cell.
    off: str = ""  # Why it does not apply: shown, and not to be typed into.

    @property
    def is_markup(self) -> bool:
        """Whether finance owns what is typed here; see portal.composer.shares."""
        return self.id.endswith(f"-{MARKUP}")
