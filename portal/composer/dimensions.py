"""The form of a charge by dimensions: its tables and boxes, and their plan JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aforo.lib.money import CONTEXT, plain
from catalog.pricing.exact import read
from portal.composer import rows
from portal.composer.numbers import clean
from portal.composer.params import Column, Param
from portal.composer.typed import Price

MODES = (("PAY_AS_YOU_GO", "as they come"), ("COMMITTED", "by commitment"))
UNITS = (("per_invocation", "for each call"), ("per_second", "for each second"))
# As many names as the engine takes.
TOOLS_MAX, TOKENS_MAX = 1_000, 50
# Longer texts than numbers are: kept as they are.
DIGITS_MAX = 40
_FROM = Column("min_invocations", "From calls", "count")
_RATED = ("tool_invocations", "volume_tiers", "token_multipliers", "duration_buckets")

PARAMS = (
    Param(
        "tool_invocations",
        "Rate of a call, by tool",
        "rows",
        optional=True,
        columns=(
            Column("name", "Tool", suggest="tools"),
            Column("rate", "Rate of a call", "price"),
        ),
        rows_max=TOOLS_MAX,
        unique=True,
        rest="other tools",
        group="Calls of tools",
    ),
    Param(
        "billing_mode",
        "Calls are paid",
        "choice",
        choices=MODES,
        start=MODES[0][0],
        hint="Committed: so many calls are paid when the period opens; beyond them the"
        " rate of other tools holds.",
        group="Calls of tools",
    ),
    Param(
        "committed_amount",
        "Committed calls",
        "whole",
        optional=True,
        group="Calls of tools",
        beside="committed_price",
    ),
    Param(
        "committed_price",
        "Price of the commitment",
        "price",
        optional=True,
        group="Calls of tools",
        beside="committed_amount",
    ),
    Param(
        "volume_tiers",
        "Rate of other tools, by calls in the period",
        "rows",
        optional=True,
        hint="All calls of other tools are at the rate that the whole period reaches;"
        " tools with a rate of their own keep it.",
        columns=(
            Column("min_invocations", "From calls", "count", fixed="0"),
            Column("rate", "Rate of a call", "price"),
        ),
        spans="starts",
        group="Calls of tools",
    ),
    Param(
        "token_multipliers",
        "Rate of a token",
        "rows",
        optional=True,
        columns=(
            Column("name", "Measurement", suggest="measurements"),
            Column("rate", "Rate of one", "price"),
        ),
        rows_max=TOKENS_MAX,
        unique=True,
        group="Tokens",
    ),
    Param(
        "tool_multipliers",
        "Tokens cost times, by tool",
        "rows",
        optional=True,
        hint="A tool that is not here: 1.",
        columns=(
            Column("name", "Tool", suggest="tools"),
            Column("factor", "Times", "price"),
        ),
        rows_max=TOOLS_MAX,
        unique=True,
        group="Tokens",
        needs=("token_multipliers",),
        off="it multiplies the rate of a token, and there is none",
    ),
    Param(
        "duration_buckets",
        "Rate by duration",
        "rows",
        optional=True,
        hint="What takes longer than the last row is at its rate.",
        columns=(
            Column("max_seconds", "Up to seconds", "rate", positive=True),
            Column("rate", "Rate", "price"),
        ),
        spans="ends",
        group="Duration",
    ),
    Param(
        "duration_unit",
        "Durations are paid",
        "choice",
        choices=UNITS,
        start=UNITS[0][0],
        path="duration_buckets.unit",
        group="Duration",
        needs=("duration_buckets",),
        off="there is no rate by duration",
    ),
    Param(
        "base_session_fee",
        "Fee of a session",
        "price",
        optional=True,
        group="Sessions",
    ),
    Param(
        "included_tool_count",
        "Calls that its fee covers",
        "whole",
        optional=True,
        group="Sessions",
        needs=("base_session_fee",),
        off="a session has no fee",
    ),
    Param(
        "error_threshold",
        "Price of errors: failed calls above, in %",
        "share",
        optional=True,
        hint="Of a session's calls: 5 is one in twenty.",
        path="error_rate_penalties.threshold",
        group="Sessions",
        beside="error_multiplier",
        needs=_RATED,
        off="nothing is priced whose errors could cost more",
    ),
    Param(
        "error_multiplier",
        "Then the session costs times",
        "factor",
        optional=True,
        hint="Its fee apart.",
        path="error_rate_penalties.multiplier",
        group="Sessions",
        beside="error_threshold",
        needs=_RATED,
        off="nothing is priced whose errors could cost more",
    ),
    Param(
        "volume_discounts",
        "Discount, by calls in the period",
        "rows",
        optional=True,
        hint="On the whole period, once it has so many calls; session fees apart.",
        columns=(_FROM, Column("percent", "Discount in %", "percent")),
        spans="starts",
        group="Discounts",
        needs=_RATED,
        off="nothing is priced that could be discounted",
    ),
)
NOTHING = (
    "This charge prices nothing yet. Type a rate of calls, tokens or durations, the"
    " fee of a session, or the price of a commitment."
)
_TABLES = {param.name: param for param in PARAMS if param.kind == "rows"}
_RATES = ("tool_invocations", "token_multipliers", "tool_multipliers")
_LEVELS = ("volume_tiers", "volume_discounts")
_COMMITTED = ("committed_amount", "committed_price")
_KEYS = frozenset(
    {
        *_TABLES,
        *_COMMITTED,
        "billing_mode",
        "model",
        "error_rate_penalties",
        "base_session_fee",
        "included_tool_count",
    }
)


def prices(price: Price) -> bool:
    """Tell whether something has a price: multipliers and discounts alone have not."""
    fees = (price.values.get(n, "") for n in ("base_session_fee", "committed_price"))
    return any(fee.strip() for fee in fees) or any(
        rows.filled(_TABLES[name], price.rows.get(name, [])) for name in _RATED
    )


def read_dimensions(data: Mapping[str, Any]) -> Price | None:
    """Return a charge by dimensions as texts; None when the form cannot show it."""
    if set(data) - _KEYS:
        return None
    found = {n: rows.read_mapping(_TABLES[n], data.get(n)) for n in _RATES}
    found |= {n: rows.read_list(_TABLES[n], data.get(n)) for n in _LEVELS}
    buckets, unit = data.get("duration_buckets"), UNITS[0][0]
    if isinstance(buckets, Mapping):
        if set(buckets) - {"unit", "buckets"}:
            return None
        unit, buckets = str(buckets.get("unit", unit)), buckets.get("buckets")
    name = "duration_buckets"
    found[name] = rows.read_list(_TABLES[name], buckets)
    penalty = data.get("error_rate_penalties") or {}
    if not isinstance(penalty, Mapping) or set(penalty) - {"threshold", "multiplier"}:
        return None
    values = {
        "duration_unit": unit,
        "error_threshold": _percent(rows.text_of(penalty.get("threshold")), 2),
        "error_multiplier": rows.text_of(penalty.get("multiplier")),
        "base_session_fee": rows.text_of(data.get("base_session_fee")),
        "included_tool_count": rows.text_of(data.get("included_tool_count") or None),
        "billing_mode": rows.text_of(data.get("billing_mode")) or MODES[0][0],
    }
    values |= {name: rows.text_of(data.get(name)) for name in _COMMITTED}
    tables = {name: table for name, table in found.items() if table is not None}
    if len(tables) < len(found):
        return None
    return Price("dimensions", values, rows=tables)


def write_dimensions(price: Price) -> dict[str, Any]:
    """Return texts as a charge by dimensions; the engine judges them."""
    values = price.values
    typed = {name: price.rows.get(name, []) for name in _TABLES}
    row: dict[str, Any] = {"model": "dimensions"}
    for name in _RATES:
        rates = rows.write_mapping(_TABLES[name], typed[name])
        if rates or name == "tool_invocations":
            row[name] = rates
    name = "duration_buckets"
    if buckets := rows.write_list(_TABLES[name], typed[name]):
        unit = values.get("duration_unit", UNITS[0][0])
        by_call = unit == UNITS[0][0]
        row[name] = buckets if by_call else {"unit": unit, "buckets": buckets}
    threshold = _percent(values.get("error_threshold", ""), -2)
    multiplier = clean(values.get("error_multiplier", ""))
    if threshold or multiplier:
        row["error_rate_penalties"] = {
            "threshold": threshold,
            "multiplier": multiplier,
        }
    for name in _LEVELS:
        if levels := rows.write_list(_TABLES[name], typed[name]):
            row[name] = levels
    if fee := clean(values.get("base_session_fee", "")):
        row["base_session_fee"] = fee
    if count := clean(values.get("included_tool_count", "")):
        row["included_tool_count"] = _whole(count)
    return row | _commitment(values)


def _commitment(values: Mapping[str, str]) -> dict[str, Any]:
    """Return what of calls is committed; what is typed without it is kept."""
    row: dict[str, Any] = {}
    if values.get("billing_mode", MODES[0][0]) != MODES[0][0]:
        row["billing_mode"] = values["billing_mode"]
    if amount := clean(values.get("committed_amount", "")):
        row["committed_amount"] = _whole(amount)
    if price := clean(values.get("committed_price", "")):
        row["committed_price"] = price
    return row


def _whole(text: str) -> int | str:
    """Return a whole number as one, anything else as it was typed."""
    short = text.isascii() and text.isdecimal() and len(text) <= 20
    return int(text) if short else text


def _percent(text: str, places: int) -> str:
    """Return a number times 10 to the power of places; other texts as they are."""
    short = clean(text)
    number = read(short) if len(short) <= DIGITS_MAX else None
    return short if number is None else plain(number.scaleb(places, CONTEXT))
