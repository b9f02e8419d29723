"""Calls of a tenant's backend that Django answers: who calls, and what it is told."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from django.http import HttpRequest, HttpResponse

from aforo.core import idempotency, key_use, tenancy
from aforo.core.idempotency import Once
from aforo.lib import clock, crypto, errors, http, sql
from aforo.lib.errors import AforoError

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder(decimal_format="string").encode

# Who holds a service key, by the digest of its secret; no row: nobody.
FIND_KEY = "SELECT id, tenant_id, scopes, expires_at, revoked_at"
FIND_KEY += " FROM aforo_find_service_key(%b)"


class Holder(NamedTuple):
    """The service key that calls, and the tenant that it speaks for."""

    key_id: uuid.UUID
    tenant_id: uuid.UUID
    scopes: frozenset[str]
    ends_at: dt.datetime | None  # When it expires, or was revoked.


def invalid_credentials(key: str | None = None) -> AforoError:
    """Return the one refusal of every bad secret; `key` names its field, if any."""
    detail = "these credentials are not valid"
    return AforoError("invalid_credentials", 401, detail, field=key)


def holder(row: tuple[Any, ...]) -> Holder:
    """Return the holder of a row of FIND_KEY."""
    key_id, tenant_id, scopes, *ends = row
    ends_at = min((end for end in ends if end is not None), default=None)
    return Holder(key_id, tenant_id, frozenset(scopes), ends_at)


def authenticate(request: HttpRequest, *, scope: str) -> Holder:
    """Return whose service key calls, and act for its tenant from here on.

    A customer's own credential opens nothing here. Raises AforoError: 400 for a key in
    the address, 401 with one body for every bad secret, 403 without the scope.
    """
    http.refuse_key_in_url(request.META.get("QUERY_STRING", ""))
    given = http.authorization(request.headers.get("Authorization", ""))
    key = crypto.parse_key(given.token) if isinstance(given, http.Bearer) else None
    if key is None or key.prefix != "svc":
        raise invalid_credentials()
    with sql.cursor() as cursor:
        row = cursor.execute(FIND_KEY, [key.digest]).fetchone()
    if row is None:
        raise invalid_credentials()
    found = holder(row)
    if found.ends_at is not None and found.ends_at <= clock.now():
        log.warning("a revoked or expired key was used: %s_…", key.text[:12])
        raise invalid_credentials()
    if scope not in found.scopes:
        detail = f"this service key lacks the scope {scope}"
        raise AforoError("insufficient_scope", 403, detail)
    tenancy.enter(tenant_id=found.tenant_id)
    key_use.note_after_commit(found.tenant_id, found.key_id)
    return found


def headers_of(request: HttpRequest) -> dict[str, str]:
    """Return the headers by lower-case name; 431 and 400 as the doors refuse them."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    size = sum(len(name) + len(value) for name, value in headers.items())
    http.check_headers(headers, size=size)
    return headers


def body_of(request: HttpRequest, headers: Mapping[str, str]) -> bytes:
    """Return the body, decoded and of bounded size.

    Raises AforoError: 413 `body_too_large`, 415 for another encoding.
    """
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > http.BODY_MAX:
        raise http.too_large(http.BODY_MAX)
    raw = request.read(http.BODY_MAX + 1)
    return http.decode_body(raw, headers.get("content-encoding", ""))


def answer(status: int, value: Any, **headers: str) -> HttpResponse:
    """Return a JSON answer; `value` may be JSON already."""
    body = value if isinstance(value, bytes) else _encode(value)
    named = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return HttpResponse(body, status=status, headers=named | headers)


def answer_once(once: Once | None, act: Callable[[], HttpResponse]) -> HttpResponse:
    """Return what `act` answers, or what the same request was answered before.

    In a transaction, with what `act` writes. None: the request names no key. Raises
    AforoError as idempotency.find does; a refusal keeps no answer.
    """
    earlier = idempotency.find(once) if once is not None else None
    if earlier is not None:
        status, told = earlier
        replayed = {"Idempotency-Replayed": "true"}
        return answer(status, told, **replayed)
    given = act()
    if once is not None:
        idempotency.keep(once, given.status_code, given.content)
    return given


def refusal(error: AforoError) -> HttpResponse:
    """Return the answer of a refusal."""
    return HttpResponse(
        errors.problem_bytes(error),
        status=error.status,
        headers=errors.problem_headers(error),
    )
