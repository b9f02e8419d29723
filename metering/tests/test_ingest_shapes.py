from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aforo.lib import crypto
from aforo.lib.errors import AforoError
from billing.hierarchy import FACETS
from metering import canonical, shapes

COMPOUND: dict[str, Any] = {
    "eventType": "llm.completion",
    "correlationId": "c-1",
    "measurements": [{"metricKey": "input_tokens", "value": 10}],
}
TOOL: dict[str, Any] = {"tool_name": "read_query"}


def read(base: dict[str, Any], **members: Any) -> shapes.Draft:
    return shapes.read(base | members)


def code_of(base: dict[str, Any], **members: Any) -> tuple[int, str]:
    with pytest.raises(AforoError) as caught:
        read(base, **members)
    return caught.value.status, caught.value.code


def measure(value: Any, metric: str = "audio_seconds") -> str:
    draft = read(COMPOUND, measurements=[{"metricKey": metric, "value": value}])
    return str(draft.body["measurements"][metric])


def measure_code(value: Any, metric: str = "audio_seconds") -> str:
    with pytest.raises(AforoError) as caught:
        measure(value, metric)
    assert caught.value.status == 400
    return caught.value.code


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0, "0"),
        (Decimal("-0.0"), "0"),
        (Decimal("1.0"), "1"),
        (Decimal("1.50"), "1.5"),
        (Decimal("1E+3"), "1000"),
        ("12", "12"),
        ("0012.500", "12.5"),
        ("1e3", "1000"),
        (9007199254740993, "9007199254740993"),
        (10**18 - 1, "9" * 18),
        (Decimal("0.000000000001"), "0.000000000001"),
        (Decimal("1.0000000000000000"), "1"),
        (Decimal("0E-60"), "0"),
    ],
)
def test_a_quantity_is_kept_exactly_in_its_shortest_form(value: Any, text: str) -> None:
    assert measure(value) == text


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("NaN", "invalid_number"),
        ("Infinity", "invalid_number"),
        ("-Infinity", "invalid_number"),
        (True, "invalid_number"),
        (None, "invalid_number"),
        ([1], "invalid_number"),
        ("１２", "invalid_number"),
        (" 1_0 ", "invalid_number"),
        ("0x10", "invalid_number"),
        ("1,5", "invalid_number"),
        ("", "invalid_number"),
        ("+1", "invalid_number"),
        ("1E+999999", "number_out_of_range"),
        ("1e400", "number_out_of_range"),
        ("9" * 5000, "number_out_of_range"),
        (10**18, "number_out_of_range"),
        (Decimal("1e18"), "number_out_of_range"),
        (Decimal("0.0000000000001"), "too_precise"),
        ("0.1234567890123", "too_precise"),
        (-1, "negative_quantity"),
        ("-0.5", "negative_quantity"),
        (Decimal("-1.5"), "negative_quantity"),
    ],
)
def test_a_quantity_that_is_no_plain_number_is_refused(value: Any, code: str) -> None:
    assert measure_code(value) == code


def test_a_fraction_of_something_counted_is_refused() -> None:
    assert measure_code(Decimal("1.5"), "input_tokens") == "integer_required"
    assert measure(Decimal("1.0"), "input_tokens") == "1"
    assert code_of(TOOL, input_tokens=Decimal("1.5")) == (400, "integer_required")
    assert code_of(TOOL, retry_count=Decimal("1.5")) == (400, "integer_required")


@given(
    st.decimals(min_value=0, max_value=10**18 - 1, allow_nan=False, places=12).filter(
        lambda d: d.adjusted() < 18
    )
)
def test_any_quantity_in_range_comes_back_exactly(value: Decimal) -> None:
    text = canonical.quantity(value, "value")
    assert Decimal(text) == value
    assert canonical.quantity(text, "value") == text


@pytest.mark.parametrize(
    ("_case", "value"),
    [
        ("none", []),
        ("101", [{"metricKey": f"m{n}", "value": 1} for n in range(101)]),
        ("twice", [{"metricKey": "a", "value": 1}, {"metricKey": "a", "value": 1}]),
        ("an object", {"input_tokens": 1}),
        ("no value", [{"metricKey": "a"}]),
        ("no key", [{"value": 1}]),
        ("a number", [1]),
    ],
)
def test_measurements_of_another_form_are_refused(_case: str, value: Any) -> None:
    assert code_of(COMPOUND, measurements=value) == (400, "invalid_measurements")


def test_a_measurement_without_them_needs_usage_or_an_outcome() -> None:
    bare = {k: v for k, v in COMPOUND.items() if k != "measurements"}
    assert code_of(bare) == (400, "invalid_measurements")
    block = {"input_tokens": 3, "details": {"cached": Decimal("1.0")}}
    assert read(bare, usage=block).body["usage"] == {
        "input_tokens": 3,
        "details": {"cached": 1},
    }
    assert read(bare, outcome="resolved").body["outcome"] == "resolved"
    assert code_of(bare, usage=[1]) == (400, "invalid_usage")
    assert code_of(bare, usage={"a": "x" * 9000}) == (400, "invalid_usage")


@pytest.mark.parametrize(
    "event_id", ["", "x" * 256, "a\0b", "a\nb", "é", "a\u200bb", 7, True, ["a"]]
)
def test_an_event_id_is_printable_ascii(event_id: Any) -> None:
    assert code_of(COMPOUND, eventId=event_id) == (400, "invalid_event_id")
    assert code_of(TOOL, event_id=event_id) == (400, "invalid_event_id")


@pytest.mark.parametrize("event_id", ["a", "A", "a ", " a", "x" * 255, "~!@#/{}'\""])
def test_an_event_id_is_kept_byte_for_byte(event_id: str) -> None:
    assert read(COMPOUND, eventId=event_id).event_id == event_id


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T12:00:00",
        "2026W01",
        "2026-03-01",
        "2026-03-01T24:00:00Z",
        "2026-03-01T23:59:60Z",
        "2026-02-30T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2026-03-01T12:00:00+25:00",
        "0001-01-01T00:00:00+12:00",
        "２026-03-01T12:00:00Z",
        "",
        "now",
        1772366400,
        True,
    ],
)
def test_a_time_that_is_not_rfc_3339_is_refused(value: Any) -> None:
    assert code_of(COMPOUND, timestamp=value) == (400, "invalid_timestamp")


@pytest.mark.parametrize("value", [1772366400000, "1772366400000"])
def test_milliseconds_are_guessed(value: Any) -> None:
    with pytest.raises(AforoError, match=r"milliseconds\?"):
        read(COMPOUND, timestamp=value)


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T12:00:00Z",
        "2026-03-01t12:00:00z",
        "2026-03-01 14:00:00.000000000+02:00",
        "2026-03-01T00:00:00-12:00",
    ],
)
def test_a_time_is_read_in_any_offset(value: str) -> None:
    noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    assert read(COMPOUND, timestamp=value).occurred_at == noon


def test_a_time_is_given_once() -> None:
    time = "2026-03-01T12:00:00Z"
    twice = code_of(TOOL, timestamp=time, recorded_timestamp=time)
    assert twice == (400, "invalid_timestamp")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"price": 1}, "unknown_field"),
        ({"amount": 1}, "unknown_field"),
        ({"costOverride": 1}, "unknown_field"),
        ({"customer_id": "c"}, "unknown_field"),
        ({"eventType": None}, "missing_field"),
        ({"correlationId": None}, "missing_field"),
        ({"eventType": ""}, "invalid_field"),
        ({"eventType": "x" * 81}, "invalid_field"),
        ({"correlationId": 5}, "invalid_field"),
        ({"sessionId": "a\nb"}, "invalid_field"),
        ({"degraded": "yes"}, "invalid_field"),
        ({"properties": []}, "invalid_properties"),
        ({"properties": {"a": {"b": 1}}}, "invalid_field"),
        ({"properties": {"a": "x\0y"}}, "invalid_field"),
        ({"properties": {"a": "x" * 2048}}, "properties_too_large"),
        ({"properties": {"a": "é" * 1024}}, "properties_too_large"),
        ({"properties": {"model": "m" * 121}}, "properties_too_large"),
        (
            {"properties": {f"k{n}": 1 for n in range(51)}},
            "properties_too_large",
        ),
        ({"cost": 5}, "invalid_cost"),
        ({"cost": {"amount": 5}}, "invalid_cost"),
        ({"cost": {"amount": 5, "currency": "usd"}}, "invalid_currency"),
        ({"cost": {"amount": 5, "currency": "XXX"}}, "invalid_currency"),
        ({"cost": {"amount": 5, "currency": ["USD"]}}, "invalid_currency"),
        ({"cost": {"amount": -5, "currency": "USD"}}, "negative_quantity"),
        ({"cost": {"amount": "a", "currency": "USD"}}, "invalid_number"),
    ],
)
def test_a_malformed_compound_event_is_refused(
    members: dict[str, Any], code: str
) -> None:
    assert code_of(COMPOUND, **members) == (400, code)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"price": 1}, "unknown_field"),
        ({"cost": {"amount": 1, "currency": "USD"}}, "unknown_field"),
        ({"tool_name": None, "event_type": "mcp.tool_invoked"}, "missing_field"),
        ({"tool_name": "x" * 121}, "invalid_field"),
        ({"execution_status": "MAYBE"}, "invalid_status"),
        ({"execution_status": ["FAILED"]}, "invalid_status"),
        ({"execution_duration_ms": -1001}, "negative_duration"),
        ({"execution_duration_ms": "soon"}, "invalid_number"),
        ({"input_tokens": -1}, "negative_quantity"),
        ({"is_parallel_call": 1}, "invalid_field"),
        ({"ingest_timestamp": "now"}, "invalid_timestamp"),
    ],
)
def test_a_malformed_tool_event_is_refused(members: dict[str, Any], code: str) -> None:
    assert code_of(TOOL, **members) == (400, code)


def test_a_key_in_the_body_must_be_well_formed_and_is_hashed() -> None:
    secret = crypto.mint_key("sk", "live", "a" * 12)
    assert read(TOOL, api_key=secret).names == {"key": crypto.hash_key(secret)}
    for wrong in ("hello", secret[:-1], crypto.mint_key("svc", "live", "a" * 12), 5):
        assert code_of(TOOL, api_key=wrong) == (401, "invalid_credentials")


def test_a_tool_event_becomes_properties_and_measurements() -> None:
    draft = read(
        TOOL,
        event_type="mcp.tool_invoked",
        agent_type="CLAUDE",
        mcp_server_id="database-toolkit",
        execution_duration_ms=Decimal("125.50"),
        execution_status="FAILED",
        input_tokens=7,
        output_tokens=0,
        error_type="Timeout",
        error_message="it took\ntoo long",
        retry_count=2,
        is_parallel_call=False,
        parent_tool_invocation_id="inv-0",
        ingest_timestamp="2026-03-01T12:00:00Z",
        team_id=None,
    )
    assert draft.body == {
        "properties": {
            "agent_type": "CLAUDE",
            "mcp_server_id": "database-toolkit",
            "status": "FAILED",
            "tool": "read_query",
        },
        "measurements": {
            "tool_duration_ms": "125.5",
            "input_tokens": "7",
            "output_tokens": "0",
            "tool_calls": "1",
        },
        "error_type": "Timeout",
        "error_message": "it took\ntoo long",
        "retry_count": 2,
        "is_parallel_call": False,
        "parent_id": "inv-0",
    }
    assert (draft.tool_name, draft.status) == ("read_query", "FAILED")
    assert draft.names == {"product": "database-toolkit"}


def test_a_duration_that_is_negative_by_a_skew_is_zero_and_flagged() -> None:
    draft = read(TOOL, execution_duration_ms=-1000)
    assert draft.body["measurements"]["tool_duration_ms"] == "0"
    assert draft.flags == ["clock_skew"]


def test_the_tool_and_status_of_a_compound_event_are_lifted() -> None:
    draft = read(COMPOUND, properties={"tool": "s3.put", "status": "FAILED", "n": 1})
    assert (draft.tool_name, draft.status) == ("s3.put", "FAILED")
    assert draft.body["properties"]["n"] == "1"


def test_scalars_of_any_kind_are_kept_as_text() -> None:
    odd = {"__proto__": "=HYPERLINK()", "b": True, "d": Decimal("1.50"), "n": None}
    draft = read(COMPOUND, properties=odd | {"s": "<script>"})
    assert draft.body["properties"] == {
        "__proto__": "=HYPERLINK()",
        "b": "true",
        "d": "1.5",
        "s": "<script>",
    }


def test_a_field_says_more_than_a_property_of_its_name_in_any_order() -> None:
    fields = {"execution_status": "FAILED", "properties": {"status": "x", "tool": "y"}}
    backwards = dict(reversed(fields.items()))
    assert read(TOOL, **fields).body == read(TOOL, **backwards).body
    assert read(TOOL, **fields).body["properties"] == {
        "status": "FAILED",
        "tool": "read_query",
    }


def test_what_was_said_to_a_model_is_dropped_and_flagged() -> None:
    draft = read(COMPOUND, properties={"prompt": "secret plans", "model": "m"})
    assert draft.body["properties"] == {"model": "m"}
    assert draft.flags == ["content_dropped"]


@pytest.mark.parametrize("name", FACETS)
def test_who_an_agent_is_is_not_the_senders_to_say(name: str) -> None:
    draft = read(COMPOUND, properties={name: "gold", "model": "m"})
    assert draft.body["properties"] == {"model": "m"}
    assert draft.flags == ["reserved_dropped"]


def test_a_long_error_is_cut_and_flagged() -> None:
    draft = read(TOOL, error_message="x" * 3000)
    assert len(draft.body["error_message"]) == 2000
    assert draft.flags == ["error_cut"]


def test_an_event_is_an_object() -> None:
    values: list[Any] = [[], "x", 1, None, True]
    for value in values:
        with pytest.raises(AforoError) as caught:
            shapes.read(value)
        assert caught.value.code == "invalid_event"
