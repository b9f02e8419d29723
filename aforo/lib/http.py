"""What every door asks of a request before it reads it: form, size, secrets."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import urllib.parse
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec

from aforo.lib.errors import AforoError

BODY_MAX = 1024 * 1024
HEADERS_MAX = 16 * 1024
BODY_TIMEOUT_S = 10.0

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_KEY_IN_URL = re.compile(
    r"(?:sk|cs|svc)_(?:live|test)_|(?:^|[?&;])(?:api_?key|access_token|client_secret|"
    r"secret|token)=",
    re.IGNORECASE,
)


class Basic(msgspec.Struct, frozen=True, gc=False):
    """The two halves of an HTTP Basic header."""

    user: str
    password: str


class Bearer(msgspec.Struct, frozen=True, gc=False):
    """The token of an Authorization header."""

    token: str


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return ASGI headers by lower-case name; a name that comes twice is joined.

    Raises AforoError: 431 when they are too long, 400 when a request carries both
    Content-Length and Transfer-Encoding or two different credentials.
    """
    headers: dict[str, str] = {}
    size = 0
    for raw_name, raw_value in pairs:
        size += len(raw_name) + len(raw_value)
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers and name in {"authorization", "content-length"}:
            raise AforoError("invalid_headers", 400, f"{name} comes twice")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    check_headers(headers, size=size)
    return headers


def check_headers(headers: Mapping[str, str], *, size: int) -> None:
    """Refuse headers that are too long (431) or say two lengths (400)."""
    if size > HEADERS_MAX:
        raise AforoError(
            "headers_too_large", 431, f"headers may take {HEADERS_MAX} bytes"
        )
    if "content-length" in headers and "transfer-encoding" in headers:
        raise AforoError(
            "invalid_headers",
            400,
            "Content-Length and Transfer-Encoding exclude another",
        )


def require_method(method: str, allowed: Collection[str]) -> None:
    """Refuse a method that the address does not answer (405 with Allow)."""
    if method not in allowed:
        names = ", ".join(sorted(allowed))
        raise AforoError(
            "method_not_allowed", 405, f"use {names}", headers={"Allow": names}
        )


def refuse_key_in_url(query: str) -> None:
    """Refuse a secret in the query string: addresses end up in logs (401)."""
    if query and _KEY_IN_URL.search(urllib.parse.unquote_plus(query)):
        raise AforoError(
            "key_in_url",
            401,
            "send keys in the Authorization header; this one is in an address, so in "
            "logs: rotate it",
        )


def require_json(
    content_type: str, allowed: Collection[str] = ("application/json",)
) -> None:
    """Refuse a body that does not say it is UTF-8 JSON (415)."""
    kind, _, rest = content_type.partition(";")
    charset = ""
    for parameter in rest.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    if kind.strip().lower() not in allowed or charset not in {"", "utf-8", "utf8"}:
        raise AforoError(
            "unsupported_media_type", 415, f"send {', '.join(allowed)} in UTF-8"
        )


def too_large(limit: int) -> AforoError:
    """Return the refusal of a body over the limit."""
    return AforoError("body_too_large", 413, f"a body may take {limit} bytes")


def decode_body(raw: bytes, encoding: str, *, limit: int = BODY_MAX) -> bytes:
    """Return the body without its Content-Encoding (gzip or none).

    Raises AforoError: 413 as soon as the result would exceed `limit` bytes, 415 for
    another encoding, 400 for a broken one.
    """
    name = encoding.strip().lower()
    if len(raw) > limit:
        raise too_large(limit)
    if name in {"", "identity"}:
        return raw
    if name != "gzip":
        raise AforoError("unsupported_encoding", 415, "send gzip or no encoding")
    unpack = zlib.decompressobj(wbits=31)
    try:
        body = unpack.decompress(raw, limit + 1)
    except zlib.error as error:
        raise AforoError("invalid_encoding", 400, "the body is not gzip") from error
    if len(body) > limit:
        raise too_large(limit)
    if not unpack.eof or unpack.unused_data:
        raise AforoError("invalid_encoding", 400, "the gzip body is cut or doubled")
    return body


async def read_body(
    receive: Receive,
    headers: Mapping[str, str],
    *,
    limit: int = BODY_MAX,
    timeout_s: float = BODY_TIMEOUT_S,
) -> bytes:
    """Read an ASGI body, decoded, of at most `limit` bytes.

    Raises AforoError: 413 without reading on, 408 when it does not come in time.
    """
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise too_large(limit)
    try:
        async with asyncio.timeout(timeout_s):
            raw = await _collect(receive, limit)
    except TimeoutError as error:
        raise AforoError(
            "body_timeout", 408, "the body did not come in time"
        ) from error
    return decode_body(raw, headers.get("content-encoding", ""), limit=limit)


async def drain(
    receive: Receive,
    headers: Mapping[str, str],
    *,
    limit: int = BODY_MAX,
    timeout_s: float = BODY_TIMEOUT_S,
) -> None:
    """Read a body that nobody wants, so that the connection can be used again.

    Raises AforoError 413 and 408 as read_body() does.
    """
    await read_body(
        receive,
        {"content-length": headers.get("content-length", "")},
        limit=limit,
        timeout_s=timeout_s,
    )


async def _collect(receive: Receive, limit: int) -> bytes:
    """Return the chunks of an ASGI body as one."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise AforoError("disconnected", 400, "the caller went away")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def send_answer(
    send: Send, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Send a whole answer over ASGI."""
    raw = [
        (k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()
    ]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def authorization(value: str) -> Basic | Bearer | None:
    """Return the credentials of an Authorization header; None when it has no form."""
    scheme, _, rest = value.partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer" and rest and " " not in rest:
        return Bearer(rest)
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(rest, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    return Basic(user, password) if colon and user else None
