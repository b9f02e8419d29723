"""The way of one check, without I/O: it yields what it needs and is sent the answer.

One flow for every door: a driver that waits on asyncio and one that blocks (see
guard.drivers) perform the operations of guard.operations.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from aforo.lib import clock, crypto
from aforo.lib.errors import AforoError
from aforo.lib.http import Basic, Bearer, authorization
from guard import wording
from guard.asking import Ask
from guard.engine import check, keys, local, state
from guard.engine.decision import (
    CheckRequest,
    Cold,
    Decision,
    Facts,
    Outcome,
    Reason,
)
from guard.memory import ABSENT_S, FRESH_S, STALE_S, Memory, subject
from guard.operations import (
    Changes,
    Fields,
    Flow,
    Operation,
    Record,
    RecordFault,
    RecordIdentity,
    RecordKey,
    Run,
    StoreFault,
    Warm,
)
from guard.outage import KNOWN_S, Known, Recent

CHANGES_S: Final = 0.5


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who knocks: an address, and a key whose form and checksum are right."""

    address: str
    key: crypto.ParsedKey
    client_id: str = ""


class Payer(msgspec.Struct, frozen=True, gc=False):
    """Whose limits are asked, as far as the caller's words say."""

    tag: str
    tenant_id: str  # that must own it; '' for a caller's own key
    digest: str
    client_id: str
    service_key: str = ""  # svk_… that named it; '' for a caller's own key


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """A decision, and what a report of it needs."""

    decision: Decision
    request: CheckRequest
    fault: str = ""  # the kind of fault behind a degraded decision
    service_key: str = ""  # svk_… that asked; '' for a caller's own key


@dataclass(frozen=True, slots=True)
class _LookUp:
    """Where a record of the tenant's own state can be found."""

    edge: Fields
    record: RecordKey | RecordIdentity
    kind: type[state.ServiceKey] | type[state.Identity]


def unauthenticated(field: str | None = None) -> AforoError:
    """Return the one refusal of credentials, whatever is wrong with them."""
    word = wording.WORDINGS[Reason.CREDENTIAL_UNKNOWN]
    return AforoError(word.code, word.status, word.text, field=field)


def _absent() -> AforoError:
    word = wording.WORDINGS[Reason.IDENTITY_UNKNOWN]
    return AforoError(word.code, word.status, word.text)


def unavailable(detail: str) -> AforoError:
    """Return the refusal when neither the store nor the record can be asked."""
    return AforoError("guard_unavailable", 503, detail, retry_after=1)


def caller(header: str, address: str) -> Caller:
    """Return who knocks, or raise AforoError 401; nothing is looked up."""
    match authorization(header):
        case Bearer(token):
            key = crypto.parse_key(token)
            if key is not None and key.prefix in {"sk", "svc"}:
                return Caller(address, key)
        case Basic(user, password):
            key = crypto.parse_key(password)
            if key is not None and key.prefix == "cs":
                return Caller(address, key, user)
    raise unauthenticated()


def _look_up(
    memory: Memory, who: Caller, known: Recent[str, Any], key: str, ops: _LookUp
) -> Flow:
    """Return a record of the tenant's own state by its field, or None.

    Believed for a second; a field that the edge does not have is asked of Postgres,
    which also stands in while Redis is away. When both are, what was known within ten
    minutes counts.
    """
    fresh = known.get(key, within_s=FRESH_S)
    if fresh is not None:
        return fresh
    try:
        (raw,) = yield ops.edge
    except StoreFault:
        raw = None
    if raw is not None:
        found = msgspec.msgpack.decode(raw, type=ops.kind)
    elif memory.absent.get(key, within_s=ABSENT_S):
        return None
    else:
        memory.failures.refuse_if_full(who.address)
        try:
            found = yield ops.record
        except RecordFault as fault:
            stale = known.get(key, within_s=STALE_S)
            if stale is None:
                raise unavailable("the caller cannot be looked up now") from fault
            # Not put back: ten minutes count from when it was last seen.
            return stale
    if found is None:
        memory.absent.put(key, True)
    else:
        known.put(key, found)
    return found


def service_key(memory: Memory, who: Caller) -> Flow:
    """Return the service key that knocks; raises 401 or 403."""
    digest = who.key.digest
    edge = Fields(keys.service_keys_key(who.key.tag), (digest,))
    ops = _LookUp(edge, RecordKey(digest), state.ServiceKey)
    key = yield from _look_up(memory, who, memory.service_keys, digest, ops)
    now_ms = int(clock.now().timestamp() * 1000)
    if key is None or key.revoked or (key.expires_at or now_ms + 1) <= now_ms:
        raise unauthenticated()
    if "check" not in key.scopes:
        raise AforoError("scope_missing", 403, "this key may not check: scope check")
    return key


def _identity(memory: Memory, who: Caller, tenant_id: str, name: str) -> Flow:
    """Return where an id of the tenant lives; raises 404 when it does not."""
    edge = Fields(keys.identities_key(who.key.tag), (name,))
    ops = _LookUp(edge, RecordIdentity(tenant_id, name), state.Identity)
    place = f"{tenant_id}:{name}"
    found = yield from _look_up(memory, who, memory.identities, place, ops)
    if found is None:
        raise _absent()
    return found


def payer_of_service(memory: Memory, who: Caller, ask: Ask) -> Flow:
    """Return the payer that a gateway or backend names.

    Raises AforoError: 400 payer_missing, 401, 403 scope_missing, 404.
    """
    key = yield from service_key(memory, who)
    if ask["tenant_id"] and ask["tenant_id"] != key.tenant_id:
        raise _absent()
    if ask["api_key"]:
        secret = crypto.parse_key(ask["api_key"])
        if secret is None or secret.prefix == "svc":
            raise unauthenticated("api_key")
        client = ask["client_id"]
        return Payer(secret.tag, key.tenant_id, secret.digest, client, key.id)
    for field, text in (
        (keys.client_identity_field, ask["client_id"]),
        (keys.customer_identity_field, ask["customer_id"]),
        (keys.agent_identity_field, ask["agent_id"]),
    ):
        if text:
            found = yield from _identity(memory, who, key.tenant_id, field(text))
            client = ask["client_id"] if found.digest else ""
            return Payer(found.tag, key.tenant_id, found.digest, client, key.id)
    raise AforoError(
        "payer_missing",
        400,
        "name the payer: api_key, client_id, customer_id or agent_id",
        field="customer_id",
    )


def _payer(memory: Memory, who: Caller, ask: Ask) -> Flow:
    """Return the payer: the caller itself, or whom a service key names."""
    if who.key.prefix == "svc":
        payer = yield from payer_of_service(memory, who, ask)
        return payer
    if ask["api_key"] and ask["api_key"] != who.key.text:
        raise unauthenticated("api_key")
    client = who.client_id or ask["client_id"]
    if ask["client_id"] not in {"", client}:
        raise _absent()
    return Payer(who.key.tag, "", who.key.digest, client)


def _question(payer: Payer, ask: Ask) -> CheckRequest:
    decision_id = wording.decision_id()
    stands_in = not ask["request_id"] and ask["correlation_id"]
    return CheckRequest(
        tag=payer.tag,
        request_id=ask["request_id"] or ask["correlation_id"] or decision_id,
        minted_id=decision_id if stands_in else "",
        decision_id=decision_id,
        tenant_id=payer.tenant_id,
        digest=payer.digest,
        client_id=payer.client_id,
        customer=ask["customer_id"],
        agent=ask["agent_id"],
        team=ask["team_id"],
        subscription=ask["subscription_id"],
        product=ask.product,
        feature=ask["feature"],
        tenant=ask["tenant_id"],
        amount_micros=ask.estimate.amount_micros,
        ceiling_micros=ask.ceiling_micros,
        tokens=ask.estimate.tokens,
        units=ask.estimate.units,
        tool=ask["tool_name"],
        args_hash=ask["args_hash"],
        last_tool_status=ask["last_tool_status"],
        session=ask["session_id"],
    )


def _unknown(request: CheckRequest) -> Decision:
    """Return the refusal of a customer that the record does not have."""
    reason = Reason.CREDENTIAL_UNKNOWN if request.digest else Reason.IDENTITY_UNKNOWN
    return _refused(request, reason)


def _refused(
    request: CheckRequest, reason: Reason, facts: Facts | None = None
) -> Decision:
    return Decision(
        outcome=Outcome.DENY,
        reason=reason,
        decision_id=request.decision_id,
        now_ms=int(clock.now().timestamp() * 1000),
        facts=facts,
    )


def _with_store(memory: Memory, who: Caller, request: CheckRequest) -> Flow:
    """Judge on the edge; a cold customer is projected once and asked again."""
    found = check.interpret(request, (yield Run(check.prepare(request))))
    if isinstance(found, Decision):
        return found
    if memory.seen.get(request.tag, within_s=STALE_S) is None:
        # Keys made up at random would have Postgres asked for each.
        memory.failures.refuse_if_full(who.address)
    if memory.absent.get(request.tag, within_s=ABSENT_S):
        return _unknown(request)
    if not (yield _warm(request)):
        memory.absent.put(request.tag, True)
        return _unknown(request)
    found = check.interpret(request, (yield Run(check.prepare(request))))
    if isinstance(found, Cold):
        raise StoreFault("cold")
    return found


def _warm(request: CheckRequest) -> Warm:
    return Warm(request.tag, request.digest, request.tenant_id)


def _last_known(
    memory: Memory, request: CheckRequest, within_s: float = KNOWN_S
) -> Flow:
    """Return what is known of the caller, unless its configuration changed since."""
    known = memory.known.get(subject(request), within_s=within_s)
    if known is None:
        return None
    changes = memory.changes.get("all", within_s=CHANGES_S)
    if changes is None:
        try:
            changes = yield Changes()
        except RecordFault:
            # What was heard last is the best there is; it is asked for again soon.
            changes = memory.changes.get("all", within_s=KNOWN_S) or {}
        else:
            memory.changes.put("all", changes)
    version = changes.get(known.facts.customer_id, known.facts.config_version)
    return known if version <= known.facts.config_version else None


def _by_known(memory: Memory, request: CheckRequest, known: Known) -> Decision:
    """Judge by what is known, as the plan says for an outage."""
    now_ms = int(clock.now().timestamp() * 1000)
    expires = known.facts.credential_expires_at_ms
    if expires and expires <= now_ms:
        return _refused(request, Reason.CREDENTIAL_EXPIRED)
    if known.facts.on_outage == "closed":
        return _refused(request, Reason.OUTAGE, known.facts)
    return memory.local.judge(request, known)


def _long_known(memory: Memory, request: CheckRequest) -> Flow:
    """Return what was known longer ago, where the plan is open to that; or raise."""
    known = yield from _last_known(memory, request, math.inf)
    if known is None or known.facts.on_outage == "local":
        raise unavailable("neither the edge nor the record can be asked")
    return known


def _without_store(memory: Memory, request: CheckRequest) -> Flow:
    """Judge by what is known, else by the record; never by nothing."""
    known = yield from _last_known(memory, request)
    if known is None:
        try:
            snapshot = yield Record(_warm(request))
        except RecordFault:
            known = yield from _long_known(memory, request)
            return _by_known(memory, request, known)
        if snapshot is None:
            return _unknown(request)
        now_ms = int(clock.now().timestamp() * 1000)
        found = local.identify(
            snapshot.config, request, now_ms, version=snapshot.config_version
        )
        if isinstance(found, Reason):
            return _refused(request, found)
        known = Known(
            found.facts,
            local.limits(found, snapshot.totals, now_ms),
            found.subscription.default_estimate,
        )
        memory.known.put(subject(request), known)
    return _by_known(memory, request, known)


def judge(memory: Memory, who: Caller, ask: Ask) -> Generator[Operation, Any, Verdict]:
    """Judge one request.

    Raises AforoError where there is nothing to judge: 401, 403 scope_missing,
    404, 400 payer_missing, 429 too_many_attempts, 503 guard_unavailable.
    """
    payer = yield from _payer(memory, who, ask)
    request = _question(payer, ask)
    fault = ""
    try:
        decision = yield from _with_store(memory, who, request)
        memory.learn(request, decision)
    except StoreFault as error:
        fault = error.kind
        decision = yield from _without_store(memory, request)
    except RecordFault as error:
        # The edge answers but has nothing of this customer.
        fault = "record"
        known = yield from _last_known(memory, request)
        if known is None:
            raise unavailable("the customer cannot be looked up now") from error
        decision = _by_known(memory, request, known)
    if decision.reason and wording.WORDINGS[decision.reason].status == 401:
        raise unauthenticated("api_key" if ask["api_key"] else None)
    return Verdict(decision, request, fault, payer.service_key)
