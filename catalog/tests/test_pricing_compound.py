"""Outcomes: one price for many metered events."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.describe import describe
from catalog.pricing import (
    Plan,
    PlanError,
    UsageEvent,
    collect,
    explain,
    groups_of,
    lint,
    parse_plan,
    plan_to_json,
    price,
    rate_many,
    state_from_json,
    state_to_json,
)
from catalog.tests.pricing_kit import START, amount, charge, event, priced

REVIEW = {
    "all": [
        {"event_type": "doc.parsed"},
        {"event_type": "llm.completion", "at_least": 2},
    ]
}
EACH = {"model": "per_unit", "unit_amount": "0.85"}


def row(outcome: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a compound charge's JSON."""
    members = {"model": "compound", "outcome": outcome, "price": EACH, **more}
    return {
        "key": "review",
        "name": "Contract reviewed",
        "unit": "review",
        "price": members,
    }


def plan(outcome: Mapping[str, Any] = REVIEW, **more: Any) -> Plan:
    """Return a plan of one compound charge."""
    return parse_plan({"currency": "USD", "charges": [row(outcome, **more)]})


def piece(
    number: int, kind: str, correlation: str = "", **properties: str
) -> UsageEvent:
    """Return an event of a piece of work."""
    made = event(number, type=kind, properties=properties, input_tokens=100)
    return made._replace(correlation=correlation)


def total(plan: Plan, events: Sequence[UsageEvent]) -> Decimal:
    """Return the price of a period, checked against the sum of its events' lines."""
    outcomes, after = rate_many(plan, {}, events)
    whole = amount(price(plan, after))
    assert amount(priced(outcomes)) == whole
    return whole


def test_an_outcome_is_charged_once_when_all_its_pieces_are_there() -> None:
    model = plan()
    usage = [
        piece(1, "doc.parsed", "a"),
        piece(2, "llm.completion", "a"),
        piece(3, "tool.search", "a"),
    ]
    assert total(model, usage) == 0
    usage.append(piece(4, "llm.completion", "a"))
    assert total(model, usage) == Decimal("0.85")
    # However many more there are, and whatever others lack.
    usage += [piece(5, "llm.completion", "a"), piece(6, "doc.parsed", "a")]
    usage += [piece(7, "doc.parsed", "b"), piece(8, "llm.completion", "b")]
    assert total(model, usage) == Decimal("0.85")
    (line,) = price(model, collect(model, usage))
    assert explain(line) == ("1 × $0.85 = $0.85",)
    assert describe(model) == "Contract reviewed: $0.85 per review."


def test_the_event_that_completes_it_carries_the_price() -> None:
    outcomes, _ = rate_many(
        plan(),
        {},
        [
            piece(1, "llm.completion", "a"),
            piece(2, "doc.parsed", "a"),
            piece(3, "llm.completion", "a"),
        ],
    )
    assert [amount(priced([one])) for one in outcomes] == [0, 0, Decimal("0.85")]


def test_one_event_can_be_the_whole_outcome_also_without_a_correlation() -> None:
    model = plan({"all": [{"event_type": "contract.reviewed"}]})
    usage = [
        piece(1, "contract.reviewed", "a"),
        piece(2, "contract.reviewed", "a"),
        piece(3, "contract.reviewed"),
        piece(4, "contract.reviewed"),
    ]
    assert total(model, usage) == Decimal("2.55")
    # Several pieces without anything in common are no outcome.
    assert total(plan(), [piece(1, "doc.parsed"), piece(2, "llm.completion")]) == 0


def test_only_success_is_charged_where_the_outcome_says_so() -> None:
    model = plan(
        {"all": [{"event_type": "ticket.closed", "where": {"resolved": "true"}}]}
    )
    usage = [
        piece(1, "ticket.closed", "a", resolved="false"),
        piece(2, "ticket.closed", "b", resolved="true"),
    ]
    assert total(model, usage) == Decimal("0.85")


def test_pieces_too_far_apart_are_no_outcome() -> None:
    model = plan({**REVIEW, "within_seconds": 60})
    near = [
        piece(1, "doc.parsed", "a")._replace(occurred_at=START),
        piece(2, "llm.completion", "a")._replace(
            occurred_at=START + timedelta(seconds=60)
        ),
        piece(3, "llm.completion", "a")._replace(occurred_at=START + timedelta(days=1)),
    ]
    assert total(model, near) == Decimal("0.85")
    far = [near[0], near[1]._replace(occurred_at=START + timedelta(seconds=61))]
    assert total(model, [*far, near[2]]) == 0
    # A late event can bring it together.
    late = piece(4, "llm.completion", "a")._replace(occurred_at=START)
    assert total(model, [*far, near[2], late]) == Decimal("0.85")


def test_a_session_can_hold_an_outcome_together() -> None:
    model = plan({**REVIEW, "by": "session"})
    usage = [
        piece(1, "doc.parsed")._replace(session="s"),
        piece(2, "llm.completion")._replace(session="s"),
        piece(3, "llm.completion")._replace(session="t"),
    ]
    assert total(model, usage) == 0
    usage.append(piece(4, "llm.completion")._replace(session="s"))
    assert total(model, usage) == Decimal("0.85")


def test_many_charges_draw_on_the_same_meters() -> None:
    second = {**row({"all": [{"event_type": "llm.completion"}]}), "key": "answer"}
    tokens = charge("input_tokens", {"model": "per_unit", "unit_amount": "0.001"})
    model = parse_plan({"currency": "USD", "charges": [row(REVIEW), second, tokens]})
    usage = [
        piece(1, "doc.parsed", "a"),
        piece(2, "llm.completion", "a"),
        piece(3, "llm.completion", "a"),
    ]
    found = {
        line.charge_key: line.amount for line in price(model, collect(model, usage))
    }
    assert found == {
        "review": Decimal("0.85"),
        "answer": Decimal("0.85"),
        "input_tokens": Decimal("0.3"),
    }


def test_outcomes_take_any_price_by_the_unit() -> None:
    graduated = {
        "model": "graduated",
        "tiers": [
            {"up_to": "1", "unit_amount": "5"},
            {"up_to": None, "unit_amount": "1"},
        ],
    }
    model = plan({"all": [{"event_type": "done"}]}, price=graduated)
    assert total(model, [piece(n, "done", f"c{n}") for n in range(3)]) == 7


def test_what_a_price_covers_is_not_priced_apart() -> None:
    tokens = charge("input_tokens", {"model": "per_unit", "unit_amount": "0.001"})
    covering = row(REVIEW, absorbs=["input_tokens", "vector_lookups"])
    model = parse_plan({"currency": "USD", "charges": [covering, tokens]})
    (finding,) = lint(model)
    assert (finding.code, finding.charges) == (
        "absorbed_and_priced",
        ("review", "input_tokens"),
    )


@pytest.mark.parametrize(
    ("outcome", "more", "code", "path"),
    [
        ({}, {}, "missing_key", ".outcome"),
        ({"all": []}, {}, "empty", ".outcome.all"),
        (
            {"all": [{"event_type": ""}]},
            {},
            "empty",
            ".outcome.all[0].event_type",
        ),
        (
            {"all": [{"event_type": "a", "at_least": 0}]},
            {},
            "out_of_range",
            ".outcome.all[0].at_least",
        ),
        (
            {"all": [{"event_type": "a", "where": {"x": []}}]},
            {},
            "empty",
            ".outcome.all[0].where.x",
        ),
        ({**REVIEW, "by": "moon"}, {}, "unknown_choice", ".outcome.by"),
        (
            {**REVIEW, "within_seconds": 0},
            {},
            "out_of_range",
            ".outcome.within_seconds",
        ),
        (
            REVIEW,
            {"price": {"model": "flat", "amount": "1", "due": "advance"}},
            "unsupported",
            ".price",
        ),
        (REVIEW, {"absorbs": "all"}, "wrong_type", ".absorbs"),
    ],
)
def test_wrong_outcomes_are_refused_with_their_place(
    outcome: Mapping[str, Any], more: Mapping[str, Any], code: str, path: str
) -> None:
    with pytest.raises(PlanError) as caught:
        plan(outcome, **more)
    assert (caught.value.code, caught.value.path) == (code, f"charges[0].price{path}")


def test_a_metric_beside_an_outcome_is_refused() -> None:
    data = {**row(REVIEW), "metric": {"key": "x", "aggregation": "count"}}
    with pytest.raises(PlanError, match="counted by its events"):
        parse_plan({"currency": "USD", "charges": [data]})


def shadow(outcome: Mapping[str, Any], events: Sequence[UsageEvent]) -> int:
    """Count outcomes from the whole list, without any code of the pricing package."""
    groups: dict[str, list[UsageEvent]] = defaultdict(list)
    for one in events:
        if one.correlation:
            groups[one.correlation].append(one)
    alone = [one for one in events if not one.correlation]
    single = len(outcome["all"]) == 1 and outcome["all"][0].get("at_least", 1) == 1
    count = 0
    if single:
        count += sum(one.event_type == outcome["all"][0]["event_type"] for one in alone)
    for own in groups.values():
        kinds = Counter(one.event_type for one in own)
        first = [
            min(
                (o.occurred_at for o in own if o.event_type == r["event_type"]),
                default=None,
            )
            for r in outcome["all"]
        ]
        if any(kinds[r["event_type"]] < r.get("at_least", 1) for r in outcome["all"]):
            continue
        times = [at for at in first if at is not None]
        limit = outcome.get("within_seconds")
        if limit is None or (max(times) - min(times)).total_seconds() <= limit:
            count += 1
    return count


KINDS = st.sampled_from(["a", "b", "c"])
OUTCOMES = st.fixed_dictionaries(
    {
        "all": st.lists(
            st.fixed_dictionaries({"event_type": KINDS, "at_least": st.integers(1, 3)}),
            min_size=1,
            max_size=3,
        )
    },
    optional={"within_seconds": st.sampled_from([60, 300])},
)
ROWS = st.lists(
    st.tuples(KINDS, st.sampled_from(["", "x", "y", "z"]), st.integers(0, 600)),
    max_size=20,
)


@given(OUTCOMES, ROWS, st.randoms(use_true_random=False))
def test_any_order_gives_the_outcomes_that_the_shadow_counts(
    outcome: dict[str, Any], rows: list[tuple[str, str, int]], random: Any
) -> None:
    model = plan(outcome)
    assert parse_plan(plan_to_json(model)) == model
    events = [
        piece(number, kind, correlation)._replace(
            occurred_at=START + timedelta(seconds=at)
        )
        for number, (kind, correlation, at) in enumerate(rows)
    ]
    random.shuffle(events)
    state: Mapping[str, Any] = {}
    lines = []
    for one in events:
        wanted = {"review", *groups_of(model, [one])}
        # What storage keeps is enough to go on from.
        kept = json.loads(json.dumps(state_to_json(state)))
        before = state_from_json({k: v for k, v in kept.items() if k in wanted})
        outcomes, after = rate_many(model, before, [one])
        lines += priced(outcomes)
        state = {**state, **after}
    assert amount(lines) == amount(price(model, state))
    assert amount(lines) == shadow(outcome, events) * Decimal("0.85")
