"""What a charge model's form is made of: boxes, and tables of rows typed cell by cell.

A table is a `Param` of kind `rows` with a `Column` for each box of a row:

    Param(
        "absorbs", "Measurements that the price covers", "rows", optional=True,
        columns=(Column("name", "Measurement", suggest="measurements"),),
    )

Its texts are `price.rows["absorbs"]`, a dict of column name to text for each row. The
form reads and writes a list of objects by itself (`rows.read_list`, `rows.write_list`);
a member that is a mapping, or that stands elsewhere, is read and written by the model's
`reader` and `writer` with the functions of `rows`. Paths of the engine's errors find
their cell: by index (`absorbs[2].name`), or by the text of the first column where the
JSON is a mapping (`tool_invocations.search`). Blank rows are ignored; a row of which a
part is blank is told at that cell.
"""

from __future__ import annotations

from dataclasses import dataclass

# As many rows as an engine's list has at most; of tools there may be more.
ROWS_MAX = 100


@dataclass(frozen=True, slots=True)
class Column:
    """One box of each row of a table."""

    name: str  # As in a row of the plan JSON.
    label: str
    # text | price | quantity | rate | factor | percent | share | count | choice
    # | span (3 days) | conditions (status = SUCCESS)
    kind: str = "text"
    optional: bool = False
    positive: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    start: str = ""  # What stands in a new row.
    suggest: str = ""  # What to offer: tools, measurements, event_types, properties.
    fixed: str = ""  # What the first row always says.

    @property
    def is_text(self) -> bool:
        """Whether words are typed, not a number or a choice."""
        return self.kind in ("text", "span", "conditions") and not self.choices


@dataclass(frozen=True, slots=True)
class Param:
    """One box of a charge model's form, or one table."""

    name: str  # As in plan JSON.
    label: str
    # A Column's kind, or rows | whole (a count from 0) | span | lines (free text)
    kind: str
    optional: bool = False
    positive: bool = False
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    start: str = ""  # What stands there first.
    columns: tuple[Column, ...] = ()  # Of rows.
    rows_max: int = ROWS_MAX
    unique: bool = False  # No two rows have the same in the first column.
    rest: str = ""  # Words for the row `*` that is always there and always last.
    # Rows that leave no gap: `ends`, the first column is where a row ends and the next
    # begins; `starts`, it is where a row begins and the one before ends.
    spans: str = ""
    path: str = ""  # Where the plan JSON has it, if not under its name.
    group: str = ""  # Heading over the boxes and tables that belong together.
    beside: str = ""  # Not optional where this other box is filled.
    needs: tuple[str, ...] = ()  # It does nothing unless one of these is filled …
    off: str = ""  # … and says why: "needs a rate of a token".

    @property
    def where(self) -> str:
        """Return the path of its member of the price."""
        return self.path or self.name

    def column(self, name: str) -> Column:
        """Return a column by its name."""
        return next(column for column in self.columns if column.name == name)
