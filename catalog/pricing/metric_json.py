"""What a charge counts and for which usage, read strictly from JSON."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from catalog.pricing.plan import Aggregation, Filter, Metric, Source, Window
from catalog.pricing.reading import PlanError, key, members, strings, text

FILTER_KEYS_MAX = 20
FILTER_VALUES_MAX = 500

Choice = TypeVar("Choice", bound=StrEnum)


def choice(kind: type[Choice], value: object, path: str) -> Choice:
    """Return a member of an enumeration by its name in JSON."""
    name = text(value, path, longest=40)
    try:
        return kind(name)
    except ValueError:
        known = ", ".join(kind)
        message = f"{name} is none of {known}"
        raise PlanError("unknown_choice", path, message) from None


def parse_metric(data: object, path: str) -> Metric:
    """Return what a charge counts."""
    row = members(
        data,
        path,
        required="key aggregation",
        optional="measurement property cogs event_types window",
    )
    aggregation = choice(Aggregation, row["aggregation"], f"{path}.aggregation")
    sources = [name for name in ("measurement", "property", "cogs") if name in row]
    if len(sources) > 1 or (not sources and aggregation is not Aggregation.COUNT):
        message = "name one of measurement, property or cogs"
        raise PlanError("invalid_metric", path, message)
    source, field = Source.EVENT, ""
    if sources:
        source = Source(sources[0])
        if source is not Source.COGS:
            field = text(row[source], f"{path}.{source}", longest=128)
        elif row["cogs"] is not True:
            raise PlanError("wrong_type", f"{path}.cogs", "cogs can only be true")
    types = strings(row.get("event_types", []), f"{path}.event_types", longest=100)
    window = choice(Window, row.get("window", Window.PERIOD), f"{path}.window")
    return Metric(
        key(row["key"], f"{path}.key"),
        aggregation,
        source,
        field,
        frozenset(types),
        window,
    )


def parse_filter(data: object, path: str) -> Filter:
    """Return a charge's conditions: a text, or a list of the texts allowed."""
    row = members(data, path, others=True)
    if len(row) > FILTER_KEYS_MAX:
        message = f"at most {FILTER_KEYS_MAX} properties"
        raise PlanError("too_many", path, message)
    conditions = []
    for name, value in sorted(row.items()):
        allowed = strings(
            [value] if isinstance(value, str) else value,
            f"{path}.{name}",
            longest=FILTER_VALUES_MAX,
        )
        if not allowed:
            raise PlanError("empty", f"{path}.{name}", "nothing could match")
        conditions.append((name, frozenset(allowed)))
    return Filter(tuple(conditions))
