"""Any provider's usage block as exact measurements; pure, and it never raises.

`read` takes a block, a whole response or the events of a stream as they came;
`strip` returns what of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from metering.normalize import openai_chat, shapes, streams
from metering.normalize.context import context, model_of
from metering.normalize.reading import (
    AMBIGUOUS,
    MISSING,
    NOT_READ,
    Block,
    Hint,
    Reading,
)
from metering.normalize.streams import strip

__all__ = ["AMBIGUOUS", "MISSING", "NOT_READ", "Hint", "Reading", "read", "strip"]

NO_HINT = Hint()


def read(block: Any, *, hint: Hint = NO_HINT) -> Reading:
    """Return what a usage block says.

    `block` is decoded JSON with whole numbers as int and others as Decimal. Whatever
    it is, nothing is raised: what cannot be understood is said in the flags. The hint
    never decides how figures are read.
    """
    try:
        return _read(block, hint)
    except RecursionError:
        doubt = "it is nested too deeply"
        return Reading(flags=(NOT_READ,), doubts=(doubt,), provider=hint.provider)


def _read(block: Any, hint: Hint) -> Reading:
    """Return what a usage block says; see read()."""
    found = streams.find(block)
    plain = Reading(provider=hint.provider, model=hint.model)
    if found.usage is None:
        doubt = "no usage was received"
        return replace(plain, flags=(MISSING,), doubts=(doubt,))
    shape = shapes.shape_of(found.usage)
    if shape is None:
        names = streams.names(list(found.usage)[:5]) or "nothing"
        doubts = found.doubts or (f"no known form of usage has {names}",)
        return replace(plain, flags=(NOT_READ,), doubts=doubts)
    read_from = Block(found.usage, list(found.doubts))
    measurements: Mapping[str, int | Decimal] = shape.measure(read_from)
    if not measurements and not read_from.doubts:
        read_from.doubt("it counts nothing")
    flags: tuple[str, ...] = (AMBIGUOUS,) if read_from.doubts else ()
    if not flags and not found.is_final:
        # What the answer took was not said yet; the input was.
        measurements = {
            name: count
            for name, count in measurements.items()
            if name not in _OF_THE_ANSWER and not name.startswith("output_")
        }
        flags = (MISSING,)
        read_from.doubt("the stream ended before its last usage")
    return Reading(
        api=shape.api,
        provider=hint.provider or shape.provider or openai_chat.provider(found.usage),
        model=hint.model or model_of(found.facts),
        measurements=measurements,
        context=context(found.usage, found.facts),
        reported_cost=openai_chat.reported_cost(found.usage),
        flags=flags,
        doubts=tuple(read_from.doubts),
    )


_OF_THE_ANSWER = frozenset({"reasoning_tokens", "web_searches", "web_fetches"})
