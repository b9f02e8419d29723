"""Equal calls, retries and errors in a row, on the real script."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.engine import keys
from guard.engine.state import Loop, Repeats
from guard.tests.edge import Edge, now_ms
from guard.tests.shadow import ShadowWindow

CALLS = "loop.call.window"
RETRIES = "loop.request.window"
STREAK = "loop.agent.streak"
CALL = {"tool": "transform_data", "args_hash": "a1"}


def loop(**rules: Any) -> dict[str, Any]:
    """Return the limits of a loop guard, (count, seconds) for a window."""
    said = {
        name: Repeats(count=rule[0], seconds=rule[1])
        for name, rule in rules.items()
        if name != "errors"
    }
    return {"loop": Loop(**said, errors=rules.get("errors"))}


def table(edge: Edge) -> dict[bytes, list[Any]]:
    """Return the loop guard's buckets."""
    kept: Any = edge.client.hgetall(keys.customer_keys(edge.tag)[6])
    return {name: msgspec.msgpack.decode(raw) for name, raw in kept.items()}


def age(edge: Edge, ms: int) -> None:
    """Make every entry older, as if time had passed; windows by whole slices."""
    key = keys.customer_keys(edge.tag)[6]
    for field, bucket in table(edge).items():
        for entry in bucket:
            entry[2] -= ms // entry[1] if entry[1] else ms
        edge.client.hset(key, field, msgspec.msgpack.encode(bucket))


def test_it_is_off_unless_set(edge: Edge) -> None:
    edge.project()
    assert {edge.verdict(**CALL, last_tool_status="error") for _ in range(60)} == {
        "allow"
    }
    assert not edge.client.exists(keys.customer_keys(edge.tag)[6])


def test_the_same_call_is_refused_beyond_its_count(edge: Edge) -> None:
    edge.project(**loop(same_call=(3, 60)))
    assert [edge.verdict(**CALL) for _ in range(4)] == ["allow"] * 3 + [CALLS]
    refused = edge.ask(**CALL)
    assert refused.binding is not None
    assert (refused.binding.used, refused.binding.limit) == (3, 3)
    wait = refused.retry_at_ms - refused.now_ms
    assert 54_000 < wait <= 66_000


@pytest.mark.parametrize(
    ("_case", "changes"),
    [
        ("other arguments", {"args_hash": "a2"}),
        ("another tool", {"tool": "search"}),
        ("no hash", {"args_hash": ""}),
    ],
)
def test_what_differs_is_another_call(
    edge: Edge, _case: str, changes: dict[str, str]
) -> None:
    edge.project(**loop(same_call=(1, 60)))
    assert edge.verdict(**CALL) == "allow"
    assert edge.verdict(**{**CALL, **changes}) == "allow"
    assert edge.verdict(**CALL) == CALLS


def test_the_window_ends(edge: Edge) -> None:
    edge.project(**loop(same_call=(2, 60)))
    assert [edge.verdict(**CALL) for _ in range(3)] == ["allow", "allow", CALLS]
    age(edge, 60_000)
    assert edge.verdict(**CALL) == CALLS  # Its slice is not wholly a window old.
    age(edge, 6_000)
    assert edge.verdict(**CALL) == "allow"


def test_other_seconds_start_a_window_of_their_own(edge: Edge) -> None:
    edge.project(**loop(same_call=(1, 60)))
    assert [edge.verdict(**CALL) for _ in range(2)] == ["allow", CALLS]
    edge.config_version += 1
    edge.project(**loop(same_call=(1, 3_600)))
    assert [edge.verdict(**CALL) for _ in range(2)] == ["allow", CALLS]


def test_a_refusal_by_a_later_check_counts_no_call(edge: Edge) -> None:
    edge.project(**loop(same_call=(2, 60)), customer={"spend_cap": 100})
    assert edge.verdict(**CALL, amount_micros=500) == "spend_cap.customer.period"
    assert [edge.verdict(**CALL, amount_micros=1) for _ in range(2)] == ["allow"] * 2
    assert edge.verdict(**CALL, amount_micros=1) == CALLS


def test_it_comes_before_the_rates(edge: Edge) -> None:
    edge.project(**loop(same_call=(1, 60)), requests_per_minute=1)
    edge.ask(**CALL)
    assert edge.verdict(**CALL) == CALLS
    assert edge.verdict() == "requests.subscription.minute"


def test_retries_of_one_request_are_counted_beside_its_first_call(edge: Edge) -> None:
    edge.project(**loop(retries=(2, 60)))
    asked = [edge.verdict(request_id="r") for _ in range(4)]
    assert asked == ["allow"] * 3 + [RETRIES]
    assert edge.verdict(request_id="other") == "allow"


def test_a_correlation_id_that_stands_in_is_retried_too(edge: Edge) -> None:
    edge.project(**loop(retries=(2, 60)))
    asked = [edge.verdict(request_id="cor", minted_id=f"m{n}") for n in range(4)]
    assert asked == ["allow"] * 3 + [RETRIES]


def test_a_retry_is_no_second_call(edge: Edge) -> None:
    edge.project(**loop(same_call=(1, 60)))
    assert [edge.verdict(**CALL, request_id="r") for _ in range(3)] == ["allow"] * 3


@pytest.mark.parametrize("status", ["error", "ERROR", "failed", "timeout", "500"])
def test_errors_in_a_row_are_refused(edge: Edge, status: str) -> None:
    edge.project(**loop(errors=3))
    asked = [edge.verdict(last_tool_status=status) for _ in range(4)]
    assert asked == ["allow", "allow", STREAK, STREAK]
    refused = edge.ask(last_tool_status=status)
    assert refused.binding is not None
    assert (refused.binding.used, refused.binding.limit) == (3, 3)
    assert 50_000 < refused.retry_at_ms - refused.now_ms <= 60_000


@pytest.mark.parametrize("status", ["ok", "success", "200"])
def test_a_success_ends_a_streak(edge: Edge, status: str) -> None:
    edge.project(**loop(errors=3))
    for _ in range(2):
        edge.ask(last_tool_status="error")
    assert edge.verdict(last_tool_status=status) == "allow"
    assert [edge.verdict(last_tool_status="error") for _ in range(3)] == [
        "allow",
        "allow",
        STREAK,
    ]


def test_an_unknown_status_and_none_leave_a_streak_as_it_is(edge: Edge) -> None:
    edge.project(**loop(errors=2))
    edge.ask(last_tool_status="error")
    assert edge.verdict(last_tool_status="running") == "allow"
    assert edge.verdict() == "allow"
    assert edge.verdict(last_tool_status="error") == STREAK


def test_a_streak_rests_after_a_minute(edge: Edge) -> None:
    edge.project(**loop(errors=2))
    edge.ask(last_tool_status="error")
    assert edge.verdict(last_tool_status="error") == STREAK
    age(edge, 60_001)
    assert edge.verdict(last_tool_status="error") == "allow"


def test_each_session_has_a_streak_of_its_own(edge: Edge) -> None:
    edge.project(**loop(errors=2))
    edge.ask(last_tool_status="error", session="one")
    assert edge.verdict(last_tool_status="error", session="two") == "allow"
    assert edge.verdict(last_tool_status="error", session="one") == STREAK


def test_what_is_kept_is_bounded_and_a_loop_among_many_calls_is_found(
    edge: Edge,
) -> None:
    edge.project(**loop(same_call=(5, 3_600)))
    answers = []
    for number in range(6_000):
        if number % 900 == 0:
            answers.append(edge.verdict(**CALL))
            answers.append(edge.verdict(**CALL))
        edge.ask(tool="search", args_hash=str(number))
    buckets = table(edge)
    assert len(buckets) <= 256
    assert max(map(len, buckets.values())) == 8
    assert answers == ["allow"] * 5 + [CALLS] * (len(answers) - 5)


def test_entries_expire(edge: Edge) -> None:
    edge.project(**loop(same_call=(5, 10), errors=5))
    key = keys.customer_keys(edge.tag)[6]
    for number in range(1_000):
        edge.ask(args_hash=str(number), last_tool_status="error", session=str(number))
    before = sum(map(len, table(edge).values()))
    age(edge, 61_000)
    for number in range(1_000, 2_000):
        edge.ask(args_hash=str(number), last_tool_status="error", session=str(number))
    assert sum(map(len, table(edge).values())) <= before * 1.1
    assert 0 < edge.client.ttl(key) <= 7_300


def test_names_at_the_store_hold_no_text_of_callers(edge: Edge) -> None:
    edge.project(**loop(same_call=(5, 60), retries=(5, 60), errors=5))
    said = {"tool": "toolname", "args_hash": "argstext", "session": "sessiontext"}
    for _ in range(2):
        edge.ask(**said, request_id="requesttext", last_tool_status="error")
    kept = edge.client.dump(keys.customer_keys(edge.tag)[6])
    assert kept
    assert edge.client.hlen(keys.customer_keys(edge.tag)[6]) == 3
    for text in ("toolname", "argstext", "sessiontext", "requesttext"):
        assert text.encode() not in kept


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    count=st.integers(1, 6),
    seconds=st.integers(1, 3_600),
    gaps=st.lists(st.integers(0, 12), min_size=1, max_size=25),
)
def test_no_window_ever_holds_more_than_its_count(
    edge: Edge, count: int, seconds: int, gaps: list[int]
) -> None:
    """Gaps are in tenths of the window; the model adds up every call anew."""
    edge.client.flushdb()
    edge.project(**loop(same_call=(count, seconds)))
    slice_ms = seconds * 100
    model, gone = ShadowWindow(count, slice_ms), 0
    for gap in gaps:
        age(edge, gap * slice_ms)
        gone += gap * slice_ms
        decision = edge.ask(**CALL)
        at = decision.now_ms + gone
        assert str(decision.reason or "allow") == model.verdict(at, CALLS)
        if decision.reason is not None:
            assert decision.retry_at_ms + gone == model.frees_at(at)
    times = model.admitted
    for first in times:
        span = [at for at in times if first <= at < first + seconds * 1_000]
        assert len(span) <= count


def test_time_that_runs_back_frees_nothing(edge: Edge) -> None:
    edge.project(**loop(same_call=(1, 60)))
    edge.ask(**CALL)
    age(edge, -3_600_000)
    assert edge.verdict(**CALL) == CALLS
    assert edge.ask(**CALL).retry_at_ms > now_ms() + 3_500_000
