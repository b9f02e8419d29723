"""The guard's defaults that a plan version carries, checked before publication."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aforo.lib.errors import AforoError
from aforo.lib.money import MICROS_MAX

ON_EXCEED = ("deny", "bill")
ON_OUTAGE = ("open", "local", "closed")
QUOTAS_MAX = 50
MODEL_MAX = 120  # It becomes a header.
# Caps are compared in millionths, which Lua holds exactly up to 2^53.
CAP_MAX = Decimal(9_000_000_000)
PRICE_MAX = Decimal(1_000_000_000)
LOOP_COUNT_MAX = 10_000
LOOP_SECONDS_MAX = 3_600
# Units of a quota that are no metric: what the guard counts by itself.
BUILT_IN = frozenset({"requests", "tokens"})
_MONEY = re.compile(r"[0-9]{1,26}(\.[0-9]{1,12})?", re.ASCII)


def _refuse(path: str, detail: str) -> AforoError:
    """Return the refusal of a limit."""
    return AforoError("invalid_limits", 422, detail, field=f"limits.{path}")


def _count(value: Any, path: str) -> None:
    """Refuse what is no whole number that the guard can compare, or null."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(path, "A whole number, or null for no limit.")
    if not 0 <= value <= MICROS_MAX:
        raise _refuse(path, f"From 0 to {MICROS_MAX:,}.")


def _money(value: Any, path: str, *, largest: Decimal = CAP_MAX) -> None:
    """Refuse what is no exact amount in range."""
    if not isinstance(value, str) or not _MONEY.fullmatch(value):
        raise _refuse(path, 'An amount is written as a text, such as "25.00".')
    if Decimal(value) > largest:
        raise _refuse(path, f"At most {largest:,}.")


def _cap(value: Any, path: str) -> None:
    """Refuse what is neither an amount nor null."""
    if value is not None:
        _money(value, path)


def _flag(value: Any, path: str) -> None:
    """Refuse what is not true or false."""
    if not isinstance(value, bool):
        raise _refuse(path, "true or false.")


def _outage(value: Any, path: str) -> None:
    """Refuse an unknown policy for outages of the edge."""
    if value not in ON_OUTAGE:
        raise _refuse(path, f"One of {', '.join(ON_OUTAGE)}.")


def _estimate(value: Any, path: str) -> None:
    """Refuse estimate prices that are not money per unit."""
    if not isinstance(value, Mapping):
        raise _refuse(path, "An object of prices per unit.")
    for unit, price in value.items():
        _money(price, f"{path}.{unit}", largest=PRICE_MAX)


def _quotas(value: Any, path: str) -> None:
    """Refuse quotas that are not complete, or that come twice."""
    if not isinstance(value, list) or len(value) > QUOTAS_MAX:
        raise _refuse(path, f"A list of at most {QUOTAS_MAX} quotas.")
    seen = set()
    for index, quota in enumerate(value):
        where = f"{path}[{index}]"
        if not isinstance(quota, Mapping) or set(quota) != {
            "metric",
            "limit",
            "on_exceed",
        }:
            raise _refuse(where, "A quota has metric, limit and on_exceed.")
        if not isinstance(quota["metric"], str) or quota["metric"] in seen:
            raise _refuse(f"{where}.metric", "Each metric has one quota.")
        seen.add(quota["metric"])
        if quota["limit"] is None:
            raise _refuse(f"{where}.limit", "A whole number.")
        _count(quota["limit"], f"{where}.limit")
        if quota["on_exceed"] not in ON_EXCEED:
            raise _refuse(f"{where}.on_exceed", f"One of {', '.join(ON_EXCEED)}.")


MARGIN_LINES = ("warn", "throttle", "block")
MARGIN_AMOUNTS = ("minimum_cogs", "free_cogs_allowance")
MARGIN_SCOPES = ("subscription", "customer", "agent", "product")
_PERCENT = re.compile(r"-?[0-9]{1,4}(\.[0-9]{1,4})?", re.ASCII)


def _margin(value: Any, path: str) -> None:
    """Refuse a ladder of margin lines that do not fall, or that nobody knows.

    Lines are percentages as texts, null switches one off; amounts are in the plan's
    currency; `scopes` are those whose margins are guarded.
    """
    if not isinstance(value, Mapping):
        raise _refuse(path, "An object of lines: warn, throttle, block.")
    known = (*MARGIN_LINES, *MARGIN_AMOUNTS, "scopes")
    for name, said in value.items():
        where = f"{path}.{name}"
        if name not in known:
            raise _refuse(where, f"Unknown; known are {', '.join(known)}.")
        if name in MARGIN_AMOUNTS:
            _money(said, where)
        elif name == "scopes":
            _scopes(said, where)
        elif said is not None and not (
            isinstance(said, str)
            and _PERCENT.fullmatch(said)
            and -1_000 <= Decimal(said) <= 100
        ):
            raise _refuse(where, 'A percentage as a text, such as "20", or null.')
    lines = [value[name] for name in MARGIN_LINES if value.get(name) is not None]
    if any(Decimal(a) < Decimal(b) for a, b in itertools.pairwise(lines)):
        raise _refuse(path, "Each line is at or below the one before it.")


def _scopes(value: Any, path: str) -> None:
    """Refuse what is no list of different scopes."""
    if (
        not isinstance(value, list)
        or any(scope not in MARGIN_SCOPES for scope in value)
        or len(set(value)) != len(value)
    ):
        raise _refuse(path, f"A list of {', '.join(MARGIN_SCOPES)}.")


def _model(value: Any, path: str) -> None:
    """Refuse what is no model's name, nor null."""
    if value is not None and not (
        isinstance(value, str)
        and 0 < len(value) <= MODEL_MAX
        and value.isascii()
        and value.isprintable()
    ):
        raise _refuse(path, f"A model's name of at most {MODEL_MAX} characters.")


def _repeats(value: Any, path: str) -> None:
    """Refuse a window that is not complete, or that the guard could not keep."""
    if not isinstance(value, Mapping) or set(value) != {"count", "seconds"}:
        raise _refuse(path, "It has count and seconds.")
    _between(value["count"], f"{path}.count", 1, LOOP_COUNT_MAX)
    _between(value["seconds"], f"{path}.seconds", 1, LOOP_SECONDS_MAX)


def _errors(value: Any, path: str) -> None:
    """Refuse a streak without its length."""
    if not isinstance(value, Mapping) or set(value) != {"count"}:
        raise _refuse(path, "It has count.")
    # One failure is no streak: it could never end.
    _between(value["count"], f"{path}.count", 2, LOOP_COUNT_MAX)


def _between(value: Any, path: str, least: int, most: int) -> None:
    """Refuse what is no whole number in range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(path, "A whole number.")
    if not least <= value <= most:
        raise _refuse(path, f"From {least} to {most:,}.")


LOOPS = {"same_call": _repeats, "retries": _repeats, "errors": _errors}


def _loop(value: Any, path: str) -> None:
    """Refuse what the loop guard does not know; null turns a part off."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise _refuse(path, f"An object of {', '.join(LOOPS)}.")
    for name, said in value.items():
        if name not in LOOPS:
            raise _refuse(f"{path}.{name}", f"Unknown; known are {', '.join(LOOPS)}.")
        if said is not None:
            LOOPS[name](said, f"{path}.{name}")


# What may be judged without being enforced: these, and a quota by its metric.
SHADOWED = (
    "requests_per_minute",
    "tokens_per_minute",
    "spend_cap",
    *(f"loop.{name}" for name in LOOPS),
)


def _shadow(value: Any, path: str) -> None:
    """Refuse rules that cannot be in shadow."""
    if not isinstance(value, Mapping):
        raise _refuse(path, "An object of rules, each true or false.")
    for name, on in value.items():
        if name not in SHADOWED and not name.startswith("quotas."):
            known = ", ".join((*SHADOWED, "quotas.<metric>"))
            raise _refuse(f"{path}.{name}", f"Unknown; known are {known}.")
        _flag(on, f"{path}.{name}")


_CHECKS = {
    "requests_per_minute": _count,
    "tokens_per_minute": _count,
    "quotas": _quotas,
    "spend_cap": _cap,
    "estimate": _estimate,
    "default_estimate": _money,
    "on_outage": _outage,
    "wallet_required": _flag,
    "margin": _margin,
    "throttle_model": _model,
    "loop": _loop,
    "shadow": _shadow,
}


def check_limits(limits: Mapping[str, Any], *, metrics: frozenset[str]) -> None:
    """Refuse limits that the guard could not keep.

    `metrics` are the codes that quotas may name beside requests and tokens. Raises
    AforoError 422 `invalid_limits` or `unknown_metric` with the path as its field.
    """
    for name, value in limits.items():
        check = _CHECKS.get(name)
        if check is None:
            raise _refuse(name, f"Unknown; known are {', '.join(_CHECKS)}.")
        check(value, name)
    for index, quota in enumerate(limits.get("quotas", ())):
        if quota["metric"] not in metrics | BUILT_IN:
            raise AforoError(
                "unknown_metric",
                422,
                f"There is no metric {quota['metric']}.",
                field=f"limits.quotas[{index}].metric",
            )
