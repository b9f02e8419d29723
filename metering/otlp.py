"""The door of OTLP/HTTP traces: exports of spans in, usage events stored."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import psycopg

from aforo.lib import errors, http
from aforo.lib.errors import AforoError
from metering import answers, ingest, otlp_codec, otlp_spans, store
from metering.answers import Answer, Verdict
from metering.envelope import EVENTS_MAX
from metering.otlp_codec import JSON, PROTOBUF, Span
from metering.shapes import Draft

logger = logging.getLogger(__name__)

PATH = "/v1/otlp/v1/traces"
METHODS = ("POST",)
# Refusals that an exporter must repeat; of those it knows only 503 by name.
PASSING = frozenset({408, 409, 500, 503})
REASONS_MAX = 5


async def answer(*, headers: Mapping[str, str], query: str, body: bytes) -> Answer:
    """Return the answer to an export; every refusal is an answer too.

    `headers` by lower-case name; `body` decoded and within its limit.
    """
    try:
        return await take(headers=headers, query=query, body=body)
    except AforoError as error:
        return refusal(error, headers)
    except psycopg.OperationalError as error:
        logger.warning("the store is away: %s", type(error).__name__)
        return refusal(store.unavailable(), headers)


def media_of(headers: Mapping[str, str]) -> str:
    """Return in which encoding a request is, and so its answer."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind if kind in {PROTOBUF, JSON} else ""


def refusal(error: AforoError, headers: Mapping[str, str]) -> Answer:
    """Return a refusal as google.rpc.Status, in the encoding of the request.

    What may pass is 503: exporters repeat that and give up after 408, 409 and 500.
    """
    media = media_of(headers) or JSON
    status = 503 if error.status in PASSING else error.status
    if status == 503:
        wait = error.retry_after or 1
        error = AforoError(error.code, 503, error.detail, retry_after=wait)
    named = errors.problem_headers(error) | {"Content-Type": media}
    return Answer(status, otlp_codec.failure(media, error), named)


async def take(*, headers: Mapping[str, str], query: str, body: bytes) -> Answer:
    """Authenticate, read, check and store; see answer().

    Raises AforoError for an export that is refused as a whole.
    """
    http.refuse_key_in_url(query)
    caller = await ingest.authenticate(headers.get("authorization", ""))
    media = media_of(headers)
    if not media:
        detail = f"send {PROTOBUF} or {JSON}"
        raise AforoError("unsupported_media_type", 415, detail)
    drafts = read(otlp_codec.read(body, media=media))
    judged = await ingest.prepare(caller, drafts)
    verdicts = await ingest.store_all(caller.tenant_id, judged)
    return _render(verdicts, media)


def read(spans: Sequence[Span]) -> list[Draft | AforoError]:
    """Return the drafts of the spans that are usage, and refusals of unreadable ones.

    Raises AforoError 413 for too many of them.
    """
    found: list[Draft | AforoError] = []
    for span in spans:
        kind = otlp_spans.operation(span)
        if not kind:
            continue
        if len(found) == EVENTS_MAX:
            detail = f"an export holds up to {EVENTS_MAX} spans of usage"
            raise AforoError("too_many_events", 413, detail)
        try:
            found.append(otlp_spans.read(span, kind))
        except AforoError as error:
            found.append(error)
    return found


def _render(verdicts: Sequence[Verdict], media: str) -> Answer:
    """Return the answer: nothing to say, or how many spans were refused and why.

    Raises AforoError when one of them is on its way elsewhere: the exporter sends all
    again, and what is stored is a duplicate then.
    """
    refused = [v for v in verdicts if isinstance(v, AforoError)]
    for error in refused:
        if error.status in PASSING:
            raise error
    reasons = Counter(f"{e.code}: {e.detail}" for e in refused).most_common(REASONS_MAX)
    message = "; ".join(f"{count} × {reason}" for reason, count in reasons)
    body = otlp_codec.success(media, rejected=len(refused), message=message)
    return Answer(200, body, answers.success(b"").headers | {"Content-Type": media})
