"""The body of a request: one event, or a batch in either of its two forms."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from aforo.lib import strict_json
from aforo.lib.errors import AforoError
from aforo.lib.strict_json import StrictJsonError
from metering.canonical import bad

EVENTS_MAX = 1000
# Faults of one event that leave the others of its batch readable.
OF_ONE_EVENT = frozenset({"duplicate_key", "number_out_of_range"})


class Envelope(NamedTuple):
    """The events of a request, those that cannot be read as their refusal."""

    is_batch: bool
    events: list[Any]


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


def open_envelope(body: bytes) -> Envelope:
    """Return the events of a body.

    Raises AforoError: 400 invalid_body, invalid_json, duplicate_key, too_deep,
    number_out_of_range, no_events, unknown_field; 413 too_many_events.
    """
    if not body.strip(b" \t\r\n"):
        raise bad("invalid_body", "the body is empty")
    try:
        value = strict_json.loads(body)
    except StrictJsonError as error:
        refused = bad(error.code, error.detail, error.field)
        events = _one_by_one(body) if error.code in OF_ONE_EVENT else None
        if events is None:
            raise refused from error
        value = events
    if isinstance(value, list) and value:
        return Envelope(True, _limited(value))
    if not isinstance(value, dict) or not value:
        raise bad("invalid_body", "send an event, a list of events or {events: […]}")
    if "events" not in value:
        return Envelope(False, [value])
    for name in value:
        if name != "events":
            raise bad("unknown_field", f"{name[:80]} is no field of a batch", name[:80])
    if not isinstance(value["events"], list):
        raise bad("invalid_body", "events is a list", "events")
    if not value["events"]:
        raise bad("no_events", "the batch has no events", "events")
    return Envelope(True, _limited(value["events"]))


def parse(body: bytes) -> Any:
    """Return the JSON of a body that holds one thing.

    Raises AforoError 400: invalid_body or a code of strict_json.
    """
    if not body.strip(b" \t\r\n"):
        raise bad("invalid_body", "the body is empty")
    try:
        return strict_json.loads(body)
    except StrictJsonError as error:
        raise bad(error.code, error.detail, error.field) from error


def _limited(events: list[Any]) -> list[Any]:
    """Refuse a batch that is too long."""
    if len(events) > EVENTS_MAX:
        detail = f"a batch holds up to {EVENTS_MAX} events"
        raise AforoError("too_many_events", 413, detail)
    return events


def _one_by_one(body: bytes) -> list[Any] | None:
    """Read the events of a batch apart; None when the fault is not in one of them."""
    try:
        raws, rebuilt = _raw_events(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    # A member that comes twice outside the events is lost in reading.
    if msgspec.json.format(body, indent=-1) != msgspec.json.format(rebuilt, indent=-1):
        return None
    events: list[Any] = []
    for raw in raws[: EVENTS_MAX + 1]:
        try:
            events.append(strict_json.loads(raw))
        except StrictJsonError as error:
            events.append(bad(error.code, error.detail, error.field))
    return events


def _raw_events(body: bytes) -> tuple[list[bytes], bytes]:
    """Return the text of each event of a batch, and the batch made from them."""
    if body.lstrip(b" \t\r\n").startswith(b"["):
        raws = [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
        return raws, b"[" + b",".join(raws) + b"]"
    batch = msgspec.json.decode(body, type=_Batch)
    raws = [bytes(raw) for raw in batch.events]
    return raws, b'{"events":[' + b",".join(raws) + b"]}"
