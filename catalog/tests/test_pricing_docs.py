"""The page about pricing is complete, and its example is true."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from catalog.pricing import Aggregation, Reason, Window, explain, parse_plan, total
from catalog.pricing.exact import PRICE_LIMIT, QUANTITY_LIMIT
from catalog.pricing.level_json import TRIGGERS
from catalog.pricing.meters import UNIQUE_MAX
from catalog.pricing.parsing import FREE_EVENTS_MAX, MODELS
from catalog.tests.pricing_kit import amount, event

PAGE = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text()


def test_the_plan_on_the_page_bills_the_month_on_the_page() -> None:
    _, rest = PAGE.split("```json\n", 1)
    plan = parse_plan(json.loads(rest.split("```", 1)[0]))
    urgent = {"requestType": "priority"}
    events = [
        event(1, input_tokens=60_000_000, output_tokens=3_000_000),
        event(2, properties=urgent, cost="10"),
        event(3, properties=urgent, cost="100"),
    ]
    lines = total(plan, events)
    assert amount(lines) == Decimal("368.00")
    for line in lines:
        assert f"| {line.name} |" in PAGE
        assert f"${line.amount:,.2f} |" in PAGE


def test_the_plan_with_levels_on_the_page_is_one() -> None:
    _, rest = PAGE.split("## Spend levels", 1)
    plan = parse_plan(json.loads(rest.split("```json\n", 1)[1].split("```", 1)[0]))
    assert [level.key for level in plan.levels] == [
        "free", "build", "scale", "enterprise",
    ]  # fmt: skip


def test_the_terms_on_the_page_come_to_what_it_says() -> None:
    plan = parse_plan(json.loads(PAGE.split("```json\n")[2].split("```", 1)[0]))
    usage = [event(1, input_tokens=155_000_000)]
    lines = total(plan, usage, starts_on=date(2026, 12, 1))
    assert amount(lines) == 500
    for line in lines:
        how, _, money = explain(line)[0].rpartition(" = ")
        assert f"| {line.name} | {how} | {money} |" in PAGE


@pytest.mark.parametrize(
    "words",
    [
        *(f"### {name}\n" for name in MODELS),
        *(f"`{aggregation}`" for aggregation in Aggregation),
        *(f"`{window}`" for window in Window),
        *(f"`{trigger}`" for trigger in TRIGGERS),
        *(f"| `{reason}` |" for reason in Reason),
        f"below\n{PRICE_LIMIT:,f}",
        f"below {QUANTITY_LIMIT:,f}",
        f"at most {UNIQUE_MAX:,} distinct",
        f"at most {FREE_EVENTS_MAX:,})",
    ],
)
def test_the_page_names_every_model_aggregation_reason_and_limit(words: str) -> None:
    assert words in PAGE


def test_every_plan_on_the_page_can_be_read() -> None:
    plans = [part.split("```", 1)[0] for part in PAGE.split("```json\n")[1:]]
    models = [parse_plan(json.loads(text)).charges[-1].model for text in plans]
    assert [type(model).__name__ for model in models] == [
        "Percentage",
        "PerUnit",
        "PerUnit",
        "Dimensions",
        "Compound",
        "Compound",
        "Recipe",
    ]
