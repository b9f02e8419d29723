"""Spend levels in plan JSON: read strictly, written back, and who may name them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from aforo.lib.money import plain
from catalog.pricing.agentic import Compound
from catalog.pricing.exact import ONE, PRICE_LIMIT
from catalog.pricing.plan import SPEND_LEVEL, Charge, Filter, Level
from catalog.pricing.reading import PlanError, array, decimal, key, members, text

LEVELS_MAX = 20
TRIGGERS = ("spend_from", "credits_from")
MULTIPLIER = "limits_multiplier"
MULTIPLIER_LIMIT = Decimal(1_001)
THOUSANDTH = Decimal("0.001")


def parse_levels(data: object, path: str) -> tuple[Level, ...]:
    """Return the levels, lowest first; triggers of one kind rise."""
    levels: list[Level] = []
    # Of each trigger, the last level that has it.
    last: dict[str, Level] = {}
    for index, row in enumerate(array(data, path, longest=LEVELS_MAX)):
        here = f"{path}[{index}]"
        level = _level(row, here)
        if any(level.key == other.key for other in levels):
            message = f"another level already has the key {level.key}"
            raise PlanError("duplicate_level", f"{here}.key", message)
        for name in TRIGGERS:
            value: Decimal | None = getattr(level, name)
            if value is None:
                continue
            if not levels:
                message = (
                    "everybody begins at the first level: leave this out, or put a"
                    " level without it first"
                )
                raise PlanError("unsupported", f"{here}.{name}", message)
            before = last.get(name)
            if before is not None and value <= getattr(before, name):
                least = plain(getattr(before, name))
                message = f"must be above {least}, where {before.name} begins"
                raise PlanError("levels_not_increasing", f"{here}.{name}", message)
            last[name] = level
        levels.append(level)
    return tuple(levels)


def _level(data: object, path: str) -> Level:
    """Return one level."""
    names = " ".join((*TRIGGERS, MULTIPLIER))
    row = members(data, path, required="key name", optional=names)
    found = {
        name: decimal(row[name], f"{path}.{name}", below=PRICE_LIMIT, positive=True)
        for name in TRIGGERS
        if row.get(name) is not None
    }
    if len(found) > 1:
        message = "a level has one trigger: spend_from or credits_from"
        raise PlanError("unsupported", f"{path}.{TRIGGERS[1]}", message)
    return Level(
        key(row["key"], f"{path}.key"),
        text(row["name"], f"{path}.name", longest=80),
        found.get("spend_from"),
        found.get("credits_from"),
        _multiplier(row.get(MULTIPLIER), f"{path}.{MULTIPLIER}"),
    )


def _multiplier(data: object, path: str) -> Decimal:
    """Return by what limits a minute are multiplied, 1 where nothing is said."""
    if data is None:
        return ONE
    value = decimal(data, path, below=MULTIPLIER_LIMIT, positive=True)
    # Thousandths are what the guard counts in.
    if value != value.quantize(THOUSANDTH):
        raise PlanError("too_precise", path, "at most three decimal places")
    return value


def check_levels(levels: Sequence[Level], charge: Charge, path: str) -> None:
    """Refuse a charge for a level that the plan does not have."""
    where = f"{path}.filter.{SPEND_LEVEL}"
    named = dict(charge.filter.conditions).get(SPEND_LEVEL)
    if isinstance(charge.model, Compound):
        parts: list[tuple[str, Filter]] = [(where, charge.filter)]
        parts += [
            (f"{path}.price.outcome.all[{index}].where.{SPEND_LEVEL}", one.where)
            for index, one in enumerate(charge.model.requirements)
        ]
        parts += [
            (f"{path}.price.{name}.where.{SPEND_LEVEL}", signal.where)
            for name in ("confirm", "reverse")
            if (signal := getattr(charge.model, name)) is not None
        ]
        for place, conditions in parts:
            if SPEND_LEVEL in dict(conditions.conditions):
                message = (
                    "the events of one outcome can be at several levels: leave"
                    f" {SPEND_LEVEL} out"
                )
                raise PlanError("unsupported", place, message)
        return
    if named is None:
        return
    known = [level.key for level in levels]
    strange = sorted(named - set(known))
    if not known:
        message = (
            f"{SPEND_LEVEL} is set by Aforo where a plan has levels, and this one has"
            " none: add levels, or leave the condition out"
        )
        raise PlanError("unknown_level", where, message)
    if strange:
        message = f"{strange[0]} is none of {', '.join(known)}"
        raise PlanError("unknown_level", where, message)


def levels_to_json(levels: Sequence[Level]) -> list[dict[str, Any]]:
    """Return levels as JSON; a trigger that is not set is left out."""
    return [
        {"key": level.key, "name": level.name}
        | {
            name: plain(value)
            for name in TRIGGERS
            if (value := getattr(level, name)) is not None
        }
        | (
            {}
            if level.limits_multiplier == ONE
            else {MULTIPLIER: plain(level.limits_multiplier)}
        )
        for level in levels
    ]
