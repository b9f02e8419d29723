"""The composer's forms of dimensions, outcomes and a charge's bounds."""

from __future__ import annotations

from typing import Any

import pytest

from portal.composer.bodies import from_body, to_body
from portal.composer.checking import check
from portal.composer.models import MODELS, write_price
from portal.composer.spelled import seconds_of, span_of
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
    "confirm": {"event_type": "review.confirmed", "within_seconds": 259200},
    "reverse": {"event_type": "review.reopened", "where": {"by": 'a "b"; c, d'}},
    "cost_budget": {"amount": "0.50", "overage_percent": "130"},
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
        (COMPOUND, "within", "soon", "a time such as 30 min"),
        (COMPOUND, "budget", "much", "no number"),
        (COMPOUND, "overage_percent", "", "blank"),
        (COMPOUND, "overage_percent", "0", "above zero"),
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


def test_conditions_of_an_outcome_as_a_whole_are_kept() -> None:
    only = {"filter": {"region": ["eu", "us"]}}
    assert to_body(posted(typed(COMPOUND, **only))) == body(COMPOUND, **only)


def test_bounds_of_a_charge_are_kept_and_judged() -> None:
    bounds = {"discount_percent": "10", "minimum": "5", "maximum": "100"}
    form = typed(DIMENSIONS, **bounds)
    assert to_body(posted(form)) == body(DIMENSIONS, **bounds)
    checked = check(posted(form, **{"bound-maximum": "1"}), {})
    assert checked.problems == {"c1-bound-maximum": "Is below the minimum."}


@pytest.mark.parametrize(
    ("table", "row", "column", "text", "message"),
    [
        ("requirements", 1, "event_type", "", "blank. type it"),
        ("requirements", 1, "at_least", "none", "whole number"),
        ("requirements", 1, "at_least", "1001", "from 1 to 1,000"),
        ("requirements", 1, "where", "status", "is no condition"),
        ("requirements", 1, "where", "a = 1; a = 2", "has a condition already"),
        ("confirm", 0, "within_seconds", "soon", "a time such as 30 min"),
        ("confirm", 0, "within_seconds", "40 days", "from 1 to 2,678,400"),
        ("reverse", 0, "event_type", "", "blank"),
        ("absorbs", 1, "name", "input_tokens", "stands above"),
    ],
)
def test_a_wrong_cell_is_told_at_its_box_and_kept(
    table: str, row: int, column: str, text: str, message: str
) -> None:
    form = typed(COMPOUND)
    texts = [one[column] for one in form.charges[0].price.rows[table]]
    texts[row] = text
    sent = posted(form, **{f"{table}-{column}": texts})
    checked = check(sent, {})
    assert checked.plan is None
    assert message in checked.problems[f"c1-{table}-{row}-{column}"].lower()
    # What was typed is there again after saving.
    again = from_body(to_body(sent), limits={}, prorate=False).charges[0].price
    assert again.rows[table][row][column] == text


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("1800", 1800, "30 minutes"),
        ("30 min", 1800, "30 minutes"),
        ("3 d", 259200, "3 days"),
        ("3 Days", 259200, "3 days"),
        ("90 s", 90, "90 seconds"),
        ("1,800", 1800, "30 minutes"),
        ("1 hour", 3600, "1 hour"),
        ("2 weeks", "2 weeks", "2 weeks"),
        ("", "", ""),
    ],
)
def test_times_are_typed_as_people_say_them(
    text: str, seconds: int | str, shown: str
) -> None:
    assert seconds_of(text) == seconds
    assert span_of(seconds) == shown


def test_an_outcome_begins_with_one_row_to_type_into() -> None:
    form = MODELS["compound"].start()
    shown = composer_kit.read(body(write_price(form)))
    (piece,) = shown.charges[0].price.rows["requirements"]
    assert piece == {"event_type": "", "at_least": "1", "where": ""}
    problems = check(shown, {}).problems
    assert "no row is filled in" in problems["c1-requirements-0-event_type"]
