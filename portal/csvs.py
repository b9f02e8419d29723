"""CSV files of what a page shows: exact figures, safe in a spreadsheet."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.http import HttpResponse

from aforo.lib import money

# The file is made in memory inside the request's transaction, so it has an end.
ROWS_MAX = 100_000
# A spreadsheet would run a cell that begins with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def cell(value: Any) -> str:
    """Return a value as a cell: exact figures, UTC times, formulas made harmless.

    A negative number keeps its minus; a text that looks like a formula gets an
    apostrophe before it, as spreadsheets themselves write it.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return money.plain(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dt.datetime):
        instant = value.astimezone(dt.UTC).isoformat(timespec="milliseconds")
        return instant.replace("+00:00", "Z")
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def render(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return the CSV text: the head and at most ROWS_MAX rows."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    for count, row in enumerate(rows):
        if count == ROWS_MAX:
            writer.writerow([f"Cut after {ROWS_MAX:,} rows: narrow the filter."])
            break
        writer.writerow([cell(value) for value in row])
    return out.getvalue()


def response(
    filename: str, head: Sequence[str], rows: Iterable[Sequence[Any]]
) -> HttpResponse:
    """Return the CSV as a download."""
    answer = HttpResponse(render(head, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    return answer
