"""Steps as the ledger keeps them: one JSON element a charge, as short as it can be.

Nearly every charge of an event has one step, with the quantity and the amount of its
line. Those stand in columns of their own, so the element leaves them out and is a list
of texts: `["unit", "15"]`. Any other is a list of steps as steps_to_json() writes them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import cast

from catalog.pricing.lines import (
    DEFAULTS,
    Line,
    Step,
    steps_from_json,
    steps_to_json,
)

# The element of a charge that tells no steps.
NO_STEPS = "[]"
# What is the same of every step at one price, as JSON; in between come no others than
# the prices of the plans in use. Emptied when full: then each is written once again.
KEPT_MAX = 10_000
_kept: dict[tuple[str | Decimal | None, ...], str] = {}
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def pack_steps(line: Line) -> str:
    """Return the steps of a line as JSON text; unpack_steps() reads them.

    What is left out is taken from the line, so `line` must have the quantity and the
    amount that are stored beside the element.
    """
    steps = line.steps
    if len(steps) == 1:
        kind, quantity, unit, amount, per, flat, floor, up_to = steps[0]
        if (quantity is line.quantity or quantity == line.quantity) and (
            amount is line.amount or amount == line.amount
        ):
            # Fewer numbers to hash for the usual step, which has no tier.
            key: tuple[str | Decimal | None, ...] = (
                (kind, unit, per)
                if up_to is None and not floor and not flat
                else (kind, unit, per, flat, floor, up_to)
            )
            text = _kept.get(key)
            return _keep(key, steps[0]) if text is None else text
    return _encode(steps_to_json(steps))


def _keep(key: tuple[str | Decimal | None, ...], step: Step) -> str:
    """Write what a step says beside its quantity and amount, and remember it."""
    ((kind, _, unit, _, *rest),) = steps_to_json((step,))
    text = _encode([kind, unit, *rest])
    if len(_kept) >= KEPT_MAX:
        _kept.clear()
    _kept[key] = text
    return text


def unpack_steps(
    data: Sequence[str | None] | Sequence[Sequence[str | None]],
    quantity: Decimal,
    amount: Decimal,
) -> tuple[Step, ...]:
    """Return the steps of one element, given what its charge moved by and for."""
    if data and isinstance(data[0], str):
        kind, *texts = cast(Sequence[str | None], data)
        assert kind is not None
        unit, *rest = [None if text is None else Decimal(text) for text in texts]
        assert unit is not None, "a step has a price"
        return (
            Step._make([kind, quantity, unit, amount, *rest, *DEFAULTS[len(rest) :]]),
        )
    return steps_from_json(cast(Sequence[Sequence[str | None]], data))
