"""Pricing by dimensions in JSON: read strictly, and written back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from aforo.lib.money import PLACES, plain
from catalog.pricing.agentic import Bucket, Dimensions, DurationUnit, From, Penalty
from catalog.pricing.commitment import commitment_to_json, parse_commitment
from catalog.pricing.exact import HUNDRED, ONE, PRICE_LIMIT, RATE_LIMIT, places
from catalog.pricing.reading import (
    PlanError,
    array,
    decimal,
    members,
    number,
    number_text,
    text,
)

TOOLS_MAX = 1_000
TOKENS_MAX = 50
LEVELS_MAX = 100
INVOCATIONS_MAX = 10**12
# Factors and percentages multiply whole amounts: more places would not be exact.
_FACTOR_PLACES = 4
_KEYS = (
    "tool_invocations token_multipliers tool_multipliers duration_buckets "
    "error_rate_penalties volume_tiers volume_discounts base_session_fee "
    "included_tool_count billing_mode committed_amount committed_price"
)


def parse_dimensions(data: object, path: str) -> Dimensions:
    """Return rates by tool, tokens, duration and session, or raise PlanError."""
    row = members(data, path, optional=_KEYS)
    if not row:
        raise PlanError("missing_key", path, f"name at least one of {_KEYS}")
    tools = _rates(row.get("tool_invocations", {}), f"{path}.tool_invocations")
    tokens = _rates(
        row.get("token_multipliers", {}), f"{path}.token_multipliers", TOKENS_MAX
    )
    factors = _rates(row.get("tool_multipliers", {}), f"{path}.tool_multipliers")
    _check_products(tokens, factors, f"{path}.tool_multipliers")
    unit, buckets = _buckets(row.get("duration_buckets", []), path)
    model = Dimensions(
        tools={name: rate for name, rate in tools.items() if name != "*"},
        other_tools=tools.get("*"),
        tokens=tokens,
        multipliers=factors,
        buckets=buckets,
        duration_unit=unit,
        penalty=_penalty(row.get("error_rate_penalties"), path),
        volume_rates=_levels(row.get("volume_tiers", []), f"{path}.volume_tiers"),
        discounts=_discounts(row.get("volume_discounts", []), path),
        session_fee=_exact(
            row.get("base_session_fee", "0"),
            f"{path}.base_session_fee",
            below=PRICE_LIMIT,
        ),
        included_tools=number(
            row.get("included_tool_count", 0),
            f"{path}.included_tool_count",
            smallest=0,
            largest=INVOCATIONS_MAX,
        ),
    )
    model = parse_commitment(row, path, model)
    if model.volume_rates and model.volume_rates[0].min_invocations:
        where = f"{path}.volume_tiers[0].min_invocations"
        raise PlanError("out_of_range", where, "the first tier starts at 0")
    return model


def _exact(
    value: object, path: str, *, below: Decimal, positive: bool = False
) -> Decimal:
    """Return an exact number: a text, or a JSON number that lost nothing."""
    value = number_text(value, path)
    return decimal(value, path, below=below, positive=positive)


def _factor(value: object, path: str, *, below: Decimal) -> Decimal:
    """Return a number that multiplies amounts."""
    factor = _exact(value, path, below=below)
    if places(factor, per=1) > _FACTOR_PLACES:
        message = f"more than {_FACTOR_PLACES} decimal places"
        raise PlanError("too_precise", path, message)
    return factor


def _rates(data: object, path: str, longest: int = TOOLS_MAX) -> dict[str, Decimal]:
    """Return rates by name."""
    row = members(data, path, others=True)
    if len(row) > longest:
        raise PlanError("too_many", path, f"at most {longest:,} names")
    rates = {}
    for name, value in sorted(row.items()):
        text(name, path, longest=120)
        if ":" in name:
            raise PlanError("invalid_text", f"{path}.{name}", "a name holds no colon")
        rates[name] = _exact(value, f"{path}.{name}", below=PRICE_LIMIT)
    return rates


def _check_products(
    tokens: dict[str, Decimal], factors: dict[str, Decimal], path: str
) -> None:
    """Refuse a multiplier that makes a token's rate inexact or too large."""
    for tool, factor in factors.items():
        for name, rate in tokens.items():
            product = rate * factor
            if places(product, per=1) > PLACES:
                message = f"{name} at this multiple has more than {PLACES} places"
                raise PlanError("too_precise", f"{path}.{tool}", message)
            if product >= PRICE_LIMIT:
                message = f"{name} at this multiple must be below {PRICE_LIMIT:,f}"
                raise PlanError("out_of_range", f"{path}.{tool}", message)


def _buckets(data: object, path: str) -> tuple[DurationUnit, tuple[Bucket, ...]]:
    """Return the buckets: a list, or an object that says the unit too."""
    path, unit = f"{path}.duration_buckets", DurationUnit.PER_INVOCATION
    if isinstance(data, dict):
        row = members(data, path, required="buckets", optional="unit")
        name = text(row.get("unit", unit.value), f"{path}.unit", longest=40)
        if name not in set(DurationUnit):
            known = ", ".join(DurationUnit)
            message = f"{name} is none of {known}"
            raise PlanError("unknown_choice", f"{path}.unit", message)
        unit, data, path = DurationUnit(name), row["buckets"], f"{path}.buckets"
    buckets: list[Bucket] = []
    for index, entry in enumerate(array(data, path, longest=LEVELS_MAX)):
        here = f"{path}[{index}]"
        row = members(entry, here, required="max_seconds rate")
        longest = _exact(
            row["max_seconds"], f"{here}.max_seconds", below=RATE_LIMIT, positive=True
        )
        if buckets and longest <= buckets[-1].max_seconds:
            message = f"must be above {plain(buckets[-1].max_seconds)}"
            raise PlanError("tiers_not_increasing", f"{here}.max_seconds", message)
        rate = _exact(row["rate"], f"{here}.rate", below=PRICE_LIMIT)
        buckets.append(Bucket(longest, rate))
    return unit, tuple(buckets)


def _penalty(data: object, path: str) -> Penalty | None:
    """Return what sessions with many errors cost."""
    if data is None:
        return None
    path = f"{path}.error_rate_penalties"
    row = members(data, path, required="threshold multiplier")
    threshold = _factor(row["threshold"], f"{path}.threshold", below=ONE)
    multiplier = _factor(row["multiplier"], f"{path}.multiplier", below=Decimal(1000))
    if multiplier < ONE:
        message = "a penalty multiplies by 1 or more"
        raise PlanError("out_of_range", f"{path}.multiplier", message)
    return Penalty(threshold, multiplier)


def _rising(levels: list[From], least: int, path: str) -> None:
    """Refuse a level that does not begin above the one before."""
    if levels and least <= levels[-1].min_invocations:
        message = f"must be above {levels[-1].min_invocations:,}"
        raise PlanError("tiers_not_increasing", f"{path}.min_invocations", message)


def _least(row: dict[str, Any], path: str) -> int:
    """Return from how many invocations a level holds."""
    where = f"{path}.min_invocations"
    return number(row["min_invocations"], where, smallest=0, largest=INVOCATIONS_MAX)


def _levels(data: object, path: str) -> tuple[From, ...]:
    """Return the rates of tools that are not named, by a period's invocations."""
    levels: list[From] = []
    for index, entry in enumerate(array(data, path, longest=LEVELS_MAX)):
        here = f"{path}[{index}]"
        row = members(entry, here, required="min_invocations rate")
        least = _least(row, here)
        _rising(levels, least, here)
        levels.append(
            From(least, _exact(row["rate"], f"{here}.rate", below=PRICE_LIMIT))
        )
    return tuple(levels)


def _discounts(data: object, path: str) -> tuple[From, ...]:
    """Return the discounts, in percent, by a period's invocations."""
    path = f"{path}.volume_discounts"
    levels: list[From] = []
    for index, entry in enumerate(array(data, path, longest=LEVELS_MAX)):
        here = f"{path}[{index}]"
        row = members(entry, here, required="min_invocations percent")
        least = _least(row, here)
        _rising(levels, least, here)
        percent = _factor(row["percent"], f"{here}.percent", below=Decimal(1000))
        if percent > HUNDRED:
            raise PlanError("out_of_range", f"{here}.percent", "at most 100")
        levels.append(From(least, percent))
    return tuple(levels)


def dimensions_to_json(model: Dimensions) -> dict[str, Any]:
    """Return what `parse_dimensions` reads back as the same; decimals are texts."""
    tools = {name: plain(rate) for name, rate in model.tools.items()}
    if model.other_tools is not None:
        tools["*"] = plain(model.other_tools)
    buckets: Any = [
        {"max_seconds": plain(b.max_seconds), "rate": plain(b.rate)}
        for b in model.buckets
    ]
    if model.duration_unit is not DurationUnit.PER_INVOCATION and buckets:
        buckets = {"unit": str(model.duration_unit), "buckets": buckets}
    penalty = model.penalty and {
        "threshold": plain(model.penalty.threshold),
        "multiplier": plain(model.penalty.multiplier),
    }
    row: dict[str, Any] = {
        "token_multipliers": {n: plain(rate) for n, rate in model.tokens.items()},
        "tool_multipliers": {n: plain(f) for n, f in model.multipliers.items()},
        "duration_buckets": buckets,
        "error_rate_penalties": penalty,
        "volume_tiers": [
            {"min_invocations": one.min_invocations, "rate": plain(one.value)}
            for one in model.volume_rates
        ],
        "volume_discounts": [
            {"min_invocations": one.min_invocations, "percent": plain(one.value)}
            for one in model.discounts
        ],
        "base_session_fee": plain(model.session_fee) if model.session_fee else None,
        "included_tool_count": model.included_tools,
    }
    written = {key: value for key, value in row.items() if value}
    written |= commitment_to_json(model.commitment)
    return {"model": "dimensions", "tool_invocations": tools} | written
