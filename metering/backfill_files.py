"""A file of old usage read into events, line by line: NDJSON, a JSON array, or CSV."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec

from aforo.lib import strict_json
from aforo.lib.errors import AforoError
from aforo.lib.strict_json import StrictJsonError
from metering.shapes import TOOL_MARKS

EVENTS_MAX = 5_000
BYTES_MAX = 4 * 1024 * 1024
# Columns of a CSV file that are members of an event's measurements or properties.
GROUPS = ("measurements", "properties")
# A secret has no place in a file that is kept until it is confirmed.
SECRETS = ("apiKey", "api_key")
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Text(NamedTuple):
    """What was read: events as JSON texts with their lines, and what is none."""

    digest: str
    events: list[tuple[int, str]]
    unread: list[tuple[int, str, str]]  # Line, code and detail.


def read(data: bytes) -> Text:
    """Return the events of a file, each with the number of its line.

    A tool event without an id gets one of the file and the line, so a file that is
    brought in twice is a duplicate. Raises AforoError 422: `no_events`,
    `too_many_events`, `too_large`, `invalid_body`, with the field `text`.
    """
    if len(data) > BYTES_MAX:
        size = f"{BYTES_MAX // (1024 * 1024)} MB"
        raise _refused("too_large", f"At most {size} at a time: split the file.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused("invalid_body", f"The text is not UTF-8: {error}.") from None
    found = Text(hashlib.sha256(data).hexdigest(), [], [])
    for line, raw in _lines(text):
        if isinstance(raw, AforoError):
            found.unread.append((line, raw.code, raw.detail))
            continue
        named = _named(raw, found.digest, line)
        found.events.append((line, _encode(named).decode()))
    count = len(found.events) + len(found.unread)
    if not count:
        raise _refused("no_events", "There is no event: give one on each line.")
    if count > EVENTS_MAX:
        detail = f"{count:,} events: at most {EVENTS_MAX:,} at a time; split the file."
        raise _refused("too_many_events", detail)
    return found


def _refused(code: str, detail: str) -> AforoError:
    """Return the refusal of a whole file."""
    return AforoError(code, 422, detail, field="text")


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each event with its line; what is none as the reason."""
    start = text.lstrip()[:1]
    if start == "[":
        yield from _array(text)
    elif start == "{" or not start:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, _checked(_json(line))
    else:
        yield from _csv(text)


def _json(text: str) -> Any:
    """Return the value of a JSON text, or why it is none."""
    try:
        return strict_json.loads(text.strip().encode())
    except StrictJsonError as error:
        detail = error.detail.replace("the body is", "this is")
        return AforoError(error.code, 400, detail)


def _checked(value: Any) -> Any:
    """Return an event as it is, or why it is none."""
    if isinstance(value, AforoError):
        return value
    if not isinstance(value, dict):
        return AforoError("invalid_event", 400, "an event is an object")
    for name in SECRETS:
        if value.get(name):
            detail = f"name the customer or the agent, not a secret ({name})"
            return AforoError("secret_in_file", 400, detail)
    return value


def _array(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the events of a JSON array, numbered as if each were a line."""
    value = _json(text)
    if isinstance(value, AforoError):
        raise _refused("invalid_body", f"The array cannot be read: {value.detail}.")
    for number, item in enumerate(value, start=1):
        yield number, _checked(item)


def _csv(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the events of a CSV file; a column is a field of the event.

    `measurements.input_tokens` is a measurement, `properties.model` a property.
    """
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        head = [name.strip() for name in next(rows)]
        if "eventType" not in head and "tool_name" not in head:
            detail = (
                "The text is neither JSON nor CSV: the first line of CSV names the"
                " columns, eventType or tool_name among them."
            )
            raise _refused("invalid_body", detail)
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(head):
                said = f"{len(cells)} cells under {len(head)} column names"
                yield rows.line_num, AforoError("invalid_row", 400, said)
            else:
                given = zip(head, map(str.strip, cells), strict=True)
                yield rows.line_num, _checked(_event(dict(given)))
    except csv.Error as error:
        raise _refused("invalid_body", f"Line {rows.line_num}: {error}.") from None


def _event(row: Mapping[str, str]) -> Any:
    """Return the event of a row; an empty cell says nothing."""
    made: dict[str, Any] = {}
    measured: list[dict[str, Any]] = []
    for column, text in row.items():
        group, dot, name = column.partition(".")
        if not text:
            continue
        if not dot or group not in GROUPS:
            made[column] = _number(text) if column in NUMBERS else text
        elif group == "properties":
            made.setdefault(group, {})[name] = text
        else:
            value = _number(text)
            if isinstance(value, str):
                return AforoError("invalid_number", 400, f"{column}: {text} is none")
            measured.append({"metricKey": name, "value": value})
    if measured:
        made["measurements"] = measured
    return made


# Fields of tool events that are numbers.
NUMBERS = frozenset(
    {"input_tokens", "output_tokens", "execution_duration_ms", "retry_count"}
)


def _number(text: str) -> Decimal | int | str:
    """Return the number of a cell, or the text when it is none."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    if not value.is_finite() or abs(value.adjusted()) > strict_json.EXPONENT_MAX:
        return text
    return int(value) if value == value.to_integral_value() else value


def _named(raw: dict[str, Any], digest: str, line: int) -> dict[str, Any]:
    """Return an event with an id, where its sender would have been given one."""
    is_tool = "eventType" not in raw and not TOOL_MARKS.isdisjoint(raw)
    if not is_tool or raw.get("event_id"):
        return raw
    return {**raw, "event_id": f"file-{digest[:20]}-{line}"}
