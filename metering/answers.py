"""What the ingest doors answer, to one event and to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aforo.lib import errors, ids
from aforo.lib.errors import AforoError
from metering.identity import Event
from metering.store import Stored

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Verdict = AforoError | dict[str, Any]


def refusal(error: AforoError) -> Answer:
    """Return the answer to a request that is refused as a whole."""
    return Answer(
        error.status, errors.problem_bytes(error), errors.problem_headers(error)
    )


def success(body: bytes, *, replayed: bool = False) -> Answer:
    """Return an answer with status 200."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return Answer(200, body, headers)


def taken(event: Event, stored: Stored | None) -> Verdict:
    """Return the verdict on a well-formed event, by what the table holds.

    It holds this very row when the event is new; None: another transaction had the
    id and gave it up meanwhile.
    """
    if stored is None:
        return AforoError("in_flight", 409, "send it again", field="event_id")
    if stored.body_hash != event.body_hash:
        return AforoError(
            "event_conflict",
            422,
            "this event id was used for another event, which is kept",
            field="event_id",
            event_id=event.shown_id,
            first_seen=stored.received_at.isoformat(),
        )
    return {
        "status": "accepted" if stored.id == event.id else "duplicate",
        "event_id": event.shown_id,
        "id": ids.public("evt", stored.id),
        "flags": stored.flags,
    }


def ignored(reason: str) -> dict[str, Any]:
    """Return the verdict on what is understood and no usage, so not kept."""
    return {"status": "ignored", "reason": reason}


def single(verdict: Verdict) -> bytes:
    """Return the body for one event that was accepted before or now, or ignored.

    Raises the refusal of one that was not.
    """
    if isinstance(verdict, AforoError):
        raise verdict
    return _encode(verdict)


def batch(verdicts: Sequence[Verdict]) -> bytes:
    """Return the body for a batch: counts, and one item for each event in order."""
    counts = {"accepted": 0, "duplicate": 0, "ignored": 0, "rejected": 0}
    items: list[dict[str, Any]] = []
    for index, verdict in enumerate(verdicts):
        if isinstance(verdict, AforoError):
            counts["rejected"] += 1
            items.append(_rejected(index, verdict))
        else:
            counts[verdict["status"]] += 1
            items.append({"index": index, **verdict})
    return _encode(
        {
            "accepted": counts["accepted"],
            "duplicates": counts["duplicate"],
            "ignored": counts["ignored"],
            "rejected": counts["rejected"],
            "items": items,
        }
    )


def _rejected(index: int, error: AforoError) -> dict[str, Any]:
    """Return the item of an event that was refused."""
    item: dict[str, Any] = {
        "index": index,
        "status": "rejected",
        "code": error.code,
        "detail": error.detail,
        "http_status": error.status,
    }
    if error.field is not None:
        item["field"] = error.field
    return item | error.extra
