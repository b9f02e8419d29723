"""What follows from measurements, and what contradicts itself in them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from metering.measurements import contradiction, priced


def counts(**values: int) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in values.items()}


def test_what_no_cache_held_can_be_priced_by_itself():
    found = priced(
        counts(input_tokens=1_000, cache_read_tokens=512, cache_write_tokens=88)
    )
    assert found["input_uncached_tokens"] == 400
    assert found["input_tokens"] == 1_000


def test_without_a_cache_all_input_is_uncached():
    assert priced(counts(input_tokens=7))["input_uncached_tokens"] == 7


def test_a_part_that_was_sent_stays_as_it_was_sent():
    sent = counts(input_tokens=10, input_uncached_tokens=4, cache_read_tokens=6)
    assert priced(sent) == sent


def test_events_without_input_get_no_parts():
    assert priced(counts(tool_calls=1)) == counts(tool_calls=1)


@pytest.mark.parametrize(
    "values",
    [
        {"input_tokens": 5, "cache_read_tokens": 6},
        {"output_tokens": 5, "reasoning_tokens": 6},
        {"input_tokens": 5, "output_tokens": 5, "total_tokens": 11},
    ],
)
def test_parts_above_their_total_contradict_it(values):
    assert contradiction(counts(**values))
