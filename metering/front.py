"""The bare ASGI doors of usage: no framework between socket and store."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from aforo.lib import http
from aforo.lib.errors import AforoError
from aforo.lib.http import Receive, Send
from metering import answers, ingest, otlp
from metering.answers import Answer

logger = logging.getLogger(__name__)


async def application(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request to POST /v1/events."""
    try:
        http.require_method(scope["method"], ingest.METHODS)
        headers = http.headers_of(scope["headers"])
        query = scope["query_string"].decode("latin-1")
        body = await http.read_body(receive, headers)
        answer = await ingest.answer(headers=headers, query=query, body=body)
    except AforoError as error:
        answer = answers.refusal(error)
    except Exception:
        answer = answers.refusal(_internal())
    await _send(send, answer)


async def traces(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one export of spans; refusals are in the encoding of the request."""
    headers: dict[str, str] = {}
    try:
        headers = http.headers_of(scope["headers"])
        http.require_method(scope["method"], otlp.METHODS)
        query = scope["query_string"].decode("latin-1")
        body = await http.read_body(receive, headers)
        answer = await otlp.answer(headers=headers, query=query, body=body)
    except AforoError as error:
        answer = otlp.refusal(error, headers)
    except Exception:
        answer = otlp.refusal(_internal(), headers)
    await _send(send, answer)


def _internal() -> AforoError:
    """Return the refusal after a fault of our own, which is logged."""
    logger.exception("ingest failed")
    return AforoError("internal_error", 500, "not stored")


async def _send(send: Send, answer: Answer) -> None:
    await http.send_answer(send, answer.status, answer.headers, answer.body)
