"""From a question to the script's arguments, and from its reply to a decision."""

from __future__ import annotations

from typing import Any

from guard.engine import keys, scripts
from guard.engine.decision import (
    MARGIN_LEVELS,
    CheckRequest,
    Cold,
    Decision,
    Facts,
    Limit,
    Outcome,
    Reason,
)

_LIMIT_FIELDS = 5
# How callers say that a tool call ended badly or well; other words say neither.
_FAILED = frozenset(
    ("error", "failed", "failure", "timeout", "timed_out", "exception", "aborted")
)
_WENT_WELL = frozenset(("ok", "success", "succeeded", "completed", "done"))


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _ended(status: str) -> str:
    """Return ok, error, or nothing when a status says neither; HTTP codes count."""
    word = status.strip().lower()
    if len(word) == 3 and word.isascii() and word.isdigit():
        return "error" if word >= "400" else "ok"
    return "error" if word in _FAILED else "ok" if word in _WENT_WELL else ""


def prepare(request: CheckRequest) -> scripts.Call:
    """Return the call of check.lua that answers the request."""
    args: list[scripts.Argument] = [
        request.tenant_id,
        request.digest,
        request.client_id,
        request.customer,
        request.agent,
        request.team,
        request.subscription,
        request.product,
        request.feature,
        request.tenant,
        "" if request.dry_run else keys.request_key(request.request_id),
        keys.request_key(request.minted_id) if request.minted_id else "",
        request.decision_id,
        _number(request.amount_micros),
        _number(request.ceiling_micros),
        _number(request.tokens),
        keys.call_key(request.tool, request.args_hash) if request.args_hash else "",
        _ended(request.last_tool_status) if request.last_tool_status else "",
        keys.session_key(request.session) if request.session else "",
    ]
    for unit, quantity in request.units.items():
        args += (unit, quantity)
    return scripts.Call(scripts.CHECK, keys.customer_keys(request.tag), args)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _facts(raw: list[Any]) -> Facts:
    texts, (expires_at, config_version, tenant, *more) = raw[:8], raw[8:]
    customer, agent, subscription, product, credential, *rest = map(_text, texts)
    currency, on_outage, throttle_model = rest
    margin, level = more[:2]
    return Facts(
        tenant_id=_text(tenant),
        customer_id=customer,
        agent_id=agent,
        subscription_id=subscription,
        product_id=product,
        credential_id=credential,
        currency=currency,
        on_outage=on_outage,
        throttle_model=throttle_model,
        credential_expires_at_ms=expires_at,
        config_version=config_version,
        margin_level=MARGIN_LEVELS[margin],
        spend_level=_text(level),
    )


def _limits(raw: list[Any]) -> tuple[Limit, ...]:
    return tuple(
        Limit(_text(raw[at]), _text(raw[at + 1]), raw[at + 2], raw[at + 3], raw[at + 4])
        for at in range(0, len(raw), _LIMIT_FIELDS)
    )


def interpret(request: CheckRequest, reply: list[Any]) -> Decision | Cold:
    """Return the decision in a reply of check.lua."""
    verdict = _text(reply[0])
    if verdict == "cold":
        return Cold(request.tag)
    if verdict == "no":
        _, reason, retry_at, now, key, estimate, defaulted, facts, limits = reply
        return Decision(
            outcome=Outcome.DENY,
            reason=Reason(_text(reason)),
            decision_id=request.decision_id,
            now_ms=now,
            facts=_facts(facts),
            limits=_limits(limits),
            retry_at_ms=retry_at,
            hold_key=key,
            estimate_micros=estimate,
            estimate_defaulted=bool(defaulted),
        )
    _, outcome, reason, decision_id, until, replayed, now, key, *tail = reply
    estimate, defaulted, facts, limits, marks, shadow = tail
    would, would_reason, override_id = map(_text, marks)
    return Decision(
        outcome=Outcome(_text(outcome)),
        reason=Reason(_text(reason)) if reason else None,
        decision_id=_text(decision_id),
        now_ms=now,
        facts=_facts(facts),
        limits=_limits(limits),
        hold_key=key,
        hold_until_ms=until,
        estimate_micros=estimate,
        estimate_defaulted=bool(defaulted),
        replayed=bool(replayed),
        would=Outcome(would) if would else None,
        would_reason=Reason(would_reason) if would_reason else None,
        override_id=override_id,
        shadow=_limits(shadow),
    )


def check(client: scripts.Client, request: CheckRequest) -> Decision | Cold:
    """Judge one request in one round trip."""
    return interpret(request, scripts.run(client, prepare(request)))
