"""Void, amend and backfill events, and end sessions: for a tenant's backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.request import Request

from aforo.core.models import Tenant
from aforo.core.service_calls import answer
from aforo.lib import ids
from aforo.lib.errors import AforoError
from aforo.lib.money import plain
from metering import (
    amending,
    answers,
    backfilling,
    correction_schema,
    ending,
    ingest,
    voiding,
)
from metering.background import background
from metering.canonical import bad
from metering.directory import Caller
from metering.identity import BACKFILL_AGE_MAX
from metering.models import EventVoid, Session, UsageEvent
from metering.service_calls import ONCE, Door

Json = dict[str, Any]


class _Correction(Door):
    """One correction: a subclass says how it is called, what it takes and does."""

    members: ClassVar[tuple[str, ...]]  # What a body may have.

    def post(self, request: Request, public_id: str = "") -> HttpResponse:
        """Do it, once for an Idempotency-Key."""

        def work(caller: Caller, given: dict[str, Any]) -> HttpResponse:
            return answer(200, self.act(caller, given, public_id))

        return self.once(request, self.members, work)

    def act(
        self, caller: Caller, given: dict[str, Any], public_id: str
    ) -> bytes | dict[str, Any]:
        """Do what the body asks for; return the answer's body."""
        raise NotImplementedError


def _told(
    name: str, summary: str, said: str, taken: Json, given: Json, **more: Any
) -> Callable[[type[_Correction]], type[_Correction]]:
    """Describe an address: its name and summary, in words, its body and its answer."""
    return extend_schema_view(
        post=extend_schema(
            operation_id=name,
            summary=summary,
            description=said,
            request={"application/json": taken},
            responses=correction_schema.responses(given),
            parameters=[ONCE],
            **more,
        )
    )


@_told(
    "events_void",
    "Void an event",
    correction_schema.VOID,
    correction_schema.REASON,
    correction_schema.VOIDED,
    tags=["corrections"],
    examples=correction_schema.VOID_EXAMPLES,
)
class VoidView(_Correction):
    """Takes an event back."""

    scope = "corrections"
    members = ("reason",)

    def act(
        self, caller: Caller, given: dict[str, Any], public_id: str
    ) -> dict[str, Any]:
        """Void the event."""
        event = _event(public_id, caller)
        done = voiding.void(event, reason=_reason(given), actor_label="service key")
        status = "voided" if done.is_new else "already_voided"
        return {"status": status, **told(done.void)}


@_told(
    "events_amend",
    "Amend an event",
    correction_schema.AMEND,
    correction_schema.AMENDMENT,
    correction_schema.AMENDED,
    tags=["corrections"],
    examples=correction_schema.AMEND_EXAMPLES,
)
class AmendView(_Correction):
    """Puts an event right."""

    scope = "corrections"
    members = ("reason", "event")

    def act(
        self, caller: Caller, given: dict[str, Any], public_id: str
    ) -> dict[str, Any]:
        """Void the event and rate its correction."""
        event = _event(public_id, caller)
        raw = given.get("event")
        if not isinstance(raw, dict):
            raise bad("invalid_event", "event is the corrected event", "event")
        reason = voiding.checked_reason(_reason(given))
        named = amending.named(raw, event)
        (prepared,) = background.run(
            ingest.prepare(caller, [named], age_max=BACKFILL_AGE_MAX)
        )
        if isinstance(prepared, AforoError):
            raise prepared
        if isinstance(prepared, dict):
            raise bad("no_usage", "the corrected event is no usage", "event")
        done = amending.amend(event, prepared, reason=reason, actor_label="service key")
        refused = done.item.refusal
        return {
            "status": "amended",
            **told(done.void),
            "event": {
                "id": ids.public("evt", done.event.pk),
                "event_id": amending.shown_id(done.event),
                "amount": None if refused else plain(done.item.amount),
                "currency": done.item.currency,
                "unrateable": refused[0] if refused else None,
            },
        }


@_told(
    "events_backfill",
    "Backfill old usage",
    correction_schema.BACKFILL,
    correction_schema.BACKFILLED,
    correction_schema.BATCH,
    tags=["corrections"],
    examples=correction_schema.BACKFILL_EXAMPLES,
)
class BackfillView(_Correction):
    """Takes usage that is older than the ordinary door lets in."""

    scope = "backfill"
    members = ("reason", "events")

    def act(self, caller: Caller, given: dict[str, Any], public_id: str) -> bytes:
        """Store the events."""
        reason = voiding.checked_reason(_reason(given))
        raws = given.get("events")
        if not isinstance(raws, list) or not raws:
            raise bad("no_events", "events is a list of events", "events")
        if len(raws) > backfilling.EVENTS_MAX:
            detail = f"at most {backfilling.EVENTS_MAX:,} events at a time"
            raise AforoError("too_many_events", 413, detail, field="events")
        kept = background.run(backfilling.keep(caller, raws))
        backfilling.tell(
            tenant=Tenant.objects.get(pk=caller.tenant_id),
            sent=len(raws),
            refused=sum(isinstance(v, AforoError) for v in kept.verdicts),
            reason=reason,
            actor_label="service key",
        )
        return answers.batch(kept.verdicts)


@_told(
    "sessions_end",
    "End a session",
    correction_schema.END,
    correction_schema.ENDING,
    correction_schema.ENDED,
    tags=["sessions"],
    examples=correction_schema.END_EXAMPLES,
)
class EndSessionView(_Correction):
    """Ends a session."""

    scope = "ingest"
    members = ("state", "reason")

    def act(
        self, caller: Caller, given: dict[str, Any], public_id: str
    ) -> dict[str, Any]:
        """End the session."""
        key = ids.parse_public("ses", public_id)
        rows = Session.objects.filter(tenant_id=caller.tenant_id)
        found = rows.filter(pk=key).first() if key else None
        if found is None:
            raise AforoError("not_found", 404, "there is no session with this id")
        session, is_new = ending.end(
            found,
            state=given.get("state", Session.State.COMPLETED),
            reason=_reason(given),
            actor_label="service key",
        )
        return {
            "status": "ended" if is_new else "already_ended",
            "id": public_id,
            "session_id": session.key,
            "state": session.state,
            "ended_at": session.ended_at,
            "event_count": session.event_count,
            "price": plain(session.price),
            "currency": session.currency,
        }


def _event(public_id: str, caller: Caller) -> UsageEvent:
    """Return an event of the tenant; foreign ones are 404 like absent ones."""
    key = ids.parse_public("evt", public_id)
    rows = UsageEvent.objects.filter(tenant_id=caller.tenant_id)
    found: UsageEvent | None = None
    if key:
        found = rows.select_related("customer").filter(pk=key).first()
    if found is None:
        raise AforoError("not_found", 404, "there is no event with this id")
    return found


def _reason(given: dict[str, Any]) -> str:
    """Return the reason of a body."""
    reason = given.get("reason", "")
    if not isinstance(reason, str):
        raise bad("invalid_field", "reason is a text", "reason")
    return reason


def told(void: EventVoid) -> dict[str, Any]:
    """Return a void as the API shows it."""
    replaced = void.replaced_by_id
    return {
        "id": ids.public("evt", void.event_id),
        "event_id": amending.shown_id(void.event),
        "was": void.was,
        "amount": plain(void.amount),
        "currency": void.currency,
        "reason": void.reason,
        "voided_at": void.created_at,
        "replaced_by": ids.public("evt", replaced) if replaced else None,
    }
