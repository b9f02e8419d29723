"""The bare ASGI door of POST /v1/check: no framework between socket and store."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Mapping
from typing import Any

from aforo.lib import http
from aforo.lib.errors import AforoError
from aforo.lib.http import Receive, Send
from guard import door, wording
from guard.drivers import Waiting
from guard.journal import ROTATE_S
from guard.wording import Answer

logger = logging.getLogger(__name__)

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


async def application(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request."""
    try:
        answer = await _answer(scope, receive)
    except AforoError as error:
        answer = wording.refusal(error)
    except Exception:
        logger.exception("a check failed")
        answer = wording.refusal(AforoError("internal_error", 500, "not judged"))
    await http.send_answer(send, answer.status, answer.headers, answer.body)


async def _answer(scope: Mapping[str, Any], receive: Receive) -> Answer:
    """Check the request's form, read its body and have it judged."""
    headers = http.headers_of(scope["headers"])
    http.require_method(scope["method"], door.METHODS)
    body = await http.read_body(receive, headers)
    client = scope.get("client")
    flow = door.flow(
        headers=headers,
        query=scope["query_string"].decode("latin-1"),
        body=body,
        peer=client[0] if client else "",
    )
    return await _driver().run(flow)
