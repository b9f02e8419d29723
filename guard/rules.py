"""The rules of a contract: which of them the edge judges without enforcing them.

A rule is one limit of a plan or a contract, by its name in limits JSON:
`requests_per_minute`, `quotas.<metric>`, `loop.same_call` and so on. At the edge, in
decisions and in counts it goes by its reason code; quotas share one, so theirs is
followed by | and the unit. A rule that `limits.shadow` names is in shadow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from guard.engine.decision import Reason
from guard.engine.state import Loop, Repeats

QUOTAS: Final = "quotas."
REASONS: Final[Mapping[str, Reason]] = {
    "requests_per_minute": Reason.REQUESTS_MINUTE,
    "tokens_per_minute": Reason.TOKENS_MINUTE,
    "spend_cap": Reason.SPEND_CAP_SUBSCRIPTION,
    "loop.same_call": Reason.LOOP_CALL,
    "loop.retries": Reason.LOOP_REQUEST,
    "loop.errors": Reason.LOOP_STREAK,
}


def code(reason: str, unit: str) -> str:
    """Return by which code a rule is counted."""
    return f"{reason}|{unit}" if reason == Reason.QUOTA_PERIOD else reason


def code_of(name: str, units: Mapping[str, str]) -> str | None:
    """Return the code of a rule by its name; None for a name that is no rule.

    `units` says by which name the edge speaks of a quota's metric.
    """
    if name.startswith(QUOTAS):
        metric = name.removeprefix(QUOTAS)
        return code(Reason.QUOTA_PERIOD, units.get(metric, metric))
    reason = REASONS.get(name)
    return None if reason is None else reason.value


def merged(plan: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan's limits with a contract's own before them.

    Shadow goes rule by rule: the contract says it of those that it names.
    """
    found = {**plan, **own}
    shadow = {**plan.get("shadow", {}), **own.get("shadow", {})}
    return {**found, "shadow": shadow} if shadow else found


def shadow(
    limits: Mapping[str, Any], units: Mapping[str, str]
) -> Mapping[str, bool] | None:
    """Return the codes of the rules in shadow, as the edge keeps them."""
    named = [name for name, on in limits.get("shadow", {}).items() if on]
    codes = {found: True for name in named if (found := code_of(name, units))}
    return codes or None


def loop(limits: Mapping[str, Any]) -> Loop | None:
    """Return the loop guard's limits; None where it is off."""
    said = limits.get("loop") or {}
    windows = {
        name: Repeats(count=said[name]["count"], seconds=said[name]["seconds"])
        for name in ("same_call", "retries")
        if said.get(name)
    }
    errors = said["errors"]["count"] if said.get("errors") else None
    return Loop(**windows, errors=errors) if windows or errors else None
