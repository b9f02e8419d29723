"""What happens to contracts in the demo: when, how often, and what is behind it."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from zoneinfo import ZoneInfo

import pytest

from aforo.demo import cast, contract_scenes, plans, specs
from aforo.demo.calls import Call
from metering import shapes

END = dt.datetime(2026, 11, 21, 9, tzinfo=dt.UTC)
PREFIX = "demo:tag"


def kind_of(call: Call) -> str:
    """Return the type of a call's event."""
    return str(call.event.get("eventType") or call.event["event_type"])


@pytest.mark.parametrize("days", range(0, 62, 3))
def test_all_of_it_lies_in_one_month_of_its_customer(days):
    end = END + dt.timedelta(days=days)
    months = defaultdict(set)
    for call in contract_scenes.every(PREFIX, end):
        zone = ZoneInfo(cast.CUSTOMERS[call.actor.customer].timezone)
        months[call.actor.customer].add(call.at.astimezone(zone).strftime("%Y-%m"))
        assert end - dt.timedelta(days=30) <= call.at < end
    assert {len(found) for found in months.values()} == {1}


def test_most_contracts_are_reviewed_some_are_not_and_one_is_reopened():
    behind: dict[str, set[str]] = defaultdict(set)
    for call in contract_scenes.reviews(PREFIX, END):
        key = call.event.get("correlationId") or call.event["correlation_id"]
        behind[key].add(kind_of(call))
    assert len(behind) == 42
    counted = Counter(kind for kinds in behind.values() for kind in kinds)
    assert counted[specs.DOC_PARSED] == counted[specs.VECTORS_SEARCHED] == 42
    assert counted["llm.completion"] == counted[specs.SESSION_DONE] == 39
    assert counted["session.failed"] == 3
    assert counted[specs.REOPENED] == 1


def test_a_contract_is_reopened_while_that_still_counts():
    calls = list(contract_scenes.reviews(PREFIX, END))
    (again,) = (call for call in calls if kind_of(call) == specs.REOPENED)
    done = max(c.at for c in calls if c.actor == again.actor and c.at < again.at)
    assert again.at - done < dt.timedelta(days=3)


def test_agents_use_more_less_and_all_of_what_is_theirs():
    calls = Counter(c.actor.agent for c in contract_scenes.committed(PREFIX, END))
    parts = cast.CUSTOMERS["vantage"].allocations
    assert [calls[agent] - part.calls for agent, part in parts.items()] == [50, -100, 0]


def test_every_event_of_them_has_a_form_that_ingest_reads():
    for call in contract_scenes.every(PREFIX, END):
        assert shapes.read(call.event).event_id == call.id


def test_what_contracts_cost_us_is_known():
    sold = [plans.PRODUCTS[code] for code in (specs.CONTRACT, specs.FILES)]
    tools = {name for product in sold for name in product.tools}
    for call in contract_scenes.every(PREFIX, END):
        name = call.event.get("tool_name")
        if name:
            assert name in tools
        elif kind_of(call) != "llm.completion":
            assert kind_of(call) in plans.EVENT_COSTS
