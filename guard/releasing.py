"""Voiding a hold: a call that was admitted did not happen. No I/O, as in judging."""

from __future__ import annotations

from typing import Final

import msgspec

from aforo.lib.errors import AforoError
from guard import asking, judging, wording
from guard.asking import Ask
from guard.engine import hold, keys, state
from guard.engine.hold import HoldId, Released
from guard.judging import Caller, Payer
from guard.memory import Memory
from guard.operations import Fields, Flow, RecordFault, Run, StoreFault
from guard.wording import Answer

PREFIX: Final = "/v1/holds/"
# How a payer and a call are named; other members of a check mean nothing here.
MEMBERS: Final = frozenset(
    {"api_key", "client_id", "customer_id", "agent_id", "tenant_id", "request_id"}
)


def name_in(path: str) -> str | None:
    """Return the id in /v1/holds/{id}/release; '' in /v1/holds/release, else None."""
    rest = path.removeprefix(PREFIX)
    if rest == "release":
        return ""
    name, slash, end = rest.partition("/")
    return name if name and slash and end == "release" else None


def _absent() -> AforoError:
    return AforoError("not_found", 404, "nothing has this id")


def parse(body: bytes) -> Ask:
    """Return who pays and which call is meant; raises AforoError 400."""
    if not body.strip():
        return asking.of({})
    ask = asking.parse(body)
    for name in ask.texts:
        if name not in MEMBERS:
            raise AforoError(
                "unknown_field", 400, f"{name!r} is not a known member", field=name
            )
    return ask


def _place(memory: Memory, who: Caller, name: str, ask: Ask) -> Flow:
    """Return the hold that is meant, whose credential must be there, and its decision.

    A hold's id says where it is. A decision's does not: the payer says that, and the
    request id under which it holds, which is the decision's own where none was given.
    """
    if name.startswith("hld_"):
        place = hold.parse_hold_id(name)
        if place is None:
            raise _absent()
        request = ask["request_id"]
        if request and keys.request_key(request) != place.key:
            raise _absent()
        return place, "", ""
    if name and not name.startswith("dec_"):
        raise _absent()
    request = ask["request_id"] or name
    if not request:
        raise AforoError(
            "invalid_field",
            400,
            "name the call: request_id, or the hold's id in the address",
            field="request_id",
        )
    payer: Payer = yield from judging.payer_of_service(memory, who, ask)
    return HoldId(payer.tag, keys.request_key(request)), payer.digest, name


def _must_own(tenant_id: str, place: HoldId, digest: str) -> Flow:
    """Refuse a hold of another tenant's customer (404), as one that does not exist."""
    names = ("cust", keys.credential_field(digest)) if digest else ("cust",)
    found = yield Fields(keys.config_key(place.tag), names)
    if None in found:
        raise _absent()  # Without configuration nothing was judged or held either.
    if msgspec.msgpack.decode(found[0], type=state.Customer).tenant_id != tenant_id:
        raise _absent()


def release(memory: Memory, who: Caller, name: str, ask: Ask) -> Flow:
    """Return what became of a hold; safe to repeat, which changes nothing more.

    Only a service key may say that a call did not happen: a caller that could would
    take its reservation back and go on. Raises AforoError: 401, 403 scope_missing,
    404, 409 request_id_used, 503.
    """
    if who.key.prefix != "svc":
        raise AforoError(
            "scope_missing", 403, "releases need a service key with scope check"
        )
    try:
        key: state.ServiceKey = yield from judging.service_key(memory, who)
        place, digest, decision_id = yield from _place(memory, who, name, ask)
        yield from _must_own(key.tenant_id, place, digest)
        reply = yield Run(hold.prepare(place, decision_id=decision_id))
    except (StoreFault, RecordFault) as fault:
        raise judging.unavailable("the hold cannot be reached now") from fault
    return place, hold.interpret(reply)


def answer(place: HoldId, told: Released) -> Answer:
    """Return what the door says about it; raises AforoError 404 and 409."""
    if told is Released.UNKNOWN:
        raise _absent()
    if told is Released.USED:
        raise AforoError(
            "request_id_used", 409, "the hold was settled or has expired before"
        )
    return wording.plain_answer(
        {
            "hold_id": str(place),
            "status": "released",
            "already_released": told is Released.BEFORE,
        }
    )
