"""Windows: a metric aggregated and priced by the day, hour, session or event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from catalog.describe import describe
from catalog.facts import metric_words
from catalog.price_list import prices, public_json
from catalog.pricing import (
    Plan,
    PlanError,
    Unrateable,
    UsageEvent,
    Window,
    Windows,
    collect,
    explain,
    lint,
    opening,
    parse_plan,
    plan_to_json,
    price,
    rate_many,
    state_from_json,
    state_to_json,
    total,
    true_ups,
)
from catalog.pricing.bulk import Layout, Tabulation
from catalog.pricing.plan import Filter
from catalog.pricing.supposed import Supposed, suppose
from catalog.tests.pricing_kit import (
    START,
    amount,
    charge,
    event,
    plan_of,
    priced,
    tiers,
)

Json = dict[str, Any]
EACH: Json = {"model": "per_unit", "unit_amount": "0.10"}
VOLUME: Json = {
    "model": "volume",
    "tiers": tiers(("10", "0.10"), ("20", "0.05"), (None, "0.02")),
}


def metric(window: str, aggregation: str = "sum", **more: Any) -> Json:
    """Return a metric over the measurement `seats`."""
    row = {"key": "seats", "aggregation": aggregation, "measurement": "seats"}
    return {**row, "window": window, **more}


def plan(window: str, model: Json, aggregation: str = "sum", **more: Any) -> Plan:
    """Return a plan of one charge on seats."""
    row = charge("seats", model, metric=metric(window, aggregation), unit="seat")
    return plan_of({**row, **more})


def seats(number: int, value: str, *, at: datetime | None = None, session: str = "x"):
    """Return an event with a number of seats."""
    return event(number, at=at, seats=value)._replace(session=session)


def on(day: int, hour: int = 0) -> datetime:
    """Return an instant of March."""
    return START + timedelta(days=day - 1, hours=hour)


def posted(model: Plan, events: Sequence[UsageEvent]) -> Decimal:
    """Return the sum of all lines, checked against the period's price."""
    outcomes, after = rate_many(model, {}, events)
    lines = [*opening(model), *priced(outcomes)]
    assert amount(lines) == amount(price(model, after))
    for line in [*lines, *price(model, after)]:
        assert sum(step.amount for step in line.steps) == line.amount
    return amount(lines)


@pytest.mark.parametrize(
    ("case", "window", "model", "aggregation", "usage", "expected"),
    [
        (
            "the largest of each day, all at the price that it reaches",
            "day",
            VOLUME,
            "max",
            [(on(1), "9"), (on(1, 5), "4"), (on(2), "15"), (on(2, 23), "3")],
            "1.65",
        ),
        (
            "hours begin anew",
            "hour",
            VOLUME,
            "sum",
            [(on(1, 1), "9"), (on(1, 1), "6"), (on(1, 2), "9")],
            "1.65",
        ),
        (
            "included units are free in every day",
            "day",
            {"model": "included", "units": "10", "overage": EACH},
            "sum",
            [(on(1), "12"), (on(2), "8"), (on(3), "11")],
            "0.3",
        ),
        (
            "a started package counts in each event",
            "event",
            {"model": "package", "size": "100", "amount": "5"},
            "sum",
            [(on(1), "50"), (on(1), "150"), (on(1), "200"), (on(1), "99")],
            "30",
        ),
        (
            "a flat amount of the first tier is due for each day with usage",
            "day",
            {"model": "graduated", "tiers": tiers(("5", "0", "10"), (None, "4"))},
            "sum",
            [(on(1), "2"), (on(2), "8"), (on(2), "0")],
            "32",
        ),
        (
            "the latest of a day goes by time, not by arrival",
            "day",
            EACH,
            "latest",
            [(on(1, 9), "7"), (on(1, 3), "50"), (on(2, 1), "5")],
            "1.2",
        ),
        (
            "the average of each day",
            "day",
            EACH,
            "avg",
            [(on(1), "10"), (on(1), "20"), (on(2), "5")],
            "2",
        ),
        (
            "a free amount of money each day",
            "day",
            {"model": "percentage", "rate": "10", "free_amount": "5"},
            "sum",
            [(on(1), "6"), (on(2), "4"), (on(3), "15")],
            "1.1",
        ),
    ],
)
def test_worked_windows(
    case: str,
    window: str,
    model: Json,
    aggregation: str,
    usage: list[tuple[datetime, str]],
    expected: str,
) -> None:
    events = [seats(n, value, at=at) for n, (at, value) in enumerate(usage)]
    priced_by = plan(window, model, aggregation)
    assert posted(priced_by, events) == Decimal(expected), case
    assert posted(priced_by, events[::-1]) == Decimal(expected), case


def test_sessions_are_windows_and_an_event_outside_one_is_its_own() -> None:
    model = plan("session", {"model": "package", "size": "10", "amount": "1"})
    events = [
        seats(1, "6", session="aa"),
        seats(2, "6", session="aa"),  # 12 of one session: two packages.
        seats(3, "6", session="bb"),
        seats(4, "6", session=""),
        seats(5, "6", session=""),  # Two windows, a package each.
    ]
    assert posted(model, events) == 5
    state = collect(model, events)
    assert set(state) == {"seats", "seats/aa", "seats/bb"}
    windows = state["seats"]
    assert isinstance(windows, Windows)
    assert (windows.count, windows.windows) == (5, 4)
    assert windows.quantity == 30


def test_a_day_is_one_of_utc_whatever_zone_the_event_names() -> None:
    model = plan("day", {"model": "package", "size": "10", "amount": "1"})
    late = datetime(2026, 3, 2, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert posted(model, [seats(1, "4", at=on(1)), seats(2, "4", at=late)]) == 1
    assert posted(model, [seats(1, "4", at=on(2)), seats(2, "4", at=late)]) == 2


def test_nothing_is_due_for_a_window_without_usage_and_nothing_opens_the_period() -> (
    None
):
    model = plan("day", {"model": "graduated", "tiers": tiers((None, "1", "7"))})
    assert opening(model) == ()
    assert total(model, []) == ()
    assert posted(model, [seats(1, "0")]) == 7


def test_discount_maximum_and_minimum_are_those_of_the_period() -> None:
    model = plan("day", VOLUME, discount_percent="50", maximum="1", minimum="0.9")
    events = [seats(1, "9", at=on(1))]
    assert posted(model, events) == Decimal("0.45")
    assert amount(true_ups(model, collect(model, events))) == Decimal("0.45")
    events += [seats(2, "15", at=on(2)), seats(3, "10", at=on(3))]
    assert posted(model, events) == 1


def test_a_line_says_in_words_what_each_window_paid() -> None:
    model = plan("day", VOLUME, "max")
    events = [seats(1, "9", at=on(1)), seats(2, "15", at=on(2))]
    (line,) = price(model, collect(model, events))
    assert explain(line) == (
        "9 in days up to 10 × $0.10 = $0.90",
        "15 in days above 10 up to 20 × $0.05 = $0.75",
    )
    graduated = plan(
        "hour",
        {
            "model": "graduated",
            "per": 1000,
            "tiers": tiers(("5", "1", "2"), (None, "4")),
        },
    )
    usage = [seats(1, "7", at=on(1)), seats(2, "6", at=on(2))]
    (line,) = price(graduated, collect(graduated, usage))
    assert explain(line) == (
        "10 up to 5 in an hour × $1.00 per 1K + $4.00 flat = $4.01",
        "3 above 5 in an hour × $4.00 per 1K = $0.012",
    )
    packages = plan(
        "event",
        {
            "model": "included",
            "units": "2",
            "overage": {"model": "package", "size": "3", "amount": "1"},
        },
    )
    (line,) = price(packages, collect(packages, [seats(1, "9"), seats(2, "2")]))
    assert explain(line) == (
        "4 of 2 an event included = $0.00",
        "3 packages of 3, event by event, × $1.00 = $3.00",
    )


def test_plan_words_name_the_window() -> None:
    model = plan("day", VOLUME, "max")
    assert describe(model).endswith("quantity, counted per day.")
    (charge_,) = model.charges
    assert charge_.metric is not None
    assert metric_words(charge_.metric) == "largest of seats, each day by itself"
    (row,) = prices(model)
    assert row.tier_note.endswith("Every day begins anew.")
    assert public_json(model)["charges"][0]["window"] == "day"
    by_period = plan("period", VOLUME, "max")
    assert "window" not in json.dumps(public_json(by_period))


@pytest.mark.parametrize(
    ("row", "code", "path"),
    [
        (charge("a", EACH, metric=metric("week")), "unknown_choice", "metric.window"),
        (
            charge(
                "a",
                {"model": "percentage", "rate": "1", "free_events": 3},
                metric=metric("day"),
            ),
            "unsupported",
            "metric.window",
        ),
        (
            charge(
                "a",
                {"model": "percentage", "rate": "1", "minimum": "1"},
                metric=metric("event"),
            ),
            "unsupported",
            "metric.window",
        ),
        (
            {
                **charge("a", {"model": "flat", "amount": "1", "due": "advance"}),
                "metric": metric("day"),
            },
            "unsupported",
            "metric",
        ),
    ],
)
def test_a_window_that_means_nothing_is_refused(row: Json, code: str, path: str):
    with pytest.raises(PlanError) as caught:
        plan_of(row)
    assert (caught.value.code, caught.value.path) == (code, f"charges[0].{path}")


def test_one_metric_has_one_window() -> None:
    rows = [
        charge("a", EACH, metric=metric("day")),
        charge("b", EACH, metric=metric("period"), where={"model": "x"}),
    ]
    with pytest.raises(PlanError) as caught:
        plan_of(*rows)
    assert caught.value.code == "metric_conflict"


def test_the_linter_doubts_windows_that_change_nothing_and_two_for_one_thing() -> None:
    packages = {"model": "package", "size": "10", "amount": "1"}
    model = plan_of(
        charge("a", EACH, metric=metric("day")),
        charge("b", packages, metric={**metric("hour"), "key": "seats_by_hour"}),
    )
    assert [(f.code, f.charges) for f in lint(model)] == [
        ("window_without_effect", ("a",)),
        ("two_windows", ("a", "b")),
    ]
    assert lint(plan("day", VOLUME, "max")) == ()


def test_a_plan_without_windows_writes_and_keeps_what_it_did() -> None:
    model = plan_of(charge("seats", EACH))
    assert "window" not in json.dumps(plan_to_json(model))
    old = {"seats": {"n": 2, "q": "15"}}
    assert state_to_json(state_from_json(old)) == old
    by_day = plan("day", VOLUME, "max")
    assert parse_plan(plan_to_json(by_day)) == by_day
    (row,) = by_day.charges
    assert row.metric is not None
    assert row.metric.window is Window.DAY


def test_a_value_that_cannot_be_counted_leaves_the_windows_as_they_were() -> None:
    model = plan("day", VOLUME)
    outcomes, after = rate_many(
        model,
        {},
        [seats(1, "3"), seats(2, "-1"), seats(3, "9999999999999999"), seats(4, "2")],
    )
    refused = [o.reason for o in outcomes if isinstance(o, Unrateable)]
    assert refused == ["negative_quantity", "number_out_of_range"]
    assert after == collect(model, [seats(1, "3"), seats(4, "2")])


def test_a_charge_with_a_window_is_rated_singly_beside_those_that_are_summed() -> None:
    model = plan_of(
        charge("seats", VOLUME, metric=metric("day")),
        charge("calls", EACH, metric={"key": "calls", "aggregation": "count"}),
    )
    events = [seats(n, "7", at=on(1 + n % 3)) for n in range(7)]
    table = Tabulation(Layout.of([model]))
    table.add(events)
    (state,) = table.states()
    assert state == collect(model, events)


def test_a_supposed_quantity_is_shared_evenly_by_windows() -> None:
    model = plan("day", {"model": "package", "size": "10", "amount": "1"})
    (row,) = model.charges
    assert row.metric is not None
    for quantity, days, expected in [
        ("120", 10, 20),  # 12 a day.
        ("101", 10, 11),  # One day has 11.
        ("3", 10, 3),  # Whole units: three days with one each.
        ("0.5", 4, 4),
        ("0", 4, 0),
    ]:
        part = Supposed(row.metric, Filter(()), Decimal(quantity), days)
        state = suppose(model, [part])
        assert amount(price(model, state)) == expected, quantity
        used = state["seats"]
        assert isinstance(used, Windows)
        assert used.quantity == Decimal(quantity)
