"""Labels of units in one and in many."""

from __future__ import annotations

import pytest

from catalog.units import many, one


@pytest.mark.parametrize(
    ("single", "several"),
    [
        ("token", "tokens"),
        ("look-up", "look-ups"),
        ("query", "queries"),
        ("day", "days"),
        ("access", "accesses"),
        ("GB", "GB"),
        ("", ""),
    ],
)
def test_units_have_one_form_for_one_and_another_for_many(single, several):
    assert many(single) == many(several) == several


@pytest.mark.parametrize(
    ("unit", "single"),
    [("tokens", "token"), ("queries", "query"), ("access", "access")],
)
def test_one_of_many(unit, single):
    assert one(unit) == single
