"""What of MCP is billed, and how often: from the door to the books."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from billing.models import LedgerEntry
from metering import directory, pipeline
from metering.models import Session, UsageEvent
from metering.tests.conftest import Door, Reply
from tests.factories import Shop, make_shop

Report = Callable[..., Reply]
PRICE = Decimal("0.01")


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    """A seller whose plan prices tool calls."""
    directory.forget()
    return make_shop()


@pytest.fixture
def report(bare: Door, shop: Shop) -> Report:
    """Send what a gateway says of one message."""

    def send(**members: Any) -> Reply:
        event = {"api_key": shop.secret, "tool_name": "search"} | members
        body = {name: value for name, value in event.items() if value is not None}
        return post(bare, shop, body)

    return send


def post(door: Door, shop: Shop, value: Any) -> Reply:
    """Send JSON as the shop's gateway."""
    headers = {
        "content-type": "application/json",
        "authorization": f"Bearer {shop.service_secret}",
    }
    return door.send(json.dumps(value).encode(), headers)


def billed() -> Decimal:
    """Rate what is stored, and return what it came to."""
    pipeline.rate()
    return sum((e.amount for e in LedgerEntry.objects.all()), Decimal(0))


def test_a_retry_with_input_responses_is_the_same_call(report: Report) -> None:
    asked = {"method": "tools/call", "call_id": "c-1"}
    first = report(event_id="r1", mcp=asked | {"result_type": "input_required"})
    assert first.json == {"status": "ignored", "reason": "input_required"}
    answered = asked | {"input_responses": True, "result_type": "complete"}
    second = report(event_id="r2", mcp=answered, execution_duration_ms=120)
    assert second.code == (200, "accepted")
    # Sent again by the client, with another JSON-RPC id and another duration.
    third = report(event_id="r3", mcp=answered, execution_duration_ms=999)
    assert third.code == (200, "duplicate")
    assert billed() == PRICE
    assert UsageEvent.objects.get().body["attempt_id"] == "r2"


def test_a_first_round_that_was_reported_plainly_is_not_billed_twice(
    report: Report,
) -> None:
    report(mcp={"method": "tools/call", "call_id": "c-1"})
    again = report(mcp={"call_id": "c-1", "input_responses": True, "is_error": True})
    assert again.code == (200, "duplicate")
    assert billed() == PRICE
    lost = report(mcp={"input_responses": True})
    assert (lost.code, lost.json["field"]) == ((400, "missing_field"), "mcp.call_id")


def test_a_call_id_is_its_servers_and_its_tools(report: Report, shop: Shop) -> None:
    report(mcp={"call_id": "c-1"})
    other = report(mcp={"call_id": "c-1"}, tool_name="write")
    assert other.code == (422, "event_conflict")
    assert billed() == PRICE
    # Another server numbers its calls itself.
    elsewhere = report(mcp={"call_id": "c-1"}, mcp_server_id=shop.product.code)
    assert elsewhere.code == (200, "accepted")
    assert billed() == 2 * PRICE


def test_a_task_is_billed_once_at_its_end(report: Report) -> None:
    def poll(status: str, method: str = "tasks/get") -> str:
        said = {"method": method, "task_id": "t-1", "task_status": status}
        return str(report(mcp=said).code[1])

    begun = report(
        mcp={"method": "tools/call", "task_id": "t-1", "result_type": "task"}
    )
    assert begun.json == {"status": "ignored", "reason": "task_not_ended"}
    assert poll("working") == "ignored"
    assert poll("input_required") == "ignored"
    assert billed() == 0
    assert poll("completed") == "accepted"
    assert poll("completed", "tasks/result") == "duplicate"
    assert poll("completed", "notifications/tasks/status") == "duplicate"
    assert poll("working") == "ignored"
    assert billed() == PRICE


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_task_that_fails_is_a_failed_call(report: Report, status: str) -> None:
    report(mcp={"method": "tools/call", "task_id": "t-1", "task_status": status})
    assert billed() == PRICE
    event = UsageEvent.objects.get()
    assert event.status == "FAILED"
    assert event.body["properties"]["mcp_task_status"] == status


def test_an_array_of_calls_is_several_calls(
    bare: Door, report: Report, shop: Shop
) -> None:
    batch = [
        {
            "api_key": shop.secret,
            "tool_name": "search",
            "event_id": f"post-7/{number}",
            "request_id": "post-7",
            "correlation_id": "post-7",
            "mcp": {"method": "tools/call", "call_id": f"post-7/{number}"},
        }
        for number in range(3)
    ]
    batch.append({"mcp": {"method": "ping"}, "event_id": "post-7/3"})
    reply = post(bare, shop, batch)
    counts = {k: v for k, v in reply.json.items() if k != "items"}
    assert counts == {"accepted": 3, "duplicates": 0, "ignored": 1, "rejected": 0}
    assert billed() == 3 * PRICE


@pytest.mark.parametrize(
    "method",
    """initialize ping server/discover notifications/initialized
    notifications/cancelled notifications/progress tools/list prompts/list
    resources/list resources/templates/list tasks/list tasks/get tasks/result
    tasks/cancel logging/setLevel completion/complete""".split(),
)
def test_what_is_no_call_is_never_billed(report: Report, method: str) -> None:
    reply = report(tool_name=None, mcp={"method": method})
    assert reply.json == {"status": "ignored", "reason": "mcp_method"}
    assert billed() == 0
    assert not UsageEvent.objects.exists()


def test_is_error_is_a_failed_call(report: Report) -> None:
    report(execution_status="SUCCESS", mcp={"is_error": True}, session_id="s")
    report(execution_status="TIMEOUT", mcp={"is_error": True}, session_id="s")
    assert billed() == 2 * PRICE
    assert {e.status for e in UsageEvent.objects.all()} == {"FAILED", "TIMEOUT"}
    assert Session.objects.get().error_count == 2


def test_the_session_is_the_best_that_is_known(report: Report, shop: Shop) -> None:
    trace = "ab" * 16
    everything = {
        "session_id": "mcp-1",
        "meta_session_id": "meta-1",
        "trace_id": trace,
    }
    report(session_id="own-1", mcp=everything)
    report(mcp=everything)
    del everything["session_id"]
    report(mcp=everything)
    report(mcp={"trace_id": trace})
    keys = [e.session_key for e in UsageEvent.objects.order_by("id")]
    assert keys[:3] == ["own-1", "mcp-1", "meta-1"]
    assert keys[3].startswith(f"trace:{trace}/agt_")
    assert {e.correlation_id for e in UsageEvent.objects.all()} == {trace}


WRONG = [
    ({"method": 7}, "mcp.method"),
    ({"is_error": "yes"}, "mcp.is_error"),
    ({"task_status": "done", "task_id": "t"}, "mcp.task_status"),
    ({"result_type": "x"}, "mcp.result_type"),
    ({"trace_id": "AB"}, "mcp.trace_id"),
    ({"task_id": "t"}, "mcp.task_status"),
    ({"price": 1}, "mcp.price"),
    ([], "mcp"),
]


def test_what_is_wrong_is_named(report: Report) -> None:
    told = [report(mcp=value) for value, _ in WRONG]
    assert [r.status for r in told] == [400] * len(WRONG)
    assert [r.json["field"] for r in told] == [field for _, field in WRONG]
