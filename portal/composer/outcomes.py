"""The form of outcomes: tables of events, what is said of them, and our cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from catalog.pricing.compound_json import ABSORBS_MAX, REQUIREMENTS_MAX
from portal.composer import rows
from portal.composer.numbers import clean
from portal.composer.params import Column, Param
from portal.composer.spelled import conditions_text, seconds_of, span_of
from portal.composer.typed import Price

BY = (("correlation", "a correlation id"), ("session", "a session"))
_KIND = Column("event_type", "Event type", suggest="event_types")
_WHERE = Column("where", "Only where", "conditions", optional=True)
_WITHIN = Column("within_seconds", "Within", "span", optional=True)

PARAMS = (
    Param(
        "requirements",
        "Events that make it",
        "rows",
        columns=(
            _KIND,
            Column(
                "at_least", "At least", "count", optional=True, positive=True, start="1"
            ),
            _WHERE,
        ),
        rows_max=REQUIREMENTS_MAX,
        hint="Conditions such as status = SUCCESS, OK; region = eu.",
        path="outcome.all",
        group="What makes it",
    ),
    Param(
        "by",
        "Held together by",
        "choice",
        choices=BY,
        start=BY[0][0],
        path="outcome.by",
        group="What makes it",
    ),
    Param(
        "within",
        "All of them within",
        "span",
        optional=True,
        hint="Between the first events of each kind, such as 30 min.",
        path="outcome.within_seconds",
        group="What makes it",
    ),
    Param(
        "confirm",
        "Charged only when such an event came",
        "rows",
        optional=True,
        columns=(_KIND, _WHERE, _WITHIN),
        rows_max=1,
        hint="From its completion on, within such as 3 days; blank: whenever it came.",
        group="Confirmed and reversed",
    ),
    Param(
        "reverse",
        "Taken back when such an event came",
        "rows",
        optional=True,
        columns=(_KIND, _WHERE, _WITHIN),
        rows_max=1,
        hint="From its completion on, within such as 3 days; blank: without an end.",
        group="Confirmed and reversed",
    ),
    Param(
        "absorbs",
        "Measurements that the price covers",
        "rows",
        optional=True,
        columns=(Column("name", "Measurement", suggest="measurements"),),
        rows_max=ABSORBS_MAX,
        unique=True,
        hint="They are metered and costed, not billed; customers never see them.",
        group="What it covers",
    ),
    Param(
        "budget",
        "Our cost of one is covered up to",
        "price",
        optional=True,
        hint="Of all its events; each needs a known cost then.",
        path="cost_budget.amount",
        group="What it covers",
        beside="overage_percent",
    ),
    Param(
        "overage_percent",
        "Beyond it our cost is billed at, in %",
        "rate",
        optional=True,
        positive=True,
        hint="130 bills it plus 30 %.",
        path="cost_budget.overage_percent",
        group="What it covers",
        beside="budget",
    ),
)
_TABLES = {param.name: param for param in PARAMS if param.kind == "rows"}
_KEYS = {"model", "outcome", "absorbs", "price", "confirm", "reverse", "cost_budget"}


def read_compound(
    data: Mapping[str, Any], read_price: Callable[[Any], Price]
) -> Price | None:
    """Return an outcome as texts; None when the form cannot show it."""
    outcome, budget = data.get("outcome"), data.get("cost_budget") or {}
    if set(data) - _KEYS or not isinstance(outcome, Mapping):
        return None
    if set(outcome) - {"all", "by", "within_seconds"}:
        return None
    if not isinstance(budget, Mapping) or set(budget) - {"amount", "overage_percent"}:
        return None
    absorbs = data.get("absorbs") or []
    pieces = outcome.get("all")
    if not isinstance(absorbs, list) or not isinstance(pieces, list):
        return None
    found = {
        "requirements": _events("requirements", pieces),
        "absorbs": rows.read_list(
            _TABLES["absorbs"], [{"name": name} for name in absorbs]
        ),
    }
    for name in ("confirm", "reverse"):
        said = data.get(name)
        found[name] = _events(name, [] if said is None else [said])
    tables = {name: table for name, table in found.items() if table is not None}
    if len(tables) < len(found):
        return None
    values = {
        "by": str(outcome.get("by") or BY[0][0]),
        "within": span_of(outcome.get("within_seconds")),
        "budget": rows.text_of(budget.get("amount")),
        "overage_percent": rows.text_of(budget.get("overage_percent")),
    }
    inner = read_price(data.get("price"))
    return Price("compound", values, inner=inner, rows=tables)


def _events(name: str, data: list[Any]) -> rows.Rows | None:
    """Return kinds of events as rows; None when a table cannot show all of them."""
    param = _TABLES[name]
    names = {column.name for column in param.columns}
    spelled = []
    for one in data:
        if not isinstance(one, Mapping) or set(one) - names:
            return None
        where = conditions_text(one.get("where", {}))
        if where is None:
            return None
        row: dict[str, Any] = {**one, "where": where}
        if "at_least" in names:
            row["at_least"] = one.get("at_least", 1)
        if "within_seconds" in names:
            row["within_seconds"] = span_of(one.get("within_seconds"))
        spelled.append(row)
    return rows.read_list(param, spelled)


def write_compound(price: Price, inner: Any) -> dict[str, Any]:
    """Return texts as an outcome; `inner` is the JSON of its price."""
    values = price.values
    made = {
        name: rows.write_list(param, price.rows.get(name, []))
        for name, param in _TABLES.items()
    }
    for one in made["requirements"]:
        if one.get("at_least") == 1:
            del one["at_least"]
    outcome: dict[str, Any] = {"all": made["requirements"]}
    if values.get("by", BY[0][0]) != BY[0][0]:
        outcome["by"] = values["by"]
    if within := values.get("within", "").strip():
        outcome["within_seconds"] = seconds_of(within)
    row: dict[str, Any] = {"model": "compound", "outcome": outcome, "price": inner}
    if absorbs := [one["name"] for one in made["absorbs"]]:
        row["absorbs"] = absorbs
    for name in ("confirm", "reverse"):
        if made[name]:
            row[name] = made[name][0]
    budget = clean(values.get("budget", ""))
    share = clean(values.get("overage_percent", ""))
    if budget or share:
        row["cost_budget"] = {"amount": budget, "overage_percent": share}
    return row
