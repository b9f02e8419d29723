"""Ids: time-ordered inside, prefixed outside."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aforo.lib import ids


@given(st.uuids())
def test_the_outside_form_leads_back_to_the_id(value: uuid.UUID) -> None:
    assert ids.parse_public("cus", ids.public("cus", value)) == value


@given(st.text(max_size=40))
def test_no_other_text_is_an_id(text: str) -> None:
    found = ids.parse_public("cus", text)
    assert found is None or ids.public("cus", found) == text


@pytest.mark.parametrize(
    "text",
    ["", "cus_", "cus", "agt_" + "a" * 26, "cus_" + "1" * 26, "cus_" + "A" * 26],
)
def test_near_misses_are_refused(text: str) -> None:
    assert ids.parse_public("cus", text) is None


def test_later_ids_sort_after_earlier_ones() -> None:
    made = [ids.new_id() for _ in range(1000)]
    assert made == sorted(made)
