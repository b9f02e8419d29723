from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aforo.lib import strict_json


def code_of(body: bytes) -> str:
    with pytest.raises(strict_json.StrictJsonError) as caught:
        strict_json.loads(body)
    return caught.value.code


@pytest.mark.parametrize(
    ("_case", "body"),
    [
        ("empty", b""),
        ("truncated", b'{"a": 1'),
        ("trailing bytes", b"{} x"),
        ("two values", b"{}{}"),
        ("UTF-16", '{"a": 1}'.encode("utf-16")),
        ("byte order mark", b"\xef\xbb\xbf{}"),
        ("bytes that are not UTF-8", b'{"a": "\xff"}'),
        ("NaN", b'{"a": NaN}'),
        ("Infinity", b'{"a": Infinity}'),
        ("-Infinity", b'{"a": -Infinity}'),
        ("a raw newline in a text", b'{"a": "x\ny"}'),
        ("a lone surrogate", b'{"a": "\\ud800"}'),
        ("hexadecimal", b'{"a": 0x10}'),
        ("a leading zero", b'{"a": 01}'),
        ("a comment", b'{"a": 1} // b'),
        ("single quotes", b"{'a': 1}"),
    ],
)
def test_it_refuses_what_is_not_json(_case: str, body: bytes) -> None:
    assert code_of(body) == "invalid_json"


@pytest.mark.parametrize(
    ("_case", "body"),
    [
        ("at the top", b'{"a": 1, "a": 2}'),
        ("with equal values", b'{"a": 1, "a": 1}'),
        ("inside a list", b'[1, {"x": {"b": [], "c": 1, "b": []}}]'),
        ("one of them escaped", b'{"a": 1, "\\u0061": 1}'),
        ("an empty key", b'{"": 1, "": 1}'),
        ("hidden by a text of the same length", b'{"a":1,"a":1,"b":"x"}'),
    ],
)
def test_it_refuses_a_key_that_comes_twice(_case: str, body: bytes) -> None:
    assert code_of(body) == "duplicate_key"


def test_the_error_names_the_key_that_comes_twice() -> None:
    with pytest.raises(strict_json.StrictJsonError) as caught:
        strict_json.loads(b'{"value": 1, "b": 2, "value": 3}')
    assert caught.value.field == "value"


@pytest.mark.parametrize(
    ("_case", "body"),
    [
        ("100,000 open brackets", b"[" * 100_000),
        ("100,000 nested arrays", b"[" * 100_000 + b"]" * 100_000),
        ("17 arrays", b"[" * 17 + b"]" * 17),
        ("17 arrays around a number", b"[" * 17 + b"1" + b"]" * 17),
        ("17 objects", b'{"a":' * 17 + b"1" + b"}" * 17),
        ("16 arrays around an empty object", b"[" * 16 + b"{}" + b"]" * 16),
    ],
)
def test_it_refuses_more_than_sixteen_levels(_case: str, body: bytes) -> None:
    assert code_of(body) == "too_deep"


def test_sixteen_levels_are_allowed() -> None:
    assert strict_json.loads(b"[" * 16 + b"1" + b"]" * 16) is not None
    assert strict_json.loads(b'{"a":' * 16 + b"1" + b"}" * 16) is not None


def test_brackets_inside_a_text_are_no_levels() -> None:
    text = "[" * 40 + "\\" * 2 + '\\"' + "{" * 40
    body = f'{{"a": "{text}", "b": "]]]]"}}'.encode()
    assert strict_json.loads(body) == json.loads(body)


@pytest.mark.parametrize(
    "number",
    [
        "1e400",
        "1E+999999",
        "1E+400000000",
        "1e-400",
        "9" * 65,
        "9" * 5000,
        "-" + "9" * 65,
        "0." + "1" * 80,
    ],
)
@pytest.mark.parametrize("around", ["%s", '{"a": %s}', "[%s]"])
def test_it_refuses_a_number_out_of_range(number: str, around: str) -> None:
    assert code_of((around % number).encode()) == "number_out_of_range"


def test_a_long_run_of_digits_in_a_text_is_no_number() -> None:
    digits = "7" * 200
    assert strict_json.loads(f'{{"hash": "{digits}"}}'.encode()) == {"hash": digits}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9007199254740993", 9007199254740993),
        ("18446744073709551617", 18446744073709551617),
        ("0.1", Decimal("0.1")),
        ("1.50", Decimal("1.50")),
        (
            "12345678901234567890.123456789012",
            Decimal("12345678901234567890.123456789012"),
        ),
        ("1e3", Decimal("1000")),
        ("-0", 0),
    ],
)
def test_numbers_keep_every_digit(text: str, value: int | Decimal) -> None:
    read = strict_json.loads(f'{{"a": {text}}}'.encode())["a"]
    assert read == value
    assert type(read) is type(value)


def test_null_true_and_texts_at_the_top_are_json() -> None:
    assert strict_json.loads(b"null") is None
    assert strict_json.loads(b"true") is True
    assert strict_json.loads(b'"x"') == "x"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def code_or_none(body: bytes) -> str | None:
    try:
        strict_json.loads(body)
    except strict_json.StrictJsonError as error:
        return error.code
    return None


@given(json_values, st.booleans(), st.sampled_from([None, 2]))
def test_it_reads_what_the_standard_library_wrote(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assume(code_or_none(body) != "too_deep")
    assert strict_json.loads(body) == value


@given(st.lists(st.tuples(st.sampled_from("abc:"), json_values), max_size=6))
def test_a_duplicate_is_found_wherever_it_is(pairs: list[tuple[str, Any]]) -> None:
    members = ", ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in pairs)
    body = f'{{"outer": [{{{members}}}]}}'.encode()
    doubled = len({k for k, _ in pairs}) < len(pairs)
    code = code_or_none(body)
    assume(code != "too_deep")
    assert code == ("duplicate_key" if doubled else None)
