"""Calls of a tenant's backend that Django answers: who calls, and what they send."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse

from aforo.core import tenancy
from aforo.lib import clock, crypto, errors, http, sql, strict_json
from aforo.lib.errors import AforoError
from aforo.lib.strict_json import StrictJsonError
from metering.canonical import bad, invalid_credentials
from metering.directory import SERVICE_KEY, Caller

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder(decimal_format="string").encode


def authenticate(request: HttpRequest, *, scope: str) -> Caller:
    """Return the service key's caller, and act for its tenant from here on.

    Raises AforoError: 401 with one body for every bad secret, 403 without the scope.
    """
    http.refuse_key_in_url(request.META.get("QUERY_STRING", ""))
    given = http.authorization(request.headers.get("Authorization", ""))
    key = crypto.parse_key(given.token) if isinstance(given, http.Bearer) else None
    if key is None or key.prefix != "svc":
        raise invalid_credentials()
    with sql.cursor() as cursor:
        row = cursor.execute(SERVICE_KEY, [key.digest]).fetchone()
    if row is None:
        raise invalid_credentials()
    tenant_id, scopes, *ends = row
    ends_at = min((end for end in ends if end is not None), default=None)
    if ends_at is not None and ends_at <= clock.now():
        log.warning("a revoked or expired key was used: %s_…", key.text[:12])
        raise invalid_credentials()
    if scope not in scopes:
        detail = f"this service key lacks the scope {scope}"
        raise AforoError("insufficient_scope", 403, detail)
    tenancy.enter(tenant_id=tenant_id)
    return Caller(tenant_id, frozenset(scopes), None, ends_at)


def body_of(request: HttpRequest) -> bytes:
    """Return the body, decoded, of bounded size.

    Raises AforoError: 400, 413, 415 or 431 for a request of the wrong form.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    size = sum(len(name) + len(value) for name, value in headers.items())
    http.check_headers(headers, size=size)
    http.require_json(headers.get("content-type", ""))
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > http.BODY_MAX:
        raise http.too_large(http.BODY_MAX)
    raw = request.read(http.BODY_MAX + 1)
    return http.decode_body(raw, headers.get("content-encoding", ""))


def members_of(body: bytes, known: Collection[str]) -> dict[str, Any]:
    """Return the members of a JSON object.

    Raises AforoError 400 invalid_body, unknown_field or a code of strict_json.
    """
    if not body.strip(b" \t\r\n"):
        raise bad("invalid_body", "the body is empty")
    try:
        value = strict_json.loads(body)
    except StrictJsonError as error:
        raise bad(error.code, error.detail, error.field) from error
    if not isinstance(value, dict):
        raise bad("invalid_body", "send an object")
    for name in value:
        if name not in known:
            detail = f"{name[:80]} is not known here: {', '.join(known)}"
            raise bad("unknown_field", detail, name[:80])
    if (path := strict_json.null_character(value)) is not None:
        raise bad("invalid_field", "null characters are not allowed", path or None)
    return value


def answer(status: int, value: Any, **headers: str) -> HttpResponse:
    """Return a JSON answer; `value` may be JSON already."""
    body = value if isinstance(value, bytes) else _encode(value)
    named = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return HttpResponse(body, status=status, headers=named | headers)


def refusal(error: AforoError) -> HttpResponse:
    """Return the answer of a refusal."""
    return HttpResponse(
        errors.problem_bytes(error),
        status=error.status,
        headers=errors.problem_headers(error),
    )
