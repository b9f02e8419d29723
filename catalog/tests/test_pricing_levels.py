"""Spend levels: what was spent before decides at which price an event is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from catalog.describe import describe
from catalog.difference import Terms, compare
from catalog.price_list import levels as level_rows
from catalog.price_list import prices, public_json
from catalog.pricing import (
    Plan,
    PlanError,
    Purchase,
    Standing,
    UsageEvent,
    group_of,
    groups_of,
    lint,
    parse_plan,
    plan_to_json,
    rate_by_level,
    rate_many,
    rate_period,
)
from catalog.pricing.bulk import Layout, Tabulation
from catalog.tests.pricing_kit import START, amount, charge, event, priced, tiers

Json = dict[str, Any]
LEVELS: list[Json] = [
    {"key": "free", "name": "Free"},
    {"key": "build", "name": "Build", "credits_from": "5"},
    {"key": "scale", "name": "Scale", "spend_from": "50"},
    {"key": "enterprise", "name": "Enterprise"},
]
TOKENS = {"key": "tokens", "aggregation": "sum", "measurement": "tokens"}


def each(unit_amount: str) -> Json:
    """Return a price by the unit."""
    return {"model": "per_unit", "unit_amount": unit_amount}


def row(key: str, unit_amount: str, *levels: str) -> Json:
    """Return a charge on tokens, perhaps for some levels only."""
    where = {"spend_level": list(levels)} if levels else None
    return charge(key, each(unit_amount), metric=TOKENS, where=where)


BODY: Json = {
    "currency": "USD",
    "levels": LEVELS,
    "charges": [
        row("list", "1"),
        row("build", "0.80", "build"),
        row("scale", "0.50", "scale", "enterprise"),
    ],
}


def plan(**changes: Any) -> Plan:
    """Return the plan with changes to its JSON."""
    return parse_plan({**BODY, **changes})


def used(number: int, tokens: str, **more: Any) -> UsageEvent:
    """Return an event with tokens; its number is its minute."""
    return event(number, tokens=tokens, **more)


def story(model: Plan, tokens: Sequence[str], standing: Standing) -> list[Any]:
    """Return level and amount of each event."""
    events = [used(n, text) for n, text in enumerate(tokens)]
    rated = rate_by_level(model, {}, events, standing)
    return [
        (level, amount(priced([outcome])))
        for level, outcome in zip(rated.levels, rated.outcomes, strict=True)
    ]


def test_the_event_that_reaches_a_level_pays_the_old_price_the_next_one_the_new():
    assert story(plan(), ["49.99", "0.01", "10"], Standing()) == [
        ("free", Decimal("49.99")),
        ("free", Decimal("0.01")),  # Reaches 50.
        ("scale", Decimal("5")),
    ]


def test_what_was_spent_before_in_the_period_counts():
    found = story(plan(), ["1", "1"], Standing(spend=Decimal("49.5")))
    assert found == [("free", Decimal("1")), ("scale", Decimal("0.5"))]
    # Another period begins at nothing.
    assert story(plan(), ["1"], Standing()) == [("free", Decimal("1"))]


def test_bought_credits_count_for_the_events_after_them():
    bought = (
        Purchase(START + timedelta(minutes=1), Decimal("4.99")),
        Purchase(START + timedelta(minutes=3), Decimal("0.01")),
    )
    found = story(plan(), ["1"] * 5, Standing(purchases=bought))
    assert [level for level, _ in found] == ["free"] * 3 + ["build"] * 2


def test_a_level_given_by_hand_is_met_and_a_higher_one_can_still_be_reached():
    assert story(plan(), ["1"], Standing(given="enterprise")) == [
        ("enterprise", Decimal("0.5"))
    ]
    found = story(plan(), ["70", "1"], Standing(given="build"))
    assert found == [("build", Decimal("56")), ("scale", Decimal("0.5"))]
    # One that the plan does not have counts for nothing.
    assert story(plan(), ["1"], Standing(given="gone"))[0][0] == "free"


def test_spend_that_falls_can_leave_a_level_again():
    volume = {"model": "volume", "tiers": tiers(("50", "1"), (None, "0.10"))}
    body = [charge("list", volume, metric=TOKENS), row("scale", "0.5", "scale")]
    found = story(plan(charges=body), ["49", "2", "1"], Standing())
    # 51 units at $0.10 are $5.10: the second event gives back.
    assert [value for _, value in found] == [Decimal(x) for x in ("49", "-43.9", "0.1")]
    found = story(plan(charges=body), ["50", "2", "1"], Standing())
    assert [level for level, _ in found] == ["free", "scale", "scale"]


def test_what_a_client_says_of_its_level_counts_for_nothing():
    lie = used(1, "1", properties={"spend_level": "enterprise"})
    rated = rate_by_level(plan(), {}, [lie])
    assert rated.levels == ["free"]
    assert amount(priced(rated.outcomes)) == 1


def test_an_event_that_cannot_be_priced_spends_nothing():
    rated = rate_by_level(plan(), {}, [used(1, "60"), used(2, "-1"), used(3, "1")])
    assert rated.levels == ["free", "scale", "scale"]
    assert rated.spend == Decimal("60.5")


def test_a_period_is_priced_in_the_order_of_time():
    events = [used(3, "1"), used(1, "60"), used(2, "1")]
    outcomes, state = rate_period(plan(), events)
    assert amount(priced(outcomes)) == 61
    assert set(state) == {"list", "scale"}
    plain = plan(levels=[], charges=[row("list", "1")])
    assert rate_period(plain, events) == rate_many(plain, {}, events)


def test_sessions_windows_and_discounts_go_with_levels():
    """A session that crosses a level is a session of each charge."""
    fee = {"model": "dimensions", "base_session_fee": "30"}
    charges = [
        {"key": "list", "name": "List", "price": fee},
        {
            "key": "scale",
            "name": "Scale",
            "price": {**fee, "base_session_fee": "10"},
            "filter": {"spend_level": "scale"},
        },
    ]
    model = plan(charges=charges)
    events = [
        used(n, "1")._replace(session=name)
        for n, name in enumerate(["aa", "bb", "bb", "cc"])
    ]
    rated = rate_by_level(model, {}, events)
    spent = [amount(priced([outcome])) for outcome in rated.outcomes]
    assert spent == [30, 30, 10, 10]
    assert {key for key in rated.after if group_of(key)} == {
        "list/aa", "list/bb", "scale/bb", "scale/cc",
    }  # fmt: skip
    assert groups_of(model, events[:1]) == {"list/aa", "scale/aa"}


def test_nothing_is_added_up_in_bulk_where_levels_decide():
    table = Tabulation(Layout.of([plan(), plan(levels=[], charges=[row("a", "1")])]))
    table.add([used(1, "60"), used(2, "1")])
    levelled, plain = table.states()
    assert levelled is None
    assert plain is not None


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"levels": {}}, "wrong_type", "levels"),
        ({"levels": [{"key": "a"}]}, "missing_key", "levels[0]"),
        ({"levels": [{"key": "A", "name": "A"}]}, "invalid_key", "levels[0].key"),
        ({"levels": [*LEVELS, LEVELS[3]]}, "duplicate_level", "levels[4].key"),
        ({"levels": LEVELS[2:]}, "unsupported", "levels[0].spend_from"),
        (
            {"levels": [*LEVELS, {"key": "top", "name": "Top", "spend_from": "50"}]},
            "levels_not_increasing",
            "levels[4].spend_from",
        ),
        (
            {
                "levels": [
                    LEVELS[0],
                    {"key": "x", "name": "X", "spend_from": "1", "credits_from": "1"},
                ]
            },
            "unsupported",
            "levels[1].credits_from",
        ),
        (
            {"levels": [LEVELS[0], {"key": "x", "name": "X", "spend_from": "0"}]},
            "out_of_range",
            "levels[1].spend_from",
        ),
        (
            {"charges": [row("a", "1", "gold")]},
            "unknown_level",
            "charges[0].filter.spend_level",
        ),
        (
            {"levels": [], "charges": [row("a", "1", "scale")]},
            "unknown_level",
            "charges[0].filter.spend_level",
        ),
        (
            {
                "charges": [
                    {
                        "key": "a",
                        "name": "A",
                        "price": {
                            "model": "compound",
                            "outcome": {
                                "all": [
                                    {
                                        "event_type": "x",
                                        "where": {"spend_level": "scale"},
                                    }
                                ]
                            },
                            "price": each("1"),
                        },
                    }
                ]
            },
            "unsupported",
            "charges[0].price.outcome.all[0].where.spend_level",
        ),
    ],
)
def test_levels_that_mean_nothing_are_refused(changes: Json, code: str, path: str):
    with pytest.raises(PlanError) as caught:
        plan(**changes)
    assert (caught.value.code, caught.value.path) == (code, path)


def test_what_was_published_with_the_name_as_a_property_is_priced_as_it_was():
    old = {"currency": "USD", "charges": [row("a", "1"), row("b", "2", "gold")]}
    model = parse_plan(old, published=True)
    gold = used(1, "1", properties={"spend_level": "gold"})
    assert amount(priced(rate_many(model, {}, [gold])[0])) == 2


def test_levels_survive_their_json_and_plans_without_have_none():
    assert parse_plan(plan_to_json(plan())) == plan()
    assert "levels" not in plan_to_json(plan(levels=[], charges=[row("a", "1")]))


def test_the_linter_knows_that_a_level_falls_back_to_the_charge_for_all():
    assert lint(plan()) == ()
    (finding,) = lint(plan(charges=[row("scale", "1", "scale", "free")]))
    assert finding.code == "level_without_price"
    assert "at the level Build and Enterprise what Scale counts" in finding.message
    (finding,) = lint(plan(charges=[row("list", "1")]))
    assert finding.code == "levels_unused"


def test_levels_in_words_on_summaries_price_lists_and_differences():
    text = describe(plan())
    assert "Scale: $0.50 per unit when spend level is Scale or Enterprise." in text
    assert text.endswith(
        "Spend levels: Free, Build from $5.00 of credits bought, Scale from $50.00"
        " spent in a period, Enterprise by agreement."
    )
    many = [LEVELS[0], *({"key": f"l{n}", "name": f"L{n}"} for n in range(6))]
    charges = [row("list", "1")]
    assert describe(plan(levels=many, charges=charges)).endswith(
        "7 spend levels from Free to L5."
    )
    assert [price.only_when for price in prices(plan())] == [
        "", "spend level is Build", "spend level is Scale or Enterprise",
    ]  # fmt: skip
    assert next((r.name, r.words) for r in level_rows(plan())) == (
        "Free",
        "from the start",
    )
    assert public_json(plan())["levels"] == LEVELS
    dearer = [*LEVELS[:2], {**LEVELS[2], "spend_from": "100"}, LEVELS[3]]
    changed = compare(
        Terms(plan(), {}, False), Terms(plan(levels=dearer), {}, prorate=False)
    )
    (change,) = changed.levels
    assert change.label == "Spend level Scale"
    assert change.ratio == 1
    assert not changed.is_empty


@pytest.mark.parametrize("name", ["confirm", "reverse"])
def test_what_is_said_of_an_outcome_is_not_of_one_level(name: str) -> None:
    """Where it belongs is decided before it has a level."""
    said = {"event_type": "ok", "where": {"spend_level": "scale"}}
    price = {
        "model": "compound",
        "outcome": {"all": [{"event_type": "x"}]},
        "price": each("1"),
        name: said,
    }
    with pytest.raises(PlanError) as caught:
        plan(charges=[{"key": "a", "name": "A", "price": price}])
    assert caught.value.code == "unsupported"
    assert caught.value.path == f"charges[0].price.{name}.where.spend_level"
