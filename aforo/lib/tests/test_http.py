from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import Mapping
from typing import Any

import pytest

from aforo.lib import http
from aforo.lib.errors import AforoError, problem, problem_headers


def refusal(call: Any, *args: Any, **kwargs: Any) -> tuple[int, str]:
    with pytest.raises(AforoError) as caught:
        call(*args, **kwargs)
    return caught.value.status, caught.value.code


class Chunks:
    """An ASGI receive that gives one chunk per call and then hangs."""

    def __init__(self, *chunks: bytes, ends: bool = True) -> None:
        self.left = list(chunks)
        self.ends = ends
        self.asked = 0

    async def __call__(self) -> Mapping[str, Any]:
        self.asked += 1
        if not self.left:
            await asyncio.sleep(3600)
        body = self.left.pop(0)
        return {
            "type": "http.request",
            "body": body,
            "more_body": bool(self.left) or not self.ends,
        }


def read(receive: Chunks, **headers: str) -> bytes:
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return asyncio.run(http.read_body(receive, named, limit=1000, timeout_s=0.1))


def test_a_body_is_read_over_several_chunks() -> None:
    assert read(Chunks(b"ab", b"cd")) == b"abcd"


def test_a_gzip_body_is_unpacked() -> None:
    assert read(Chunks(gzip.compress(b"{}")), content_encoding="gzip") == b"{}"


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    chunks = Chunks(b"x")
    assert refusal(read, chunks, content_length="1001") == (413, "body_too_large")
    assert chunks.asked == 0


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_long() -> None:
    chunks = Chunks(*[b"x" * 300] * 10)
    assert refusal(read, chunks) == (413, "body_too_large")
    assert chunks.asked == 4


def test_a_gzip_bomb_is_refused() -> None:
    bomb = gzip.compress(b"\0" * 100_000)
    assert len(bomb) < 1000
    answer = refusal(read, Chunks(bomb), content_encoding="gzip")
    assert answer == (413, "body_too_large")


def test_a_body_without_an_end_times_out() -> None:
    assert refusal(read, Chunks(b"x", ends=False)) == (408, "body_timeout")


@pytest.mark.parametrize(
    ("_case", "raw", "encoding", "answer"),
    [
        # Without a time in the header: every process must name these cases alike.
        ("not gzip", b"{}", "gzip", (400, "invalid_encoding")),
        (
            "cut gzip",
            gzip.compress(b"{}", mtime=0)[:-4],
            "gzip",
            (400, "invalid_encoding"),
        ),
        (
            "two members",
            gzip.compress(b"{}", mtime=0) * 2,
            "gzip",
            (400, "invalid_encoding"),
        ),
        ("brotli", b"{}", "br", (415, "unsupported_encoding")),
        ("two encodings", b"{}", "gzip, gzip", (415, "unsupported_encoding")),
    ],
)
def test_a_broken_encoding_is_refused(
    _case: str, raw: bytes, encoding: str, answer: tuple[int, str]
) -> None:
    assert refusal(http.decode_body, raw, encoding) == answer


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        'application/json;charset="UTF-8"',
    ],
)
def test_json_in_utf8_is_taken(content_type: str) -> None:
    http.require_json(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/json; charset=utf-16",
        "application/jsonp",
        "application/x-www-form-urlencoded",
    ],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    answer = refusal(http.require_json, content_type)
    assert answer == (415, "unsupported_media_type")


def test_a_wrong_method_is_told_the_right_one() -> None:
    with pytest.raises(AforoError) as caught:
        http.require_method("TRACE", ["POST"])
    assert caught.value.status == 405
    assert problem_headers(caught.value)["Allow"] == "POST"


@pytest.mark.parametrize(
    "query",
    [
        "api_key=x",
        "a=1&apikey=x",
        "token=x",
        "x=sk_live_abcdefghijkl_secret",
        "x=%73k_live_abc",
        "svc_test_x",
    ],
)
def test_a_key_in_the_address_is_refused(query: str) -> None:
    assert refusal(http.refuse_key_in_url, query) == (401, "key_in_url")


def test_an_ordinary_query_is_no_secret() -> None:
    http.refuse_key_in_url("page=2&task_live=1&tokens=5")


def test_headers_over_the_limit_are_refused() -> None:
    big = [(b"x-a", b"y" * 20_000)]
    assert refusal(http.headers_of, big) == (431, "headers_too_large")


def test_two_lengths_are_refused() -> None:
    both = [(b"content-length", b"2"), (b"transfer-encoding", b"chunked")]
    assert refusal(http.headers_of, both) == (400, "invalid_headers")


def test_two_credentials_are_refused() -> None:
    twice = [(b"Authorization", b"Bearer a"), (b"authorization", b"Bearer b")]
    assert refusal(http.headers_of, twice) == (400, "invalid_headers")


def test_header_names_lose_their_case_and_repeats_are_joined() -> None:
    pairs = [(b"X-Tag", b"a"), (b"x-tag", b"b")]
    assert http.headers_of(pairs) == {"x-tag": "a, b"}


def test_authorization_has_two_forms() -> None:
    basic = base64.b64encode(b"agt_1:cs_secret:x").decode()
    assert http.authorization("bearer abc") == http.Bearer("abc")
    assert http.authorization(f"Basic {basic}") == http.Basic("agt_1", "cs_secret:x")


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer a b", "Digest x", "Basic !!!", "Basic /w==", "Basic YWJj"],
)
def test_an_authorization_without_form_is_none(value: str) -> None:
    assert http.authorization(value) is None


def test_a_problem_names_its_code_field_and_wait() -> None:
    error = AforoError(
        "spend_cap", 429, "Blocked.", field="x", retry_after=0.2, used="1"
    )
    body = problem(error)
    assert body["status"] == 429
    assert (body["code"], body["field"], body["used"]) == ("spend_cap", "x", "1")
    assert body["retry_after"] == 1
    assert problem_headers(error)["Retry-After"] == "1"
    assert problem_headers(error)["Content-Type"] == "application/problem+json"
