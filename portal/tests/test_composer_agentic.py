"""The composer's forms of dimensions, outcomes and a charge's bounds."""

from __future__ import annotations

from typing import Any

import pytest

from portal.composer.bodies import from_body, to_body
from portal.composer.checking import check
from portal.composer.typed import Typed
from portal.tests import composer_kit

DIMENSIONS: dict[str, Any] = {
    "model": "dimensions",
    "tool_invocations": {"transform schema": "0.10", "*": "0.002"},
    "token_multipliers": {"output_tokens": "0.000002"},
    "tool_multipliers": {"transform schema": "2.0"},
    "duration_buckets": {
        "unit": "per_second",
        "buckets": [{"max_seconds": "60", "rate": "0.10"}],
    },
    "error_rate_penalties": {"threshold": "0.05", "multiplier": "1.5"},
    "volume_discounts": [{"min_invocations": 1000, "percent": "10"}],
    "base_session_fee": "5",
    "included_tool_count": 100,
}
COMPOUND: dict[str, Any] = {
    "model": "compound",
    "outcome": {
        "all": [
            {"event_type": "doc.parsed"},
            {
                "event_type": "llm.completion",
                "at_least": 2,
                "where": {"status": ["SUCCESS", "OK then"], "region": "eu"},
            },
        ],
        "by": "session",
        "within_seconds": 1800,
    },
    "price": {"model": "per_unit", "unit_amount": "0.85"},
    "absorbs": ["input_tokens", "vector_lookups"],
}


def body(price: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a plan of one charge."""
    charge = {"key": "work", "name": "Work", "price": price, **more}
    return {"currency": "USD", "charges": [charge]}


def typed(price: dict[str, Any], **more: Any) -> Typed:
    """Return a plan as the form has it."""
    return from_body(body(price, **more), limits={}, prorate=False)


def posted(form: Typed, **changed: str | list[str]) -> Typed:
    """Return the form as a browser posts it, some boxes changed."""
    return composer_kit.posted(form, **{f"c1-{n}": text for n, text in changed.items()})


@pytest.mark.parametrize("price", [DIMENSIONS, COMPOUND], ids=["dimensions", "outcome"])
def test_the_form_keeps_every_part_of_a_price(price: dict[str, Any]) -> None:
    form = typed(price)
    assert form.charges[0].price.model == price["model"]
    assert to_body(form) == body(price)
    assert to_body(posted(form)) == body(price)
    checked = check(posted(form), {})
    assert checked.problems == {}
    assert checked.plan is not None


@pytest.mark.parametrize(
    ("price", "box", "text", "message"),
    [
        (DIMENSIONS, "included_tool_count", "many", "whole number"),
        (DIMENSIONS, "base_session_fee", "-1", "below zero"),
        (COMPOUND, "outcome", "", "blank"),
        (COMPOUND, "outcome", "doc.parsed none", "whole number"),
        (COMPOUND, "within_seconds", "soon", "whole number"),
    ],
)
def test_a_wrong_line_is_told_at_its_box(
    price: dict[str, Any], box: str, text: str, message: str
) -> None:
    checked = check(posted(typed(price), **{box: text}), {})
    assert checked.plan is None
    assert message in checked.problems[f"c1-{box}"].lower()


def test_what_no_form_can_show_is_kept_as_json() -> None:
    odd = {"model": "dimensions", "tool_invocations": {}, "moon_phase": {"full": "1"}}
    form = typed(odd)
    assert form.charges[0].price.model == "json"
    assert to_body(form) == body(odd)


def test_bounds_of_a_charge_are_kept_and_judged() -> None:
    bounds = {"discount_percent": "10", "minimum": "5", "maximum": "100"}
    form = typed(DIMENSIONS, **bounds)
    assert to_body(posted(form)) == body(DIMENSIONS, **bounds)
    checked = check(posted(form, **{"bound-maximum": "1"}), {})
    assert checked.problems == {"c1-bound-maximum": "Is below the minimum."}
