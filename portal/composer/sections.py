"""A charge model's boxes and tables as the templates show them, under headings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from portal.composer import rows
from portal.composer.boxes import Box
from portal.composer.numbers import grouped
from portal.composer.params import Column, Param
from portal.composer.typed import Price

COUNTED = frozenset({"quantity", "count", "whole"})


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table."""

    number: int
    cells: list[Box]
    derived: str  # Where the row before ends, or where the next one begins.
    words: str  # Of the row for the rest, which stays; empty: an ordinary row.
    remove: str  # The button's value.


@dataclass(frozen=True, slots=True)
class Table:
    """A table of rows, typed cell by cell."""

    id: str
    label: str
    hint: str
    is_optional: bool
    columns: tuple[Column, ...]
    spans: str  # ends | starts | empty; see Param.
    rows: list[TableRow]
    rows_max: int
    add: str  # The button's value.
    rest: str
    takes_paste: str  # The columns in words, as a spreadsheet's.


@dataclass(frozen=True, slots=True)
class Part:
    """One box or one table, and whether it applies."""

    box: Box | None
    table: Table | None
    needs: str  # Ids of the boxes and tables of which one must be filled.
    off: str  # Why it does nothing without them.
    is_idle: bool  # It does nothing now.
    is_off: bool  # It does nothing and says nothing: not to be typed into.
    note: str  # What the product's traffic lacks for it.

    @property
    def id(self) -> str:
        """The id that its boxes begin with."""
        if self.table is not None:
            return self.table.id
        return self.box.id if self.box else ""


@dataclass(frozen=True, slots=True)
class Section:
    """Parts under one heading."""

    legend: str
    parts: list[Part]
    folds: bool  # It can be closed: nothing in it is needed.
    is_open: bool  # In use, with a problem or with the focus.


def sections(
    params: Sequence[Param],
    price: Price,
    prefix: str,
    boxes: Mapping[str, Box],
    problems: Mapping[str, str],
    notes: Mapping[str, str],
    focus: str = "",
) -> list[Section]:
    """Return parameters under their headings; `boxes` are those that are no table.

    Those of rates by dimension close while they are not in use, but the first one
    where none is.
    """
    made = _sections(params, price, prefix, boxes, problems, notes, focus)
    if made and made[0].folds and not any(section.is_open for section in made):
        made[0] = replace(made[0], is_open=True)
    return made


def _sections(
    params: Sequence[Param],
    price: Price,
    prefix: str,
    boxes: Mapping[str, Box],
    problems: Mapping[str, str],
    notes: Mapping[str, str],
    focus: str,
) -> list[Section]:
    """Return parameters under their headings, open where they are in use."""
    by_name = {param.name: param for param in params}
    shown = [p for p in params if p.kind == "rows" or p.name in boxes]
    grouped_by = groupby(shown, key=lambda param: param.group)
    groups = [(legend, list(members)) for legend, members in grouped_by]
    return [
        Section(
            legend,
            [
                Part(
                    boxes.get(param.name),
                    _table(param, price, prefix, problems)
                    if param.kind == "rows"
                    else None,
                    " ".join(f"{prefix}-{name}" for name in param.needs),
                    param.off,
                    idle := is_idle(param, by_name, price),
                    idle and not is_filled(param, price),
                    notes.get(param.name, ""),
                )
                for param in members
            ],
            price.model == "dimensions",
            _in_use(members, price, prefix, (*problems, focus)),
        )
        for legend, members in groups
    ]


def _in_use(
    members: Sequence[Param], price: Price, prefix: str, boxes: Sequence[str]
) -> bool:
    """Tell whether something is typed into a section, or a box of it is named."""
    starts = [f"{prefix}-{param.name}" for param in members]
    named = any(
        box == start or box.startswith(f"{start}-") for box in boxes for start in starts
    )
    return named or any(is_filled(param, price) for param in members)


def is_idle(param: Param, by_name: Mapping[str, Param], price: Price) -> bool:
    """Tell whether nothing of what a parameter needs is filled."""
    return bool(param.needs) and not any(
        is_filled(by_name[name], price) for name in param.needs
    )


def is_filled(param: Param, price: Price) -> bool:
    """Tell whether something was typed into a box or table."""
    if param.kind == "rows":
        return bool(rows.filled(param, price.rows.get(param.name, [])))
    text = price.values.get(param.name, "").strip()
    return bool(text) and text != param.start


def _table(
    param: Param, price: Price, prefix: str, problems: Mapping[str, str]
) -> Table:
    """Return a table with a box for each cell."""
    start = f"{prefix}-{param.name}"
    typed = rows.settled(param, price.rows.get(param.name, []))
    value = f"{prefix}.rows.{param.name}"
    shown = []
    for at, row in enumerate(typed):
        rest = rows.is_rest(param, row)
        shown.append(
            TableRow(
                at + 1,
                list(_cells(param, row, prefix, at, problems)),
                _derived(param, typed, at),
                param.rest if rest else "",
                f"{value}.{at}.remove",
            )
        )
    return Table(
        start,
        param.label,
        param.hint,
        param.optional,
        param.columns,
        param.spans,
        shown,
        param.rows_max,
        f"{value}.add",
        param.rest,
        ", ".join(column.label.lower() for column in param.columns),
    )


def _cells(
    param: Param, row: rows.Row, prefix: str, at: int, problems: Mapping[str, str]
) -> Iterator[Box]:
    """Yield the boxes of one row."""
    rest = rows.is_rest(param, row)
    for number, column in enumerate(param.columns):
        box = rows.cell_id(param, prefix, at, column.name)
        text = row[column.name]
        where = f"of {param.rest}" if rest else f"in row {at + 1}"
        yield Box(
            box,
            f"{prefix}-{param.name}-{column.name}",
            f"{column.label} {where}",
            grouped(text) if column.kind in COUNTED else text,
            problems.get(box, ""),
            choices=column.choices,
            is_number=not column.is_text and not column.choices,
            is_fixed=bool(number == 0 and at == 0 and column.fixed),
            suggest=column.suggest,
            column=column.name,
        )


def _derived(param: Param, typed: rows.Rows, at: int) -> str:
    """Return the other end of a row, which is never typed."""
    first = param.columns[0].name
    if param.spans == "ends":
        return grouped(typed[at - 1][first].strip()) if at else "0"
    if param.spans == "starts":
        last = at == len(typed) - 1
        return "∞" if last else grouped(typed[at + 1][first].strip())
    return ""
