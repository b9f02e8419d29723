"""Outcomes in JSON: read strictly, and written back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aforo.lib.money import plain
from catalog.pricing.agentic import Compound, CostBudget, Grouping, Requirement, Signal
from catalog.pricing.exact import PRICE_LIMIT, RATE_LIMIT
from catalog.pricing.plan import (
    Filter,
    Graduated,
    Included,
    Model,
    Package,
    PerUnit,
    Volume,
)
from catalog.pricing.reading import (
    PlanError,
    array,
    decimal,
    members,
    number,
    strings,
    text,
)

REQUIREMENTS_MAX = 20
AT_LEAST_MAX = 1_000
WITHIN_MAX = 31 * 86_400
ABSORBS_MAX = 100


def parse_compound(
    data: object,
    path: str,
    *,
    model: Callable[[object, str], Model],
    filter: Callable[[object, str], Filter],
) -> Compound:
    """Return an outcome and its price, or raise PlanError.

    `model` and `filter` read the parts that all charges have.
    """
    row = members(
        data,
        path,
        required="outcome price",
        optional="absorbs confirm reverse cost_budget",
    )
    where = f"{path}.outcome"
    outcome = members(
        row["outcome"], where, required="all", optional="by within_seconds"
    )
    by = text(outcome.get("by", "correlation"), f"{where}.by", longest=40)
    if by not in set(Grouping):
        message = f"{by} is none of {', '.join(Grouping)}"
        raise PlanError("unknown_choice", f"{where}.by", message)
    price = model(row["price"], f"{path}.price")
    if not isinstance(price, PerUnit | Graduated | Volume | Package | Included):
        message = (
            "an outcome is priced per_unit, graduated, volume, package or included"
        )
        raise PlanError("unsupported", f"{path}.price", message)
    return Compound(
        requirements=_requirements(outcome["all"], f"{where}.all", filter),
        by=Grouping(by),
        within_seconds=_within(outcome, where),
        absorbs=tuple(
            strings(row.get("absorbs", []), f"{path}.absorbs", longest=ABSORBS_MAX)
        ),
        price=price,
        confirm=_signal(row.get("confirm"), f"{path}.confirm", filter),
        reverse=_signal(row.get("reverse"), f"{path}.reverse", filter),
        budget=_budget(row.get("cost_budget"), f"{path}.cost_budget"),
    )


def _within(row: dict[str, Any], path: str) -> int | None:
    """Return a window in seconds, if there is one."""
    within = row.get("within_seconds")
    if within is None:
        return None
    where = f"{path}.within_seconds"
    return number(within, where, smallest=1, largest=WITHIN_MAX)


def _signal(
    data: object, path: str, filter: Callable[[object, str], Filter]
) -> Signal | None:
    """Return the events that confirm or reverse an outcome, if any do."""
    if data is None:
        return None
    row = members(data, path, required="event_type", optional="where within_seconds")
    kind = text(row["event_type"], f"{path}.event_type", longest=80)
    where = filter(row.get("where", {}), f"{path}.where")
    return Signal(kind, where, _within(row, path))


def _budget(data: object, path: str) -> CostBudget | None:
    """Return what an outcome may cost us, if that is limited."""
    if data is None:
        return None
    row = members(data, path, required="amount overage_percent")
    return CostBudget(
        decimal(row["amount"], f"{path}.amount", below=PRICE_LIMIT),
        decimal(
            row["overage_percent"],
            f"{path}.overage_percent",
            below=RATE_LIMIT,
            positive=True,
        ),
    )


def _requirements(
    data: object, path: str, filter: Callable[[object, str], Filter]
) -> tuple[Requirement, ...]:
    """Return the events that make an outcome."""
    rows = array(data, path, longest=REQUIREMENTS_MAX)
    if not rows:
        raise PlanError("empty", path, "name at least one event type")
    found = []
    for index, entry in enumerate(rows):
        here = f"{path}[{index}]"
        row = members(entry, here, required="event_type", optional="at_least where")
        least = number(
            row.get("at_least", 1),
            f"{here}.at_least",
            smallest=1,
            largest=AT_LEAST_MAX,
        )
        kind = text(row["event_type"], f"{here}.event_type", longest=80)
        found.append(
            Requirement(kind, least, filter(row.get("where", {}), f"{here}.where"))
        )
    return tuple(found)


def compound_to_json(
    compound: Compound,
    *,
    model: Callable[[Model], dict[str, Any]],
    filter: Callable[[Filter], dict[str, Any]],
) -> dict[str, Any]:
    """Return what `parse_compound` reads back as the same."""
    outcome: dict[str, Any] = {
        "all": [
            {"event_type": one.event_type}
            | ({"at_least": one.at_least} if one.at_least > 1 else {})
            | ({"where": filter(one.where)} if one.where.conditions else {})
            for one in compound.requirements
        ]
    }
    if compound.by is not Grouping.CORRELATION:
        outcome["by"] = str(compound.by)
    if compound.within_seconds is not None:
        outcome["within_seconds"] = compound.within_seconds
    row = {"model": "compound", "outcome": outcome, "price": model(compound.price)}
    if compound.absorbs:
        row["absorbs"] = list(compound.absorbs)
    for name, signal in (("confirm", compound.confirm), ("reverse", compound.reverse)):
        if signal is not None:
            row[name] = _signal_to_json(signal, filter)
    if compound.budget is not None:
        row["cost_budget"] = {
            "amount": plain(compound.budget.amount),
            "overage_percent": plain(compound.budget.overage_percent),
        }
    return row


def _signal_to_json(
    signal: Signal, filter: Callable[[Filter], dict[str, Any]]
) -> dict[str, Any]:
    """Return what `_signal` reads back as the same."""
    row: dict[str, Any] = {"event_type": signal.event_type}
    if signal.where.conditions:
        row["where"] = filter(signal.where)
    if signal.within_seconds is not None:
        row["within_seconds"] = signal.within_seconds
    return row
