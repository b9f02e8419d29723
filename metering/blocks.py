"""Usage blocks of events: read when they arrive, read again while they are doubtful.

What a clean reading says is stored with the event and never read again, so an event
is explained by what it was rated with. The reading is no part of the body's hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from aforo.lib.money import plain
from metering import normalize
from metering.normalize import AMBIGUOUS, MISSING, NOT_READ, Hint, Reading

# The block and the measurements beside it say different numbers; the block counts.
DIFFERS = "usage_differs"
# The provider said nothing final: what the sender measured itself is what counts.
ESTIMATED = "estimated"
# The reasons for which an event is listed and its usage is not counted yet.
UNREAD = (NOT_READ, AMBIGUOUS, MISSING)
# What a reading may add to the properties, where the sender said nothing.
CONTEXT = ("speed", "service_tier", "region")
DETAIL_MAX = 280

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Stored(msgspec.Struct):
    """What is kept of a reading beside the block, as far as rating needs it."""

    refused: str = ""  # Why the event may not be priced: one of UNREAD.
    doubts: list[str] = []
    sent: dict[str, str] = {}  # The measurements that came beside the block.


@dataclass(slots=True)
class Merged:
    """A reading together with the measurements that came beside the block."""

    reading: Reading
    measurements: dict[str, str]  # Empty when the event is refused.
    flags: list[str] = field(default_factory=list)
    refused: str = ""
    differs: list[str] = field(default_factory=list)  # Names that were contradicted.

    @property
    def detail(self) -> str:
        """What is doubtful, in a sentence."""
        return said(self.reading.doubts)


def _texts(reading: Reading) -> dict[str, str]:
    """Return the measurements of a reading as decimal texts."""
    return {
        name: str(count) if type(count) is int else plain(Decimal(count))
        for name, count in reading.measurements.items()
    }


def said(doubts: list[str] | tuple[str, ...]) -> str:
    """Return doubts as one text of bounded length."""
    return "; ".join(doubts)[:DETAIL_MAX]


def merge(reading: Reading, sent: Mapping[str, str]) -> Merged:
    """Return what an event measures by its block and by the sender's own figures.

    Those count for names that the block does not give. They stand in for a block that
    says nothing, flagged; they do not settle one that can be read in two ways.
    """
    given = _texts(reading)
    both = dict(sent) | given
    merged = Merged(reading, both, list(reading.flags))
    merged.differs = sorted(
        name
        for name in sent
        if name in given and Decimal(sent[name]) != Decimal(given[name])
    )
    if merged.differs:
        merged.flags.append(DIFFERS)
    if reading.is_clean:
        return merged
    # A stream that broke off still needs what the answer took.
    is_whole = bool(sent) and (not given or "output_tokens" in sent)
    if AMBIGUOUS in reading.flags or not is_whole:
        merged.refused, merged.measurements = reading.flags[0], {}
    elif MISSING in reading.flags:
        merged.flags.append(ESTIMATED)
    return merged


def take(body: dict[str, Any], block: bytes) -> tuple[dict[str, Any], list[str]]:
    """Return the body to store of an event with a usage block, and the flags.

    `block` is what of it is kept, as canonical JSON: what is read now is what a later
    reader finds.
    """
    sent: dict[str, str] = body.get("measurements", {})
    properties: dict[str, str] = body.get("properties", {})
    merged = merge(normalize.read(_decode(block), hint=_hint(properties)), sent)
    reading = merged.reading
    told: dict[str, Any] = {"api": reading.api, "provider": reading.provider}
    if sent:
        told["sent"] = sent
    if merged.differs:
        told["differs"] = merged.differs
    if reading.doubts:
        told["doubts"] = list(reading.doubts)
    if merged.refused:
        told["refused"] = merged.refused
        told["guess"] = _texts(reading)
    stored = {
        **body,
        "usage": msgspec.Raw(block),
        "measurements": merged.measurements,
        "properties": _with_context(properties, reading, model=True),
        "reading": told,
    }
    if reading.reported_cost is not None and "cost" not in body:
        amount = plain(reading.reported_cost)
        stored["cost"] = {"amount": amount, "currency": "USD"}
    return stored, merged.flags


def again(
    raw: msgspec.Raw, known: Stored | None, properties: Mapping[str, str]
) -> Merged:
    """Return what the reader of today makes of a stored block that was not read."""
    try:
        block = _decode(raw)
    except (msgspec.DecodeError, ArithmeticError, ValueError):
        block = None
    return merge(
        normalize.read(block, hint=_hint(properties)), known.sent if known else {}
    )


def with_context(properties: dict[str, str], reading: Reading) -> dict[str, str]:
    """Return the properties with what a later reading found of the price.

    Its model is left out: sums are kept by model, and were counted without.
    """
    return _with_context(properties, reading, model=False)


def _with_context(
    properties: dict[str, str], reading: Reading, *, model: bool
) -> dict[str, str]:
    """Return the properties with what the sender left out and the reading tells."""
    found = {n: t for n in CONTEXT if (t := reading.context.get(n))}
    if model and reading.model:
        found["model"] = reading.model
    return {**found, **properties}


def _hint(properties: Mapping[str, str]) -> Hint:
    """Return what the properties say of a block's origin."""
    return Hint(properties.get("provider", ""), properties.get("model", ""))
