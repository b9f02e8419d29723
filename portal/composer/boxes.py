"""One box of the form: its texts, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    rows: int = 8  # Of code.
