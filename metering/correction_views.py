"""Void, amend and backfill events, and end sessions: for a tenant's backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from aforo.core import idempotency
from aforo.core.models import Tenant
from aforo.lib import http, ids
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
from metering.service_calls import answer, authenticate, body_of, members_of, refusal

Work = Callable[[Caller, dict[str, Any]], tuple[int, bytes | dict[str, Any]]]
ONCE = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Sent again with the same body, the first answer returns.",
)


class _Door(APIView):
    """What the addresses share: POST only, our own callers, refusals as answers."""

    authentication_classes = ()
    permission_classes = ()

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Refuse other methods."""
        try:
            http.require_method(request.method or "", ("POST",))
        except AforoError as error:
            return refusal(error)
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Leave form, size and caller to the view."""

    def once(
        self, request: Request, scope: str, members: tuple[str, ...], work: Work
    ) -> HttpResponse:
        """Do the work for a caller with the scope, once for an Idempotency-Key."""
        plain_request = request._request
        try:
            caller = authenticate(plain_request, scope=scope)
            body = body_of(plain_request)
            once = idempotency.wanted(
                plain_request.headers.get("Idempotency-Key"),
                tenant_id=caller.tenant_id,
                endpoint=f"POST {plain_request.path}",
                body=body,
            )
            if once is not None:
                earlier = idempotency.find(once)
                if earlier is not None:
                    status, told = earlier
                    replayed = {"Idempotency-Replayed": "true"}
                    return answer(status, told, **replayed)
            given = answer(*work(caller, members_of(body, members)))
            if once is not None:
                idempotency.keep(once, given.status_code, given.content)
            return given
        except AforoError as error:
            return refusal(error)


class VoidView(_Door):
    """Takes an event back."""

    @extend_schema(
        operation_id="events_void",
        tags=["corrections"],
        summary="Void an event",
        description=correction_schema.VOID,
        examples=correction_schema.VOID_EXAMPLES,
        request={"application/json": correction_schema.REASON},
        parameters=[ONCE],
        responses=correction_schema.responses(correction_schema.VOIDED),
    )
    def post(self, request: Request, public_id: str) -> HttpResponse:
        """Void the event."""

        def work(caller: Caller, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            event = _event(public_id, caller)
            done = voiding.void(event, reason=_reason(given), actor_label="service key")
            status = "voided" if done.is_new else "already_voided"
            return 200, {"status": status, **told(done.void)}

        return self.once(request, "corrections", ("reason",), work)


class AmendView(_Door):
    """Puts an event right."""

    @extend_schema(
        operation_id="events_amend",
        tags=["corrections"],
        summary="Amend an event",
        description=correction_schema.AMEND,
        examples=correction_schema.AMEND_EXAMPLES,
        request={"application/json": correction_schema.AMENDMENT},
        parameters=[ONCE],
        responses=correction_schema.responses(correction_schema.AMENDED),
    )
    def post(self, request: Request, public_id: str) -> HttpResponse:
        """Void the event and rate its correction."""

        def work(caller: Caller, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            event = _event(public_id, caller)
            raw = given.get("event")
            if not isinstance(raw, dict):
                raise bad("invalid_event", "event is the corrected event", "event")
            reason = voiding.checked_reason(_reason(given))
            prepared = background.run(
                ingest.prepare(
                    caller, [amending.named(raw, event)], age_max=BACKFILL_AGE_MAX
                )
            )
            if isinstance(prepared[0], AforoError):
                raise prepared[0]
            if isinstance(prepared[0], dict):
                raise bad("no_usage", "the corrected event is no usage", "event")
            done = amending.amend(
                event, prepared[0], reason=reason, actor_label="service key"
            )
            refused = done.item.refusal
            return 200, {
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

        return self.once(request, "corrections", ("reason", "event"), work)


class BackfillView(_Door):
    """Takes usage that is older than the ordinary door lets in."""

    @extend_schema(
        operation_id="events_backfill",
        tags=["corrections"],
        summary="Backfill old usage",
        description=correction_schema.BACKFILL,
        examples=correction_schema.BACKFILL_EXAMPLES,
        request={"application/json": correction_schema.BACKFILLED},
        parameters=[ONCE],
        responses=correction_schema.responses(correction_schema.BATCH),
    )
    def post(self, request: Request) -> HttpResponse:
        """Store the events."""

        def work(caller: Caller, given: dict[str, Any]) -> tuple[int, bytes]:
            reason = voiding.checked_reason(_reason(given))
            raws = given.get("events")
            if not isinstance(raws, list) or not raws:
                raise bad("no_events", "events is a list of events", "events")
            if len(raws) > backfilling.EVENTS_MAX:
                detail = f"at most {backfilling.EVENTS_MAX:,} events at a time"
                raise AforoError("too_many_events", 413, detail, field="events")
            kept = background.run(backfilling.keep(caller, raws))
            refused = sum(isinstance(v, AforoError) for v in kept.verdicts)
            backfilling.tell(
                tenant=Tenant.objects.get(pk=caller.tenant_id),
                sent=len(raws),
                refused=refused,
                reason=reason,
                actor_label="service key",
            )
            return 200, answers.batch(kept.verdicts)

        return self.once(request, "backfill", ("reason", "events"), work)


class EndSessionView(_Door):
    """Ends a session."""

    @extend_schema(
        operation_id="sessions_end",
        tags=["sessions"],
        summary="End a session",
        description=correction_schema.END,
        examples=correction_schema.END_EXAMPLES,
        request={"application/json": correction_schema.ENDING},
        parameters=[ONCE],
        responses=correction_schema.responses(correction_schema.ENDED),
    )
    def post(self, request: Request, public_id: str) -> HttpResponse:
        """End the session."""

        def work(caller: Caller, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
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
            return 200, {
                "status": "ended" if is_new else "already_ended",
                "id": public_id,
                "session_id": session.key,
                "state": session.state,
                "ended_at": session.ended_at,
                "event_count": session.event_count,
                "price": plain(session.price),
                "currency": session.currency,
            }

        return self.once(request, "ingest", ("state", "reason"), work)


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
