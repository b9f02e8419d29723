"""The composer's form: plan JSON to texts and back, and what is wrong in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aforo.lib.money import plain
from catalog.pricing import parse_plan, plan_to_json
from portal.composer.bodies import to_body
from portal.composer.checking import check
from portal.composer.models import MODELS
from portal.composer.typed import JSON_MODEL, join_values, split_values
from portal.tests.composer_kit import (
    EACH,
    METRICS,
    PRICES,
    TIERS,
    body_of,
    posted,
    read,
)


@pytest.mark.parametrize("price", PRICES, ids=lambda p: str(p)[:50])
def test_every_model_is_read_shown_posted_and_written_alike(price) -> None:
    body = body_of(price)
    typed = read(body)
    assert typed.charges[0].price.model == price["model"]
    assert to_body(typed) == body
    again = posted(typed)
    assert to_body(again) == body
    checked = check(again, METRICS)
    assert checked.problems == {}
    assert checked.plan is not None
    metric = {"key": "tokens", "aggregation": "sum", "measurement": "tokens"}
    for charge in body["charges"]:
        if "metric" in charge:
            charge["metric"] = metric
    assert plan_to_json(checked.plan) == plan_to_json(parse_plan(body))


def test_every_model_has_a_price_here() -> None:
    # The forms of agents' prices are tested beside them.
    others = {"dimensions", "compound", "recipe"}
    assert {price["model"] for price in PRICES} | others == set(MODELS)


amounts = st.decimals(0, 10**8, places=12, allow_nan=False).map(plain)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    ends=st.sets(st.integers(1, 10**12), max_size=8),
    prices=st.lists(amounts, min_size=9, max_size=9),
    model=st.sampled_from(["graduated", "volume"]),
)
def test_any_tiers_survive_the_form(ends, prices, model) -> None:
    tops = [str(end) for end in sorted(ends)]
    tiers = [
        {"up_to": top, "unit_amount": price}
        for top, price in zip([*tops, None], prices, strict=False)
    ]
    body = body_of({"model": model, "tiers": tiers})
    again = posted(read(body))
    assert to_body(again) == body
    assert check(again, METRICS).problems == {}


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)))
def test_any_values_of_a_condition_survive_a_box(values) -> None:
    assert split_values(join_values(values)) == values


def test_a_price_without_a_form_is_kept_as_json() -> None:
    strange = {"model": "by_moonlight", "phases": [1, 2]}
    typed = read(body_of(strange, EACH))
    assert typed.charges[0].price.model == JSON_MODEL
    again = posted(typed)
    assert to_body(again) == body_of(strange, EACH)
    checked = check(again, METRICS)
    (problem,) = checked.problems.items()
    assert problem[0] == "c1-json"
    assert "y_moonlight is none of" in problem[1]
    wrong = posted(typed, **{"c1-json": "{no json"})
    assert to_body(wrong)["charges"][0]["price"] == "{no json"
    assert "c1-json" in check(wrong, METRICS).problems


def test_a_draft_keeps_what_makes_no_sense_yet() -> None:
    wrong = {"model": "per_unit", "unit_amount": "abc"}
    body = {"currency": "USD", "charges": [{"key": "k", "name": "", "price": wrong}]}
    assert to_body(posted(read(body))) == body


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"charges": None},
        {"charges": ["x", {}]},
        {"charges": [{"price": 5, "metric": {}, "filter": []}]},
        {"charges": [{"price": {"model": "graduated", "tiers": "x"}}]},
        {"charges": [{"price": {"model": "included", "units": "1"}}]},
        {"charges": [{"price": {"model": "package", "size": None, "price": None}}]},
    ],
)
def test_any_stored_draft_can_be_opened_and_shown(body) -> None:
    typed = read(body)
    posted(typed)
    check(typed, METRICS)


def first(price: dict[str, Any], **changes: Any) -> tuple[str, str]:
    """Return box and words of the first problem of a price after changes."""
    checked = check(posted(read(body_of(price)), **changes), METRICS)
    assert checked.plan is None
    return next(iter(checked.problems.items()))


GRADUATED = {"model": "graduated", "tiers": TIERS}
FEES = PRICES[9]


@pytest.mark.parametrize(
    ("price", "changes", "box", "words"),
    [
        (
            GRADUATED,
            {"c1-up_to": ["10,000", "50", ""]},
            "c1-tier-1-up_to",
            "Tier 2 must end above 10,000, where tier 1 ends. Try 50,000.",
        ),
        (
            GRADUATED,
            {"c1-up_to": ["0", "50", ""]},
            "c1-tier-0-up_to",
            "Tier 1 must end above 0. Try 1,000.",
        ),
        (
            GRADUATED,
            {"c1-up_to": ["", "50", ""]},
            "c1-tier-0-up_to",
            "End of tier 1 is blank. Type a number.",
        ),
        (
            GRADUATED,
            {"c1-unit_amount": ["1", "", "1"]},
            "c1-tier-1-unit_amount",
            "Tier 2 price is blank. Type a number.",
        ),
        (
            GRADUATED,
            {"c1-flat_amount": ["x", "", ""]},
            "c1-tier-0-flat_amount",
            "Tier 1 flat amount “x” is no number.",
        ),
        (
            EACH,
            {"c1-unit_amount": "0.00000000000001", "c1-per": "1"},
            "c1-unit_amount",
            "Price needs at most 12 decimals; you entered 14.",
        ),
        (
            EACH,
            {"c1-unit_amount": "0.0000001"},
            "c1-unit_amount",
            "Price per 1,000,000 needs at most 6 decimals",
        ),
        (EACH, {"c1-unit_amount": "0,05"}, "c1-unit_amount", "Type 0.05."),
        (EACH, {"c1-unit_amount": "-1"}, "c1-unit_amount", "must not be below zero"),
        (EACH, {"c1-unit_amount": "1e"}, "c1-unit_amount", "is no number"),
        (
            EACH,
            {"c1-unit_amount": "1000000000"},
            "c1-unit_amount",
            "Price must be below 1,000,000,000; you entered 1000000000.",
        ),
        (EACH, {"c1-per": "7"}, "c1-per", "choose one of the list"),
        (EACH, {"c1-name": " "}, "c1-name", "Name is blank."),
        (EACH, {"c1-metric": ""}, "c1-metric", "No metric is chosen."),
        (EACH, {"c1-metric": "x"}, "c1-metric", "There is no metric x."),
        (EACH, {"c1-key": "No good"}, "c1-key", "Small letters, digits"),
        (EACH, {"c1-name": "x" * 300}, "c1-name", "At most 200 characters."),
        (EACH, {"c1-unit": "u" * 50}, "c1-unit", "At most 40 characters."),
        (
            EACH,
            {"c1-filter_property": "", "c1-filter_values": "batch"},
            "c1-filter-0-property",
            "Property is blank.",
        ),
        (
            EACH,
            {"c1-filter_property": "kind", "c1-filter_values": " , "},
            "c1-filter-0-values",
            "Values are blank.",
        ),
        (
            EACH,
            {"c1-filter_property": ["a", "a"], "c1-filter_values": ["1", "2"]},
            "c1-filter-1-property",
            "a has a condition above.",
        ),
        (
            EACH,
            {"c1-filter_property": "a", "c1-filter_values": "v" * 300},
            "c1-filter-0-values",
            "At most 256 characters.",
        ),
        (
            PRICES[4],
            {"c1-size": "0"},
            "c1-size",
            "Units in a package must be above zero; you entered 0.",
        ),
        (
            PRICES[4],
            {"c1-o-unit_amount": "x"},
            "c1-o-unit_amount",
            "Price “x” is no number.",
        ),
        (
            PRICES[6],
            {"c1-o-unit_amount": ""},
            "c1-o-unit_amount",
            "Price is blank. Type a number.",
        ),
        (FEES, {"c1-free_events": "2000"}, "c1-free_events", "from 1 to 1,000"),
        (FEES, {"c1-free_events": "1.5"}, "c1-free_events", "a whole number"),
        (FEES, {"c1-free_events": ""}, "c1-free_amount", "give free_events too"),
        (FEES, {"c1-maximum": "0.1"}, "c1-maximum", "Is below the minimum."),
        (
            PRICES[10],
            {"c1-due": "never"},
            "c1-due",
            "Posted: choose one of the list.",
        ),
    ],
)
def test_what_is_wrong_is_said_at_its_box(price, changes, box, words) -> None:
    found = first(price, **changes)
    assert found[0] == box
    assert words in found[1]


def test_all_problems_are_found_at_once() -> None:
    typed = posted(
        read(body_of(GRADUATED, EACH)),
        **{"c1-unit_amount": ["", "x", "1"], "c2-name": "", "c2-unit_amount": "-"},
    )
    checked = check(typed, METRICS)
    assert list(checked.problems) == [
        "c1-tier-0-unit_amount",
        "c1-tier-1-unit_amount",
        "c2-name",
        "c2-unit_amount",
    ]
    assert checked.summary[0][1] == "Charge 0: Tier 1 price is blank. Type a number."


def test_two_charges_with_one_key_are_told_apart() -> None:
    typed = posted(read(body_of(EACH, EACH)), **{"c2-key": "k0"})
    problems = check(typed, METRICS).problems
    assert problems == {"c2-key": "Another charge already has the key k0."}


@pytest.mark.parametrize(
    ("changes", "box"),
    [
        ({"requests_per_minute": "many"}, "requests_per_minute"),
        ({"tokens_per_minute": "-5"}, "tokens_per_minute"),
        ({"spend_cap": "1e"}, "spend_cap"),
        (
            {"quota_metric": "x", "quota_limit": "5", "quota_on_exceed": "deny"},
            "quota-0-metric",
        ),
        (
            {"quota_metric": "tokens", "quota_limit": "", "quota_on_exceed": "deny"},
            "quota-0-limit",
        ),
        (
            {"quota_metric": "tokens", "quota_limit": "5", "quota_on_exceed": "?"},
            "quota-0-on_exceed",
        ),
    ],
)
def test_wrong_limits_are_said_at_their_boxes(changes, box) -> None:
    assert list(check(posted(read(body_of(EACH)), **changes), METRICS).problems) == [
        box
    ]


def test_limits_are_read_as_the_guard_takes_them() -> None:
    typed = posted(
        read(body_of(EACH)),
        requests_per_minute="1,000",
        spend_cap="$25.00",
        quota_metric=["tokens", ""],
        quota_limit=["1 000 000", ""],
        quota_on_exceed=["bill", "deny"],
    )
    assert check(typed, METRICS).problems == {}
    assert typed.limits == {
        "requests_per_minute": 1000,
        "tokens_per_minute": None,
        "spend_cap": "25.00",
        "quotas": [{"metric": "tokens", "limit": 1000000, "on_exceed": "bill"}],
    }
