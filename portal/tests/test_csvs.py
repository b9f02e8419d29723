"""CSV files: exact, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

import pytest

from portal import csvs


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (-3, "-3"),
        (Decimal("-0.000000000012"), "-0.000000000012"),
        (Decimal("10.500000"), "10.5"),
        (dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC), "2026-03-01T12:00:00.000Z"),
        ("plain", "plain"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("a=1", "a=1"),
    ],
)
def test_a_cell_is_exact_and_never_a_formula(value: object, text: str) -> None:
    assert csvs.cell(value) == text


def test_commas_quotes_and_lines_survive() -> None:
    rows = [["a,b", 'say "hi"', "two\nlines"]]
    read = list(csv.reader(io.StringIO(csvs.render(["x", "y", "z"], rows), newline="")))
    assert read == [["x", "y", "z"], *rows]


def test_a_file_has_an_end_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csvs, "ROWS_MAX", 2)
    lines = csvs.render(["n"], ([n] for n in range(5))).splitlines()
    assert lines == ["n", "0", "1", "Cut after 2 rows: narrow the filter."]
