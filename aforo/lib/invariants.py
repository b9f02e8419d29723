"""What must always be true of the data, as checks that name what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aforo.lib import sql

# A check stops counting here: the first breaks are enough to start looking.
BREAKS_MAX = 20


@dataclass(frozen=True, slots=True)
class Invariant:
    """One law of the data."""

    code: str  # Stable: I-1, I-2, …
    title: str  # In words, true when it holds.
    check: Callable[[], Iterable[str]]  # One sentence for each break.
    # It compares with the clock or another store, which a snapshot of this one cannot
    # hold still: checked outside of it, reading the other first.
    live: bool = False


def rows(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement with named parameters."""
    with sql.cursor() as cursor:
        return cursor.execute(statement, parameters).fetchall()
