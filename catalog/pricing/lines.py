"""What pricing answers: lines, and the steps by which each was worked out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from aforo.lib.money import plain
from catalog.pricing.exact import ONE, ZERO, q12

# Named tuples, not dataclasses: a line and its step are made for every charge of
# every event, and a frozen dataclass costs six times as much to make.


class Step(NamedTuple):
    """One part of a line: a quantity at a price.

    In a difference, quantity and amounts may be negative: a tier's units taken back.
    """

    kind: str  # unit tier volume package percent free fixed minimum maximum flat …
    quantity: Decimal
    unit_amount: Decimal  # As the plan says it: per `per` units; percent: the rate.
    amount: Decimal  # 12 places.
    per: Decimal = ONE  # Of a package: its size.
    flat_amount: Decimal = ZERO  # Part of the amount: due for entering the tier.
    floor: Decimal = ZERO  # The tier holds what is above floor …
    up_to: Decimal | None = None  # … up to and including this; None: unbounded.


class Line(NamedTuple):
    """What one charge costs: for one event (a difference) or for a period."""

    charge_key: str
    name: str
    quantity: Decimal
    amount: Decimal  # 12 places; always the sum of the steps' amounts.
    unit: str
    currency: str
    steps: tuple[Step, ...]


def rounded(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Round exact steps to 12 places so that they sum to the rounded sum."""
    result = []
    exact = done = ZERO
    for step in steps:
        exact += step.amount
        upto = q12(exact)
        result.append(step._replace(amount=upto - done))
        done = upto
    return tuple(result)


def amount_of(steps: Iterable[Step]) -> Decimal:
    """Return the sum of the steps' amounts, with 12 places."""
    return q12(sum((step.amount for step in steps), ZERO))


def by_key(lines: Iterable[Line]) -> dict[str, Decimal]:
    """Return what each charge, and the plan as a whole, comes to, in their order."""
    found: dict[str, Decimal] = {}
    for line in lines:
        found[line.charge_key] = found.get(line.charge_key, ZERO) + line.amount
    return found


def difference(*, after: Sequence[Step], before: Sequence[Step]) -> tuple[Step, ...]:
    """Return what changed from one breakdown to another, step by step.

    Where nothing did (units within a package already started), the last step says so.
    """
    new = {(step.kind, step.floor): step for step in after}
    old = {(step.kind, step.floor): step for step in before}
    result = []
    for key in [*(key for key in old if key not in new), *new]:
        a, b = new.get(key), old.get(key)
        shape = a or b
        assert shape is not None
        quantity = (a.quantity if a else ZERO) - (b.quantity if b else ZERO)
        amount = (a.amount if a else ZERO) - (b.amount if b else ZERO)
        flat = (a.flat_amount if a else ZERO) - (b.flat_amount if b else ZERO)
        if quantity or amount:
            result.append(
                shape._replace(quantity=quantity, amount=amount, flat_amount=flat)
            )
    if not result:
        result.append(after[-1]._replace(quantity=ZERO, amount=ZERO, flat_amount=ZERO))
    return tuple(result)


# What a step says after its amount unless told otherwise.
DEFAULTS = (ONE, ZERO, ZERO, None)


def steps_to_json(steps: Iterable[Step]) -> list[list[str | None]]:
    """Return the steps as short arrays of texts; trailing defaults are left out."""
    result = []
    for kind, *values in steps:
        while len(values) > 3 and values[-1] == DEFAULTS[len(values) - 4]:
            values.pop()
        texts = [None if value is None else plain(value) for value in values]
        result.append([kind, *texts])
    return result


def steps_from_json(data: Sequence[Sequence[str | None]]) -> tuple[Step, ...]:
    """Return the steps that `steps_to_json` wrote."""
    steps = []
    for kind, *texts in data:
        assert kind is not None
        values = [None if text is None else Decimal(text) for text in texts]
        steps.append(Step._make([kind, *values, *DEFAULTS[len(values) - 3 :]]))
    return tuple(steps)


def line_to_json(line: Line) -> dict[str, Any]:
    """Return the line as JSON with decimals as strings."""
    return {
        "charge": line.charge_key,
        "name": line.name,
        "quantity": plain(line.quantity),
        "amount": plain(line.amount),
        "unit": line.unit,
        "currency": line.currency,
        "steps": steps_to_json(line.steps),
    }


def line_from_json(data: dict[str, Any]) -> Line:
    """Return the line that `line_to_json` wrote."""
    return Line(
        data["charge"],
        data["name"],
        Decimal(data["quantity"]),
        q12(Decimal(data["amount"])),
        data["unit"],
        data["currency"],
        steps_from_json(data["steps"]),
    )
