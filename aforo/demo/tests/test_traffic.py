"""The demo's calls: all of the recordings, by who is there, in forms the doors take."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal

import msgspec
import pytest

from aforo.demo import cast, files, plans, replay, scenes, specs, traffic
from aforo.demo.calls import Call, question
from aforo.demo.connectors import CONNECTORS
from aforo.demo.files import Tokens
from guard import asking
from metering import shapes

END = dt.datetime(2026, 11, 21, 9, tzinfo=dt.UTC)
PREFIX = "demo:tag"


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    return replay.plan(PREFIX, END)


def tokens_of(calls: list[Call], stream: str) -> Tokens:
    """Return what the calls of a stream report, as the files count it."""
    total = Tokens()
    for call in calls:
        if not call.id.startswith(f"{PREFIX}:{stream}:"):
            continue
        if "tool_name" in call.event:
            total = total.plus(Tokens(tool_calls=1))
        elif call.event["eventType"] == "llm.completion":
            sent = {m["metricKey"]: m["value"] for m in call.event["measurements"]}
            cached = sent.get("cache_read_tokens", 0)
            total = total.plus(
                Tokens(1, sent["input_tokens"] - cached, cached, sent["output_tokens"])
            )
    return total


@pytest.mark.parametrize("file", files.FILES)
def test_every_token_of_a_file_is_reported(calls, file):
    assert tokens_of(calls, traffic.STREAM_OF[file]) == files.totals(file)


def test_a_replay_sends_the_same_events_again(calls):
    assert replay.plan(PREFIX, END) == calls


def test_no_two_calls_share_an_id(calls):
    assert len({call.id for call in calls}) == len(calls)


def test_the_history_ends_before_its_end_and_is_not_too_old_to_be_taken(calls):
    assert END - dt.timedelta(days=30) <= calls[0].at
    assert calls[-1].at < END + dt.timedelta(minutes=5)


def test_whoever_calls_is_a_customer_with_that_agent_and_a_plan_for_it(calls):
    for actor in {call.actor for call in calls}:
        customer = cast.CUSTOMERS[actor.customer]
        assert actor.product in customer.agents[actor.agent].products
        part = customer.allocations.get(actor.agent)
        if part is not None and part.product == actor.product:
            plan = part.plan
        else:
            plan = customer.plans[actor.product]
        assert plan in plans.PRODUCTS[actor.product].plans


def test_every_event_has_a_form_that_ingest_reads(calls):
    kinds: dict[tuple[str, str], Call] = {}
    for call in calls:
        stream = call.id.split(":")[2]
        kinds.setdefault((stream, call.event.get("tool_name", "")), call)
    for call in kinds.values():
        draft = shapes.read(call.event)
        assert (draft.event_id, draft.request_id) == (call.id, call.id)


def test_every_question_has_a_form_that_the_guard_reads(calls):
    for call in calls[::500]:
        ask = asking.parse(msgspec.json.encode(question(call)))
        assert ask["request_id"] == call.id


def test_every_tool_is_registered_with_its_product(calls):
    for call in calls:
        if "tool_name" in call.event:
            product = plans.PRODUCTS[call.actor.product]
            assert call.event["tool_name"] in product.tools


def test_the_integration_run_has_52_calls_over_six_servers():
    runs = Counter(
        (call.actor.customer, call.actor.product)
        for call in scenes.integration(PREFIX, END)
        if "tool_name" in call.event
    )
    of_one = {
        product: n for (customer, product), n in runs.items() if customer == "umbra"
    }
    assert sum(of_one.values()) == 52
    assert set(of_one) == set(CONNECTORS)


def test_the_session_escalates_from_a_small_model_to_a_large_one():
    used = [
        call.event["properties"]["model"]
        for call in scenes.escalation(PREFIX, END)
        if call.event.get("eventType") == "llm.completion"
    ]
    assert used == ["gpt-4o-mini", "gpt-4o-mini", "gpt-4o", "gpt-4o"]


def test_the_provider_switch_changes_the_model_and_leaves_the_charges_alike(calls):
    served = [
        call.event["properties"]["provider"]
        for call in calls
        if call.id.startswith(f"{PREFIX}:{traffic.CODE}:")
    ]
    assert served.index("groq") > 1_000
    assert "together" not in served[served.index("groq") :]
    filters = [c.get("filter") for c in plans.CODE_PLAN.charges]
    assert not any(filters)


@pytest.mark.parametrize(
    ("end", "start"),
    [
        (END, dt.datetime(2026, 11, 14, tzinfo=dt.UTC)),
        # No weekend of December is over yet: the cap counts from the month's start.
        (
            dt.datetime(2026, 12, 3, 12, tzinfo=dt.UTC),
            dt.datetime(2026, 12, 1, tzinfo=dt.UTC),
        ),
    ],
)
def test_the_runaway_lies_within_the_month_that_its_cap_counts(end, start):
    tried = list(scenes.runaway(PREFIX, end))
    assert len(tried) == 14_000
    assert tried[0].at == start
    assert all(call.must_ask and call.at <= end for call in tried)


def test_the_cap_lets_ten_thousand_of_the_runaway_calls_pass():
    cap = cast.CUSTOMERS["castor"].spend_cap
    plan = plans.PRODUCTS[specs.WAREHOUSE].plans["warehouse-by-tool"]
    price = next(c for c in plan.charges if c["key"] == "transform")["price"]
    assert cap == 10_000 * Decimal(price["unit_amount"])
