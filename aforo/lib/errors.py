"""Refusals with a stable code, and the one JSON body they all have."""

from __future__ import annotations

import math
from typing import Any

import msgspec

# Address of the page that explains a code; it is an identifier, not a promise to
# answer.
TYPE_BASE = "https://aforo.dev/problems/"
CONTENT_TYPE = "application/problem+json"

_encode = msgspec.json.Encoder(decimal_format="string").encode

TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Refused",
    429: "Limit reached",
    431: "Request header fields too large",
    503: "Unavailable",
}


class AforoError(Exception):
    """A request that is refused for a reason the caller can act on.

    code is stable; detail is for people; field names the member at fault;
    retry_after is in seconds; extra members join the body.
    """

    def __init__(
        self,
        code: str,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.status = status
        self.detail = detail
        self.field = field
        self.retry_after = retry_after
        self.headers = headers or {}
        self.extra = extra


def whole_seconds(seconds: float) -> int:
    """Return a wait as whole seconds, rounded up, at least one."""
    return max(1, math.ceil(seconds))


def problem(error: AforoError) -> dict[str, Any]:
    """Return the body of a refusal: type, title, status, code, detail and more."""
    body: dict[str, Any] = {
        "type": TYPE_BASE + error.code,
        "title": TITLES.get(error.status, "Error"),
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    if error.field is not None:
        body["field"] = error.field
    if error.retry_after is not None:
        body["retry_after"] = whole_seconds(error.retry_after)
    return {**body, **error.extra}


def problem_headers(error: AforoError) -> dict[str, str]:
    """Return the headers of a refusal, its content type among them."""
    headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(whole_seconds(error.retry_after))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="aforo"'
    return {**headers, **error.headers}


def problem_bytes(error: AforoError) -> bytes:
    """Return the body of a refusal as JSON."""
    return _encode(problem(error))
