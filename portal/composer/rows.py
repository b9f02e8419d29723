"""Tables of rows: plan JSON to texts and back, what is wrong with a cell, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from catalog.pricing import PlanError
from catalog.pricing.exact import PRICE_LIMIT, QUANTITY_LIMIT, RATE_LIMIT
from catalog.pricing.reading import number_text
from portal.composer.numbers import clean, read
from portal.composer.params import Column, Param
from portal.composer.spelled import (
    condition_problems,
    conditions_of,
    seconds_of,
    span_problems,
)

Row = dict[str, str]
Rows = list[Row]
Problems = Iterator[tuple[str, str]]

REST = "*"
BELOW = {
    "price": PRICE_LIMIT,
    "quantity": QUANTITY_LIMIT,
    "rate": RATE_LIMIT,
    "factor": Decimal(1000),
    "percent": Decimal(1000),
    "share": Decimal(100),
}
# Factors and percentages multiply whole amounts: see catalog.pricing.dimension_json.
PLACES = {"factor": 4, "percent": 4, "share": 2}
TEXT_MAX = 256
_INDEX = re.compile(r"[^\[]*\[(?P<at>[0-9]{1,6})\](\.(?P<column>[a-z_]+)([.\[].*)?)?")


def text_of(value: Any) -> str:
    """Return what stands in a cell for a value of plan JSON."""
    if value is None:
        return ""
    try:
        return str(number_text(value, ""))
    except PlanError:
        return str(value)


def new_row(param: Param) -> Row:
    """Return a row in which nothing is typed yet."""
    return {
        c.name: c.start or (c.choices[0][0] if c.choices else "") for c in param.columns
    }


def is_blank(param: Param, row: Row) -> bool:
    """Tell whether nothing was typed into a row: choices do not count, nor what stands
    there first.
    """
    return not any(
        row.get(column.name, "").strip() not in ("", column.start, column.fixed)
        for column in param.columns
        if not column.choices
    )


def is_rest(param: Param, row: Row) -> bool:
    """Tell whether a row is for everything that the others do not name."""
    return bool(param.rest) and row[param.columns[0].name].strip() == REST


def settled(param: Param, rows: Rows) -> Rows:
    """Return rows as the table shows them: one to type into, the rest's row last."""
    first = param.columns[0]
    names = {column.name for column in param.columns}
    rows = [{name: row.get(name, "") for name in names} for row in rows]
    rest = next((row for row in reversed(rows) if is_rest(param, row)), None)
    own = [row for row in rows if row is not rest] or [new_row(param)]
    if first.fixed:
        own[0] = own[0] | {first.name: first.fixed}
    if not param.rest:
        return own
    return [*own, rest or new_row(param) | {first.name: REST}]


def filled(param: Param, rows: Rows) -> Rows:
    """Return the rows that say something, their texts without spaces around them."""
    found = []
    for row in rows:
        others = [c.name for c in param.columns[1:]]
        if is_blank(param, row):
            continue
        if is_rest(param, row) and not any(row[name].strip() for name in others):
            continue
        found.append({name: text.strip() for name, text in row.items()})
    return found


def read_list(param: Param, data: Any) -> Rows | None:
    """Return a list of objects as rows; None when a table cannot show all of it."""
    if data is None:
        return settled(param, [])
    names = {column.name for column in param.columns}
    if not isinstance(data, Sequence) or isinstance(data, str):
        return None
    if not all(isinstance(row, Mapping) and set(row) <= names for row in data):
        return None
    rows = [{name: text_of(row.get(name)) for name in names} for row in data]
    return settled(param, rows)


def write_list(param: Param, rows: Rows) -> list[dict[str, Any]]:
    """Return rows as a list of objects; what is blank and optional is left out."""
    return [
        {
            column.name: value_of(column, row[column.name])
            for column in param.columns
            if row[column.name] or not column.optional
        }
        for row in filled(param, rows)
    ]


def read_mapping(param: Param, data: Any) -> Rows | None:
    """Return an object as rows of name and value, by name; None when it is none.

    A list of pairs is what `write_mapping` makes of names that an object cannot hold.
    """
    name, value = (column.name for column in param.columns)
    if data is None:
        data = {}
    pairs = sorted(data.items()) if isinstance(data, Mapping) else data
    if not isinstance(pairs, Sequence) or isinstance(pairs, str):
        return None
    if not all(isinstance(p, Sequence) and len(p) == 2 for p in pairs):
        return None
    rows = [{name: str(key), value: text_of(text)} for key, text in pairs]
    return settled(param, rows)


def write_mapping(param: Param, rows: Rows) -> Any:
    """Return rows of name and value as an object.

    Names that are blank or stand twice would be lost in one: then as a list of pairs,
    which a draft keeps and the engine refuses.
    """
    name, value = param.columns
    pairs = [
        (row[name.name], value_of(value, row[value.name]))
        for row in filled(param, rows)
    ]
    names = [key for key, _ in pairs]
    if all(names) and len(set(names)) == len(names):
        return dict(pairs)
    return [list(pair) for pair in pairs]


def value_of(column: Column, text: str) -> Any:
    """Return the plan JSON of a cell; what is no number stays as it was typed."""
    if column.kind == "span":
        return seconds_of(text)
    if column.kind == "conditions":
        return conditions_of(text)
    if column.kind == "text" or column.choices:
        return text.strip()
    short = clean(text)
    if column.kind == "count" and short.isascii() and short.isdecimal():
        return int(short) if len(short) <= 20 else short
    return short


def problems(param: Param, rows: Rows, prefix: str) -> Problems:
    """Find what is wrong with the cells of a table, each with the id of its box."""
    first = param.columns[0]
    seen: set[str] = set()
    some = False
    for at, row in enumerate(rows):
        if not filled(param, [row]):
            continue
        some = True
        own = row[first.name].strip()
        if param.unique and own in seen:
            word = "is the last row" if own == REST and param.rest else "stands above"
            message = f"{own} {word}. Give it one row."
            yield cell_id(param, prefix, at, first.name), message
        seen.add(own)
        where = f"row {at + 1}"
        if is_rest(param, row):
            where = f"the row of {param.rest}"
        for column in param.columns:
            for message in _cell_problems(column, row[column.name], where):
                yield cell_id(param, prefix, at, column.name), message
    if not some and not param.optional:
        message = f"{param.label}: no row is filled in."
        yield cell_id(param, prefix, 0, first.name), message


def _cell_problems(column: Column, text: str, where: str) -> Iterator[str]:
    """Find what is wrong with one cell."""
    label = f"{column.label} in {where}"
    if not text.strip():
        if not column.optional:
            word = "Type it." if column.is_text else "Type a number."
            yield f"{label} is blank. {word}"
        return
    if column.kind == "span":
        yield from span_problems(text, label)
        return
    if column.kind == "conditions":
        yield from condition_problems(text, label)
        return
    if column.kind == "text":
        if len(text) > TEXT_MAX:
            yield f"{label}: at most {TEXT_MAX} characters."
        return
    if column.choices:
        if text not in dict(column.choices):
            yield f"{label}: choose one of the list."
        return
    yield from number_problems(column.kind, text, label, positive=column.positive)


def number_problems(
    kind: str, text: str, label: str, *, positive: bool
) -> Iterator[str]:
    """Find what is wrong with a number of a kind, in a sentence."""
    short = clean(text)
    if kind == "count":
        least = 1 if positive else 0
        if not short.isascii() or not short.isdecimal() or int(short[:20]) < least:
            told = f"a whole number from {least}"
            yield f"{label} is {told}; you entered {text.strip()[:40]}."
        return
    try:
        read(text, label, below=BELOW[kind], positive=positive)
    except PlanError as error:
        yield error.message
        return
    most = PLACES.get(kind)
    decimals = len(short.partition(".")[2].rstrip("0"))
    if most is not None and decimals > most:
        yield f"{label} needs at most {most} decimals; you entered {decimals}."


def cell_id(param: Param, prefix: str, at: int, column: str) -> str:
    """Return the id of a cell's box."""
    return f"{prefix}-{param.name}-{at}-{column}"


def locate(param: Param, rows: Rows, rest: str, prefix: str) -> str:
    """Return the id of the cell that the rest of an error's path is about.

    An index counts the rows that are filled; a name is that of a mapping's row.
    """
    first, last = param.columns[0].name, param.columns[-1].name
    for at, row in enumerate(rows):
        if rest == f".{row[first].strip()}" and filled(param, [row]):
            return cell_id(param, prefix, at, last)
    member = rest.removeprefix(".").partition(".")[0].partition("[")[0]
    if param.rows_max == 1 and any(c.name == member for c in param.columns):
        return cell_id(param, prefix, 0, member)
    found = _INDEX.fullmatch(rest)
    if found is None:
        return cell_id(param, prefix, 0, first)
    places = [at for at, row in enumerate(rows) if filled(param, [row])]
    index = int(found["at"])
    at = places[index] if index < len(places) else max(len(rows) - 1, 0)
    names = {column.name for column in param.columns}
    column = found["column"] if found["column"] in names else first
    return cell_id(param, prefix, at, column)
