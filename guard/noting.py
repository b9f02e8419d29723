"""One decision as doors spool it: who asked what, and what each check came to."""

from __future__ import annotations

from typing import Any, Final

from guard import wording
from guard.asking import Ask
from guard.engine.decision import Decision, Limit, Outcome
from guard.judging import Verdict

# What the inputs of a decision show; secrets are not among them.
_SHOWN: Final = (
    "product_id",
    "mcp_server_id",
    "feature",
    "tool_name",
    "model",
    "session_id",
    "correlation_id",
    "args_hash",
    "last_tool_status",
)


def _check(limit: Limit) -> dict[str, Any]:
    return {
        "name": limit.name,
        "unit": limit.unit,
        "limit": limit.limit,
        "used": limit.used,
        "reset_at_ms": limit.reset_at_ms,
    }


def _asked(verdict: Verdict, ask: Ask) -> dict[str, Any]:
    """Return what was asked, as far as it can be asked again; no secrets."""
    decision, request = verdict.decision, verdict.request
    given = {
        "estimate_micros": decision.estimate_micros,
        "tokens": request.tokens,
        "units": dict(request.units),
        "ceiling_micros": request.ceiling_micros,
        "route": ask.route,
        "fault": verdict.fault,
        "override": decision.override_id,
        "would": decision.would.value if decision.would else "",
        "product": decision.facts.product_id if decision.facts else "",
        "subscription": decision.facts.subscription_id if decision.facts else "",
    }
    named = {name: ask[name] for name in _SHOWN}
    return {k: v for k, v in (named | given).items() if v or v == 0}


def _reason(decision: Decision) -> str:
    """Return the code of what refused, slowed, would have, or is nearly reached."""
    if decision.reason or decision.would_reason:
        return str(decision.reason or decision.would_reason)
    return decision.nearly.name if decision.nearly else ""


def note(verdict: Verdict, ask: Ask, latency_us: int) -> dict[str, Any]:
    """Return one decision as it is spooled."""
    decision, facts = verdict.decision, verdict.decision.facts
    return {
        "id": str(wording.decision_uuid(decision.decision_id)),
        "tenant": facts and facts.tenant_id,
        "customer": facts and facts.customer_id,
        "agent": facts and facts.agent_id,
        "credential": facts and facts.credential_id,
        "subscription": facts and facts.subscription_id,
        "decision": decision.outcome.value,
        "reason_code": _reason(decision),
        "degraded": decision.degraded,
        "observed": decision.would is not None,
        "warned": decision.outcome == Outcome.ALLOW and decision.nearly is not None,
        "request_id": ask["request_id"],
        "inputs": _asked(verdict, ask),
        "checks": [_check(limit) for limit in decision.limits],
        "shadow": [_check(limit) for limit in decision.shadow],
        "latency_us": latency_us,
        "decided_at_ms": decision.now_ms,
    }
