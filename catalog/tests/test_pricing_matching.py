"""Which charges an event touches, and what the linter says about a plan."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from catalog.pricing import lint, rate
from catalog.pricing.program import KINDS_MAX, program_of
from catalog.tests.pricing_kit import charge, event, plan_of, summed

ONE = {"model": "per_unit", "unit_amount": "1"}
TOKENS = summed("tokens")


def touched(charges: list[dict[str, Any]], **properties: str) -> list[str]:
    """Return the keys of the charges that an event with these properties touches."""
    rated = rate(plan_of(*charges), {}, event(tokens=1, properties=properties))
    return [line.charge_key for line in rated.lines]


def test_the_most_specific_charge_of_a_metric_is_used() -> None:
    charges = [
        charge("any", ONE, metric=TOKENS),
        charge("eu", ONE, metric=TOKENS, where={"region": "eu"}),
        charge("eu-a", ONE, metric=TOKENS, where={"region": "eu", "model": "a"}),
    ]
    assert touched(charges) == ["any"]
    assert touched(charges, region="eu") == ["eu"]
    assert touched(charges, region="eu", model="a") == ["eu-a"]
    assert touched(charges, region="us", model="a") == ["any"]


def test_of_equally_specific_charges_the_first_declared_is_used() -> None:
    charges = [
        charge("region", ONE, metric=TOKENS, where={"region": "eu"}),
        charge("model", ONE, metric=TOKENS, where={"model": "a"}),
    ]
    assert touched(charges, region="eu", model="a") == ["region"]


def test_an_event_touches_a_charge_of_every_metric_it_has() -> None:
    calls = {"key": "calls", "aggregation": "count"}
    charges = [charge("tokens", ONE), charge("calls", ONE, metric=calls)]
    assert touched(charges) == ["tokens", "calls"]


def test_a_list_of_values_allows_each_of_them_and_no_other() -> None:
    charges = [charge("ab", ONE, metric=TOKENS, where={"model": ["a", "b"]})]
    assert touched(charges, model="b") == ["ab"]
    assert touched(charges, model="c") == []
    assert touched(charges) == []


def test_a_metric_takes_only_its_event_types() -> None:
    metric = summed("tokens", event_types=["search"])
    plan = plan_of(charge("tokens", ONE, metric=metric))
    assert rate(plan, {}, event(tokens=1)).lines == ()
    assert len(rate(plan, {}, event(tokens=1, type="search")).lines) == 1


def test_an_event_that_touches_nothing_costs_nothing_and_changes_nothing() -> None:
    rated = rate(plan_of(charge("tokens", ONE)), {}, event(other=5))
    assert (rated.lines, rated.after, rated.unrateable) == ((), {}, None)


def test_more_kinds_of_events_than_are_remembered_are_still_matched() -> None:
    where = {"model": "wanted"}
    plan = plan_of(charge("wanted", ONE, metric=TOKENS, where=where))
    program = program_of(plan)
    for number in range(KINDS_MAX + 10):
        assert program.routes("chat", {"model": f"m{number}"}) == ()
    assert len(program.kinds) <= KINDS_MAX
    rated = rate(plan, {}, event(tokens=2, properties={"model": "wanted"}))
    assert rated.lines[0].amount == Decimal(2)


def test_the_linter_reports_charges_that_overlap() -> None:
    plan = plan_of(
        charge("region", ONE, metric=TOKENS, where={"region": "eu"}),
        charge("model", ONE, metric=TOKENS, where={"model": ["a", "b"]}),
    )
    (finding,) = lint(plan)
    assert (finding.code, finding.charges) == ("overlap", ("region", "model"))
    assert "Region is used because it comes first" in finding.message


def test_the_linter_is_content_with_charges_that_cannot_meet() -> None:
    plan = plan_of(
        charge("any", ONE, metric=TOKENS),
        charge("a", ONE, metric=TOKENS, where={"model": "a"}),
        charge("b", ONE, metric=TOKENS, where={"model": ["b", "c"]}),
        charge("calls", ONE, metric={"key": "calls", "aggregation": "count"}),
    )
    assert lint(plan) == ()


def test_the_linter_reports_a_total_priced_beside_its_parts() -> None:
    plan = plan_of(charge("input_tokens", ONE), charge("cache_read_tokens", ONE))
    (finding,) = lint(plan)
    assert finding.code == "counted_twice"
    assert finding.charges == ("input_tokens", "cache_read_tokens")


def test_a_total_and_a_part_for_different_models_are_no_double_pricing() -> None:
    plan = plan_of(
        charge("input_tokens", ONE, where={"model": "a"}),
        charge("cache_read_tokens", ONE, where={"model": "b"}),
    )
    assert lint(plan) == ()


def test_the_linter_is_content_when_a_third_charge_takes_what_two_would_match() -> None:
    two = (
        charge("batch", ONE, metric=TOKENS, where={"kind": "batch"}),
        charge("small", ONE, metric=TOKENS, where={"model": ["a", "b"]}),
    )
    both = {"kind": "batch", "model": ["a", "b"]}
    third = charge("both", ONE, metric=TOKENS, where=both)
    assert lint(plan_of(*two, third)) == ()
    half = charge("half", ONE, metric=TOKENS, where=both | {"model": "a"})
    assert [found.charges for found in lint(plan_of(*two, half))] == [
        ("batch", "small")
    ]
