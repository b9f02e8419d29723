"""Tables of rows in the composer's form: read, posted, judged, and without scripts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aforo.lib.money import plain
from portal.composer import rows
from portal.composer.acts import act
from portal.composer.bodies import from_body, to_body
from portal.composer.checking import check
from portal.composer.models import MODELS
from portal.composer.params import Column, Param
from portal.composer.shown import Shower
from portal.composer.typed import Typed
from portal.tests import composer_kit
from portal.tests.composer_kit import tables_of
from portal.tests.test_composer_agentic import DIMENSIONS, body

FULL: dict[str, Any] = DIMENSIONS | {
    "tool_invocations": {"search": "0.10", "write": "0.05", "*": "0.002"},
    "volume_tiers": [
        {"min_invocations": 0, "rate": "0.10"},
        {"min_invocations": 10000, "rate": "0.08"},
    ],
    "duration_buckets": [
        {"max_seconds": "60", "rate": "0.10"},
        {"max_seconds": "300", "rate": "0.50"},
    ],
}
LIST = Param(
    "parts",
    "Parts",
    "rows",
    columns=(
        Column("name", "Name"),
        Column("size", "Size", "count", positive=True),
        Column("kind", "Kind", "choice", choices=(("a", "A"), ("b", "B"))),
        Column("fee", "Fee", "price", optional=True),
    ),
)


def typed(price: dict[str, Any]) -> Typed:
    """Return a plan as the form has it."""
    return from_body(body(price), limits={}, prorate=False)


def posted(form: Typed, **changed: str | list[str]) -> Typed:
    """Return the form as a browser posts it, some boxes changed."""
    return composer_kit.posted(form, **{f"c1-{n}": text for n, text in changed.items()})


def price_of(form: Typed) -> dict[str, Any]:
    """Return the plan JSON of the only price."""
    (charge,) = to_body(form)["charges"]
    price: dict[str, Any] = charge["price"]
    return price


def problems(form: Typed) -> dict[str, str]:
    """Return what is wrong, by box."""
    return check(form, {}).problems


def test_every_part_of_dimensions_survives_the_form() -> None:
    form = typed(FULL)
    assert form.charges[0].price.model == "dimensions"
    assert price_of(posted(form)) == FULL
    assert problems(posted(form)) == {}


names = st.text(
    st.characters(categories=["L", "N", "P"], exclude_characters=":"), min_size=1
).map(str.strip)
amounts = st.decimals(0, 1000, places=6, allow_nan=False).map(plain)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(st.dictionaries(names, amounts, max_size=8))
def test_any_names_and_rates_survive_the_form(rates: dict[str, str]) -> None:
    form = posted(typed({"model": "dimensions", "tool_invocations": rates}))
    assert price_of(form)["tool_invocations"] == rates


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "", "*"]), amounts), max_size=6))
def test_no_row_is_lost_whatever_it_is_called(pairs: list[tuple[str, str]]) -> None:
    form = posted(
        typed(DIMENSIONS),
        **{
            "tool_invocations-name": [name for name, _ in pairs],
            "tool_invocations-rate": [rate for _, rate in pairs],
        },
    )
    again = posted(typed(price_of(form)))
    kept = price_of(again)["tool_invocations"]
    found = kept.items() if isinstance(kept, dict) else kept
    assert sorted(map(tuple, found)) == sorted(pairs)


def test_a_row_for_other_tools_is_always_last() -> None:
    form = typed({"model": "dimensions", "tool_invocations": {"*": "1", "zip": "2"}})
    table = form.charges[0].price.rows["tool_invocations"]
    assert [row["name"] for row in table] == ["zip", "*"]
    act(form, "c1.rows.tool_invocations.add")
    table = form.charges[0].price.rows["tool_invocations"]
    assert [row["name"] for row in table] == ["zip", "", "*"]
    act(form, "c1.rows.tool_invocations.2.remove")  # Which cannot be removed.
    assert table[-1] == {"name": "*", "rate": "1"}


def test_rows_are_added_and_removed_by_buttons_of_the_server() -> None:
    form = typed(FULL)
    focus = act(form, "c1.rows.duration_buckets.add")
    assert focus == "c1-duration_buckets-2-max_seconds"
    assert len(form.charges[0].price.rows["duration_buckets"]) == 3
    act(form, "c1.rows.duration_buckets.0.remove")
    assert price_of(form)["duration_buckets"] == [
        {"max_seconds": "300", "rate": "0.50"}
    ]
    for _ in range(3):
        act(form, "c1.rows.duration_buckets.0.remove")
    assert form.charges[0].price.rows["duration_buckets"] == [
        {"max_seconds": "", "rate": ""}
    ]
    assert act(form, "c1.rows.nothing.add") == ""
    assert act(form, "c1-o.rows.duration_buckets.add") == ""


def test_ends_are_derived_so_gaps_cannot_be_typed() -> None:
    (charge,) = Shower(typed(FULL), {}, [], fixed_keys=frozenset()).charges()
    tables = {table.id: table for table in tables_of(charge.price)}
    ends = [row.derived for row in tables["c1-duration_buckets"].rows]
    starts = [row.derived for row in tables["c1-volume_tiers"].rows]
    assert (ends, starts) == (["0", "60"], ["10,000", "∞"])
    assert tables["c1-volume_tiers"].rows[0].cells[0].is_fixed
    form = typed(FULL)
    act(form, "c1.rows.volume_tiers.0.remove")
    assert price_of(form)["volume_tiers"] == [{"min_invocations": 0, "rate": "0.08"}]


@pytest.mark.parametrize(
    ("boxes", "at", "message"),
    [
        (
            {"tool_invocations-rate": ["free", "1", ""]},
            "tool_invocations-0-rate",
            "Rate of a call in row 1 “free” is no number.",
        ),
        (
            {"tool_invocations-rate": ["1", "", ""]},
            "tool_invocations-1-rate",
            "Rate of a call in row 2 is blank. Type a number.",
        ),
        (
            {"tool_invocations-rate": ["1", "1", "x"]},
            "tool_invocations-2-rate",
            "Rate of a call in the row of other tools “x” is no number.",
        ),
        (
            {"tool_invocations-name": ["a", "a", "*"]},
            "tool_invocations-1-name",
            "a stands above. Give it one row.",
        ),
        (
            {"tool_invocations-name": ["a", "b:c", "*"]},
            "tool_invocations-1-rate",
            "A name holds no colon.",
        ),
        (
            {"duration_buckets-max_seconds": ["60", "30"]},
            "duration_buckets-1-max_seconds",
            "Must be above 60.",
        ),
        (
            {"volume_tiers-min_invocations": ["0", "some"]},
            "volume_tiers-1-min_invocations",
            "From calls in row 2 is a whole number from 0; you entered some.",
        ),
        (
            {"volume_discounts-percent": ["101"]},
            "volume_discounts-0-percent",
            "At most 100.",
        ),
        (
            {"volume_discounts-percent": ["1.23456"]},
            "volume_discounts-0-percent",
            "Discount in % in row 1 needs at most 4 decimals; you entered 5.",
        ),
        (
            {"error_threshold": "100"},
            "error_threshold",
            "failed calls above, in % must be below 100; you entered 100.",
        ),
        (
            {"error_multiplier": ""},
            "error_multiplier",
            "Then the session costs times is blank. Type a number.",
        ),
        (
            {"error_multiplier": "0.5"},
            "error_multiplier",
            "A penalty multiplies by 1 or more.",
        ),
        (
            {"tool_multipliers-factor": ["0.0000001234567"]},
            "tool_multipliers-0-factor",
            "needs at most 12 decimals",
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_cell(
    boxes: dict[str, Any], at: str, message: str
) -> None:
    form = posted(typed(FULL), **boxes)
    told = problems(form)
    assert list(told) == [f"c1-{at}"]
    assert message in told[f"c1-{at}"]
    # What was typed comes back when the draft is opened again.
    assert price_of(posted(typed(price_of(form)))) == price_of(form)


def test_blank_rows_are_ignored_and_errors_find_the_row_on_the_page() -> None:
    changed = {
        "duration_buckets-max_seconds": ["60", "", "30"],
        "duration_buckets-rate": ["1", "", "2"],
    }
    told = problems(posted(typed(FULL), **changed))
    assert told == {"c1-duration_buckets-2-max_seconds": "Must be above 60."}


def test_an_error_rate_is_typed_in_percent() -> None:
    form = posted(typed(FULL), error_threshold="7.5")
    assert price_of(form)["error_rate_penalties"]["threshold"] == "0.075"
    assert typed(price_of(form)).charges[0].price.values["error_threshold"] == "7.5"


@pytest.mark.parametrize(
    ("price", "off"),
    [
        (
            {"model": "dimensions", "tool_invocations": {}},
            [
                "tool_multipliers",
                "duration_unit",
                "included_tool_count",
                "error_threshold",
                "error_multiplier",
                "volume_discounts",
            ],
        ),
        (
            {"model": "dimensions", "tool_invocations": {"*": "1"}},
            ["tool_multipliers", "duration_unit", "included_tool_count"],
        ),
        (FULL, []),
    ],
    ids=["empty", "one rate", "full"],
)
def test_parts_that_do_not_apply_are_off_and_say_why(
    price: dict[str, Any], off: list[str]
) -> None:
    (charge,) = Shower(typed(price), {}, [], fixed_keys=frozenset()).charges()
    parts = [part for section in charge.price.sections for part in section.parts]
    found = [part for part in parts if part.is_off]
    assert [part.id.removeprefix("c1-") for part in found] == off
    assert all(part.off and part.needs for part in found)


def test_what_holds_something_is_never_turned_off() -> None:
    price = {"model": "dimensions", "tool_invocations": {}, "included_tool_count": 5}
    (charge,) = Shower(typed(price), {}, [], fixed_keys=frozenset()).charges()
    parts = [part for section in charge.price.sections for part in section.parts]
    (part,) = [part for part in parts if part.id == "c1-included_tool_count"]
    assert (part.is_idle, part.is_off) == (True, False)


def test_a_list_of_objects_needs_no_code_of_its_own() -> None:
    data = [
        {"name": "x", "size": 3, "kind": "b"},
        {"name": "y", "size": 1, "kind": "a", "fee": "0.5"},
    ]
    table = rows.read_list(LIST, data)
    assert table is not None
    assert rows.write_list(LIST, table) == data
    assert list(rows.problems(LIST, table, "c1")) == []
    assert rows.read_list(LIST, [{"other": 1}]) is None
    assert rows.read_list(LIST, "x") is None
    wrong = rows.settled(LIST, [{"name": "", "size": "0", "kind": "z", "fee": ""}])
    assert [box for box, _ in rows.problems(LIST, wrong, "c1")] == [
        "c1-parts-0-name",
        "c1-parts-0-size",
        "c1-parts-0-kind",
    ]
    assert [text for _, text in rows.problems(LIST, [], "c1")] == [
        "Parts: no row is filled in."
    ]


def test_another_model_starts_with_a_row_to_type_into() -> None:
    price = MODELS["dimensions"].start()
    assert {name: len(table) for name, table in price.rows.items()} == {
        "tool_invocations": 2,
        "volume_tiers": 1,
        "token_multipliers": 1,
        "tool_multipliers": 1,
        "duration_buckets": 1,
        "volume_discounts": 1,
    }
