"""The same questions without the store: who calls, for what, and which limits hold.

Used while Redis is away. It reads the very fields that would have been projected, and
a test holds it to the script's answers. Counting is the caller's: see guard.outage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from guard.engine import keys, state
from guard.engine.decision import CheckRequest, Facts, Limit, Reason

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """Whom a request is for, and what limits there are."""

    facts: Facts
    subscription: state.Subscription
    customer: state.Customer
    agent: state.Agent | None = None


def _read(fields: Mapping[str, bytes], name: str, kind: type[T]) -> T | None:
    raw = fields.get(name)
    return None if raw is None else msgspec.msgpack.decode(raw, type=kind)


def _caller(
    request: CheckRequest,
    customer: state.Customer,
    credential: state.Credential | None,
    now_ms: int,
) -> Reason | None:
    """Return why the caller may not speak for the customer, or None."""
    foreign = bool(request.tenant_id) and request.tenant_id != customer.tenant_id
    if request.digest:
        if credential is None or foreign:
            return Reason.CREDENTIAL_UNKNOWN
        if credential.revoked:
            return Reason.CREDENTIAL_REVOKED
        if credential.expires_at is not None and credential.expires_at <= now_ms:
            return Reason.CREDENTIAL_EXPIRED
        if request.client_id and credential.client_id != request.client_id:
            return Reason.CREDENTIAL_UNKNOWN
    elif request.tenant_id != customer.tenant_id:
        return Reason.IDENTITY_UNKNOWN
    if request.customer and request.customer not in {customer.id, customer.external_id}:
        return Reason.IDENTITY_UNKNOWN
    if request.tenant and request.tenant != customer.tenant_id:
        return Reason.IDENTITY_UNKNOWN
    return None


def _agent(
    fields: Mapping[str, bytes],
    request: CheckRequest,
    credential: state.Credential | None,
) -> state.Agent | Reason | None:
    """Return the agent, None where there is none, or why it may not be named."""
    agent_id = credential.agent_id if credential else None
    if request.agent:
        named = fields.get(keys.agent_alias_field(request.agent))
        if named is None or (agent_id and agent_id != named.decode()):
            return Reason.IDENTITY_UNKNOWN
        agent_id = named.decode()
    agent = _read(fields, keys.agent_field(agent_id), state.Agent) if agent_id else None
    if agent_id and agent is None:
        return Reason.IDENTITY_UNKNOWN
    teams = {agent.team_id, agent.team_external_id} if agent else set()
    if request.team and request.team not in teams:
        return Reason.IDENTITY_UNKNOWN
    return agent


def _product(
    fields: Mapping[str, bytes],
    request: CheckRequest,
    customer: state.Customer,
    credential: state.Credential | None,
) -> str | Reason:
    """Return the product's id, or why none can be chosen."""
    reached = credential.products if credential else ()
    if request.product:
        named = fields.get(keys.product_alias_field(request.product))
        if named is None or (reached and named.decode() not in reached):
            return Reason.PRODUCT_NOT_ENTITLED
        return named.decode()
    possible = [p for p in customer.products if not reached or p in reached]
    if len(possible) > 1:
        return Reason.PRODUCT_AMBIGUOUS
    return possible[0] if possible else Reason.PRODUCT_NOT_ENTITLED


def _subscription(
    fields: Mapping[str, bytes], product: str, agent_id: str
) -> state.Subscription | None:
    """Return the subscription that pays: the agent's own before the customer's."""
    own = keys.subscription_field(product, agent_id)
    found = _read(fields, own, state.Subscription)
    if found is None:
        found = _read(fields, keys.subscription_field(product), state.Subscription)
    return found


def identify(
    fields: Mapping[str, bytes], request: CheckRequest, now_ms: int, *, version: int
) -> Found | Reason:
    """Return whom the request is for, or why it is refused, as check.lua would."""
    customer = _read(fields, "cust", state.Customer)
    assert customer is not None, "a projection has its customer"
    credential = _read(fields, keys.credential_field(request.digest), state.Credential)
    refused = _caller(request, customer, credential, now_ms)
    if refused is not None:
        return refused
    agent = _agent(fields, request, credential)
    if isinstance(agent, Reason):
        return agent
    if customer.state != "active":
        return Reason.CUSTOMER_SUSPENDED
    if agent is not None and agent.state != "active":
        return Reason.AGENT_PAUSED
    product = _product(fields, request, customer, credential)
    if isinstance(product, Reason):
        return product
    sub = _subscription(fields, product, agent.id if agent else "")
    if sub is None:
        return Reason.PRODUCT_NOT_ENTITLED
    if request.subscription and request.subscription != sub.id:
        return Reason.IDENTITY_UNKNOWN
    ended = sub.ends_at is not None and sub.ends_at <= now_ms
    if sub.state != "active" or ended or sub.starts_at > now_ms:
        return Reason.SUBSCRIPTION_INACTIVE
    if request.feature and request.feature not in sub.features:
        return Reason.FEATURE_NOT_ENTITLED
    facts = Facts(
        tenant_id=customer.tenant_id,
        customer_id=customer.id,
        agent_id=agent.id if agent else "",
        subscription_id=sub.id,
        product_id=product,
        credential_id=credential.id if credential else "",
        currency=customer.currency,
        on_outage=sub.on_outage,
        throttle_model=sub.throttle_model or "",
        credential_expires_at_ms=(credential.expires_at or 0) if credential else 0,
        config_version=version,
    )
    return Found(facts, sub, customer, agent)


def _spend_caps(
    found: Found, totals: Mapping[str, bytes], *, live: bool, end: int
) -> list[tuple[Reason, str, int | None, int, int]]:
    """Return the caps of the agent and of its team, with what was spent."""
    agent = found.agent
    if agent is None:
        return []

    def spent(subject_id: str) -> int:
        return int(totals.get(keys.spend_field(subject_id), 0)) if live else 0

    own, team = spent(agent.id), spent(agent.team_id)
    return [
        (Reason.SPEND_CAP_AGENT, "micros", agent.spend_cap, own, end),
        (Reason.SPEND_CAP_TEAM, "micros", agent.team_spend_cap, team, end),
    ]


def _in_shadow(sub: state.Subscription, name: Reason, unit: str) -> bool:
    """Tell whether a rule is judged at the edge and not enforced."""
    codes = sub.shadow or {}
    return name.value in codes or f"{name.value}|{unit}" in codes


def limits(found: Found, totals: Mapping[str, bytes], now_ms: int) -> tuple[Limit, ...]:
    """Return the limits as the record knows them, nothing in flight."""
    sub, customer = found.subscription, found.customer
    spent = _read(totals, "cust", state.CustomerTotals)
    used = _read(totals, keys.usage_field(sub.id), state.SubscriptionTotals)
    assert spent is not None, "a projection has the customer's totals"
    live = spent.ends_at > now_ms
    quantities = used.quantities if used and live else {}
    end = next((at for at in (spent.ends_at, *customer.bounds) if at > now_ms), 0)
    rows: list[tuple[Reason, str, int | None, int, int]] = [
        (Reason.REQUESTS_MINUTE, "requests", sub.requests_per_minute, 0, 0),
        (Reason.TOKENS_MINUTE, "tokens", sub.tokens_per_minute, 0, 0),
        *(
            (Reason.QUOTA_PERIOD, q.metric, q.limit, quantities.get(q.metric, 0), end)
            for q in sub.quotas
            if q.on_exceed == "deny"
        ),
        *_spend_caps(found, totals, live=live, end=end),
        (
            Reason.SPEND_CAP_SUBSCRIPTION,
            "micros",
            sub.spend_cap,
            used.spend if used and live else 0,
            end,
        ),
        (
            Reason.SPEND_CAP_CUSTOMER,
            "micros",
            customer.spend_cap,
            spent.spend if live else 0,
            end,
        ),
        (Reason.WALLET, "micros", spent.available if sub.wallet else None, 0, 0),
    ]
    return tuple(
        Limit(name.value, unit, most, so_far, reset)
        for name, unit, most, so_far, reset in rows
        if most is not None and not _in_shadow(sub, name, unit)
    )
