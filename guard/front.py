"""The bare ASGI doors of the guard: no framework between socket and store."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aforo.lib import http
from aforo.lib.errors import AforoError
from aforo.lib.http import Receive, Send
from guard import door, releasing, wording
from guard.drivers import Waiting
from guard.journal import ROTATE_S
from guard.wording import Answer

logger = logging.getLogger(__name__)
Door = Callable[[Mapping[str, Any], Receive], Awaitable[Answer]]

_drivers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Waiting] = (
    weakref.WeakKeyDictionary()
)


def _rotate(loop: asyncio.AbstractEventLoop) -> None:
    """Close the spool's file also when no further check comes."""
    try:
        door.journal().rotate()
    except OSError:
        logger.exception("decisions could not be spooled")
    loop.call_later(ROTATE_S, _rotate, loop)


def _driver() -> Waiting:
    """Return the driver of the running loop."""
    loop = asyncio.get_running_loop()
    driver = _drivers.get(loop)
    if driver is None:
        driver = _drivers[loop] = Waiting(door.memory(), door.recovery())
        loop.call_later(ROTATE_S, _rotate, loop)
    return driver


async def _serve(
    scope: Mapping[str, Any], receive: Receive, send: Send, door_of: Door
) -> None:
    """Answer one request by one of the doors below."""
    try:
        answer = await door_of(scope, receive)
    except AforoError as error:
        answer = wording.refusal(error)
    except Exception:
        logger.exception("a request to the guard failed")
        answer = wording.refusal(AforoError("internal_error", 500, "not judged"))
    await http.send_answer(send, answer.status, answer.headers, answer.body)


def _peer(scope: Mapping[str, Any]) -> str:
    client = scope.get("client")
    return client[0] if client else ""


async def _check(scope: Mapping[str, Any], receive: Receive) -> Answer:
    """Check the request's form, read its body and have it judged."""
    headers = http.headers_of(scope["headers"])
    http.require_method(scope["method"], door.METHODS)
    body = await http.read_body(receive, headers)
    flow = door.flow(
        headers=headers,
        query=scope["query_string"].decode("latin-1"),
        body=body,
        peer=_peer(scope),
    )
    return await _driver().run(flow)


async def _authz(scope: Mapping[str, Any], receive: Receive) -> Answer:
    """Have a request judged by its headers; what it carries is read and dropped."""
    headers = http.headers_of(scope["headers"])
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        await http.drain(receive, headers)
    flow = door.authz(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        peer=_peer(scope),
    )
    return await _driver().run(flow)


async def _release(scope: Mapping[str, Any], receive: Receive) -> Answer:
    """Check the request's form, read its body and void the hold."""
    headers = http.headers_of(scope["headers"])
    name = releasing.name_in(scope["path"])
    if name is None:
        raise AforoError("not_found", 404, "nothing has this address")
    http.require_method(scope["method"], door.METHODS)
    body = await http.read_body(receive, headers)
    flow = door.release(
        name=name,
        headers=headers,
        query=scope["query_string"].decode("latin-1"),
        body=body,
        peer=_peer(scope),
    )
    return await _driver().run(flow)


async def application(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request to POST /v1/check."""
    await _serve(scope, receive, send, _check)


async def authz(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request to /v1/authz, or below it, of any method."""
    await _serve(scope, receive, send, _authz)


async def holds(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request to POST /v1/holds/…/release."""
    await _serve(scope, receive, send, _release)
