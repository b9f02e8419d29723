"""The bare ASGI door of POST /v1/events: no framework between socket and store."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from aforo.lib import http
from aforo.lib.errors import AforoError
from aforo.lib.http import Receive, Send
from metering import answers, ingest
from metering.answers import Answer

logger = logging.getLogger(__name__)


async def application(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request."""
    try:
        answer = await _answer(scope, receive)
    except AforoError as error:
        answer = answers.refusal(error)
    except Exception:
        logger.exception("ingest failed")
        answer = answers.refusal(AforoError("internal_error", 500, "not stored"))
    await http.send_answer(send, answer.status, answer.headers, answer.body)


async def _answer(scope: Mapping[str, Any], receive: Receive) -> Answer:
    """Check the request's form, read its body and have it answered."""
    http.require_method(scope["method"], ingest.METHODS)
    headers = http.headers_of(scope["headers"])
    query = scope["query_string"].decode("latin-1")
    body = await http.read_body(receive, headers)
    return await ingest.answer(headers=headers, query=query, body=body)
