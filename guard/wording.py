"""The guard's answers in words, statuses and headers: the same for every door."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from aforo.lib import ids, money
from aforo.lib.errors import (
    AforoError,
    problem_bytes,
    problem_headers,
    whole_seconds,
)
from guard.asking import Ask
from guard.engine.decision import Decision, Limit, Outcome, Reason
from guard.engine.hold import HoldId

# Wallet, ceiling and the like have no window to wait for.
RETRY_WITHOUT_WINDOW_S: Final = 60
# What the headers say where no limit is set: the largest exact number of JSON.
UNLIMITED: Final = 2**53 - 1

_encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What goes back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Wording:
    """How one reason is told."""

    status: int
    code: str
    text: str  # the limit's name, or the whole sentence where there is no limit
    title: str = ""  # Of the problem; empty: its status' own.


# What callers are told of it: the figures are the seller's.
_MARGIN_TITLE = "Margin Limit Exceeded"


def _margin(scope: str) -> Wording:
    text = f"the margin of the {scope} is below the plan's line"
    return Wording(429, "margin_limit", text, _MARGIN_TITLE)


# Credentials all get one body: nothing tells a revoked key from one never seen.
_NO_CREDENTIAL = Wording(401, "invalid_credentials", "the credentials are not valid")

WORDINGS: Final[Mapping[Reason, Wording]] = {
    Reason.CREDENTIAL_UNKNOWN: _NO_CREDENTIAL,
    Reason.CREDENTIAL_REVOKED: _NO_CREDENTIAL,
    Reason.CREDENTIAL_EXPIRED: _NO_CREDENTIAL,
    Reason.IDENTITY_UNKNOWN: Wording(404, "not_found", "nothing has this id"),
    Reason.CUSTOMER_SUSPENDED: Wording(403, "suspended", "the account is suspended"),
    Reason.AGENT_PAUSED: Wording(403, "paused", "the agent is paused"),
    Reason.AGENT_THROTTLED: Wording(
        200, "throttled", "the agent is slowed by a person"
    ),
    Reason.CUSTOMER_THROTTLED: Wording(
        200, "throttled", "the customer is slowed by a person"
    ),
    Reason.PRODUCT_NOT_ENTITLED: Wording(
        403, "not_entitled", "no subscription gives access to this product"
    ),
    Reason.PRODUCT_AMBIGUOUS: Wording(
        422, "ambiguous_product", "several products are possible: name product_id"
    ),
    Reason.FEATURE_NOT_ENTITLED: Wording(
        403, "not_entitled", "the plan does not include this feature"
    ),
    Reason.SUBSCRIPTION_INACTIVE: Wording(
        403, "subscription_inactive", "the subscription is not active"
    ),
    Reason.ESTIMATE_TOO_LARGE: Wording(
        400, "invalid_estimate", "the estimate is too large"
    ),
    Reason.REQUEST_ID_USED: Wording(
        409, "request_id_used", "this request_id was settled, released or has expired"
    ),
    Reason.LOOP_CALL: Wording(
        429, "loop_detected", "the same tool call with the same arguments"
    ),
    Reason.LOOP_REQUEST: Wording(429, "loop_detected", "retries of one request"),
    Reason.LOOP_STREAK: Wording(429, "loop_detected", "tool errors in a row"),
    Reason.REQUESTS_MINUTE: Wording(429, "rate_limited", "requests per minute"),
    Reason.TOKENS_MINUTE: Wording(429, "rate_limited", "tokens per minute"),
    Reason.QUOTA_PERIOD: Wording(429, "quota_exceeded", "quota of the period"),
    Reason.SPEND_CAP_AGENT: Wording(429, "spend_cap", "agent spend cap"),
    Reason.SPEND_CAP_TEAM: Wording(429, "spend_cap", "team spend cap"),
    Reason.SPEND_CAP_SUBSCRIPTION: Wording(429, "spend_cap", "plan spend cap"),
    Reason.SPEND_CAP_CUSTOMER: Wording(429, "spend_cap", "customer spend cap"),
    Reason.WALLET: Wording(429, "insufficient_credit", "prepaid credit"),
    Reason.CEILING: Wording(429, "ceiling_exceeded", "the caller's ceiling"),
    Reason.OPEN_CALLS: Wording(429, "too_many_open_calls", "calls without usage"),
    Reason.MARGIN_SUBSCRIPTION: _margin("subscription"),
    Reason.MARGIN_CUSTOMER: _margin("customer"),
    Reason.MARGIN_AGENT: _margin("agent"),
    Reason.MARGIN_PRODUCT: _margin("product"),
    Reason.OUTAGE: Wording(
        503, "guard_unavailable", "the plan lets no call pass while the guard is down"
    ),
}


def reason_words(code: str) -> str:
    """Return what a reason code stands for, in words; an unknown one as it is."""
    try:
        return WORDINGS[Reason(code)].text
    except (ValueError, KeyError):
        return code or "no reason given"


def span(seconds: int) -> str:
    """Return a wait as people say it: 12 s, 5 h 12 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


def instant(milliseconds: int) -> dt.datetime:
    """Return the instant of milliseconds since 1970."""
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)


def resets(reset_at_ms: int, now_ms: int) -> str:
    """Return when a limit resets: `Resets 00:00 UTC (in 5 h 12 min).`"""
    seconds = whole_seconds((reset_at_ms - now_ms) / 1000)
    moment = instant(reset_at_ms)
    day = "" if seconds < 86_400 else f"{moment.day} {moment:%b} "
    return f"Resets {day}{moment:%H:%M} UTC (in {span(seconds)})."


def amount(limit: Limit, value: int, currency: str) -> str:
    """Return a figure of a limit as people read it."""
    if limit.unit == "micros":
        return money.display(Decimal(value).scaleb(-6), currency)
    return f"{value:,}"


def decimal_text(micros: int) -> str:
    """Return micros as the shortest decimal text, such as 0.0144."""
    whole, part = divmod(abs(micros), 1_000_000)
    sign = "-" if micros < 0 else ""
    return (
        f"{sign}{whole}.{part:06d}".rstrip("0").rstrip(".")
        if part
        else (f"{sign}{whole}")
    )


def plain(limit: Limit, value: int) -> str | int:
    """Return a figure of a limit as programs read it: money is a decimal text."""
    return decimal_text(value) if limit.unit == "micros" else value


def sentence(decision: Decision) -> str:
    """Return why the request was refused or slowed, with figures and reset."""
    assert decision.reason is not None, "only refusals and throttles have a reason"
    name, limit = WORDINGS[decision.reason].text, decision.binding
    if limit is None:
        return f"Throttled: {name}." if decision.outcome == Outcome.THROTTLE else name
    currency = decision.facts.currency if decision.facts else ""
    word = "Blocked" if decision.outcome == Outcome.DENY else "Throttled"
    if decision.reason == Reason.QUOTA_PERIOD:
        name = f"{limit.unit.replace('_', ' ')} {name}"
    used, most = (amount(limit, n, currency) for n in (limit.used, limit.limit))
    if decision.reason == Reason.CEILING:
        return f"{word}: {name}. The estimate is {used}, the ceiling {most}."
    text = f"{word}: {name}. {used} of {most} used."
    if limit.reset_at_ms:
        return f"{text} {resets(limit.reset_at_ms, decision.now_ms)}"
    return text


def retry_after_s(decision: Decision) -> int:
    """Return how long to wait, in whole seconds, at least one."""
    if not decision.retry_at_ms:
        return RETRY_WITHOUT_WINDOW_S
    return whole_seconds((decision.retry_at_ms - decision.now_ms) / 1000)


def limit_body(limit: Limit, now_ms: int) -> dict[str, Any]:
    """Return one limit as the answer shows it; reset_s is null when it never does."""
    return {
        "name": limit.name,
        "unit": "money" if limit.unit == "micros" else limit.unit,
        "limit": plain(limit, limit.limit),
        "used": plain(limit, limit.used),
        "remaining": plain(limit, limit.remaining),
        "reset_s": whole_seconds((limit.reset_at_ms - now_ms) / 1000)
        if limit.reset_at_ms
        else None,
    }


def limit_headers(decision: Decision) -> dict[str, str]:
    """Return X-RateLimit-*: the limit that binds, else the first (requests)."""
    limit = decision.binding or next(iter(decision.limits), None)
    if limit is None:
        return {
            "X-RateLimit-Limit": str(UNLIMITED),
            "X-RateLimit-Remaining": str(UNLIMITED),
            "X-RateLimit-Reset": "0",
        }
    reset = limit_body(limit, decision.now_ms)["reset_s"]
    return {
        "X-RateLimit-Limit": str(plain(limit, limit.limit)),
        "X-RateLimit-Remaining": str(plain(limit, limit.remaining)),
        "X-RateLimit-Reset": str(RETRY_WITHOUT_WINDOW_S if reset is None else reset),
    }


def decision_id() -> str:
    """Return a new id of a decision."""
    return ids.public("dec", ids.new_id())


def decision_uuid(text: str) -> uuid.UUID:
    """Return the key under which a decision is stored."""
    found = ids.parse_public("dec", text)
    assert found is not None, "decision ids are ours"
    return found


def refusal(error: AforoError) -> Answer:
    """Return the answer of a request that was refused before it was judged."""
    return Answer(error.status, problem_headers(error), problem_bytes(error))


def denial(decision: Decision) -> AforoError:
    """Return the problem that tells a refused decision."""
    assert decision.reason is not None, "a refusal has a reason"
    wording = WORDINGS[decision.reason]
    limited = wording.status == 429
    extra: dict[str, Any] = {}
    if wording.status not in {401, 404}:
        extra = {
            "decision": Outcome.DENY.value,
            "reason_code": decision.reason.value,
            "decision_id": decision.decision_id,
        }
    if limited:
        now_ms = decision.now_ms
        binding = decision.binding
        extra["limit"] = binding and limit_body(binding, now_ms)
        extra["limits"] = [limit_body(one, now_ms) for one in decision.limits]
    if wording.title:
        extra["title"] = wording.title
    text = sentence(decision)
    return AforoError(
        wording.code,
        wording.status,
        text,
        retry_after=retry_after_s(decision) if wording.status in {429, 503} else None,
        headers=limit_headers(decision) if limited else None,
        **extra,
    )


def _would(decision: Decision) -> dict[str, str] | None:
    """Return what would have been decided, had the guard enforced."""
    if decision.would is None or decision.would_reason is None:
        return None
    return {
        "decision": decision.would.value,
        "reason_code": decision.would_reason.value,
    }


def _admitted(decision: Decision, ask: Ask, tag: str) -> Answer:
    facts = decision.facts
    throttled = decision.outcome == Outcome.THROTTLE
    model = facts.throttle_model if facts else ""
    hold = str(HoldId(tag, decision.hold_key)) if decision.hold_key else None
    currency = facts.currency if facts else None
    body = {
        "decision": decision.outcome.value,
        "reason_code": decision.reason.value if decision.reason else None,
        "detail": sentence(decision) if throttled else None,
        "decision_id": decision.decision_id,
        "hold_id": hold,
        "hold_expires_at": instant(decision.hold_until_ms).isoformat()
        if decision.hold_until_ms
        else None,
        "customer_id": facts.customer_id if facts else None,
        "agent_id": (facts.agent_id or None) if facts else None,
        "product_id": facts.product_id if facts else None,
        "subscription_id": facts.subscription_id if facts else None,
        "estimate": {
            "amount": decimal_text(decision.estimate_micros),
            "currency": currency,
            "defaulted": decision.estimate_defaulted,
        },
        "limits": [limit_body(one, decision.now_ms) for one in decision.limits],
        "throttle_model": (model or None) if throttled else None,
        "margin_level": facts.margin_level if facts else None,
        "spend_level": (facts.spend_level or None) if facts else None,
        "degraded": decision.degraded,
        "replayed": decision.replayed,
        "observe_only": decision.would is not None,
        "would": _would(decision),
        "request_id": ask["request_id"] or None,
    }
    headers = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Aforo-Decision": decision.decision_id,
        **limit_headers(decision),
    }
    if decision.degraded:
        headers["X-Aforo-Degraded"] = "true"
    if decision.would:
        headers["X-Aforo-Observe-Only"] = "true"
    if throttled and decision.reason:
        headers["X-Aforo-Throttle"] = "true"
        headers["X-Aforo-Throttle-Reason"] = decision.reason.value
        if model:
            headers["X-Aforo-Throttle-Model"] = model
    return Answer(200, headers, _encode(body))


def plain_answer(body: Mapping[str, Any]) -> Answer:
    """Return a body with status 200."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Answer(200, headers, _encode(body))


def answer(decision: Decision, ask: Ask, tag: str) -> Answer:
    """Return what a door says about a decision."""
    if decision.outcome == Outcome.DENY:
        return refusal(denial(decision))
    return _admitted(decision, ask, tag)
