"""Let a customer that the margin guard blocks go on for a while, by API."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request

from aforo.core.service_calls import answer
from aforo.lib import ids
from aforo.lib.errors import AforoError
from billing.models import Customer
from guard import margin
from guard.models import Scope
from metering import correction_schema
from metering.canonical import bad
from metering.directory import Caller
from metering.service_calls import ONCE, Door

SAID = """Lets calls pass for a while that the margin guard refuses. The level stays,
and is only warned of until then. The release is written to the history of margins and
to the audit. Needs the scope `guard`."""
TAKEN: dict[str, Any] = {
    "type": "object",
    "required": ["customer_id", "reason"],
    "properties": {
        "customer_id": {"type": "string", "description": "Our id or yours."},
        "scope": {
            "type": "string",
            "enum": [*Scope.values],
            "description": "Whose margin; all that are blocked where it is left out.",
        },
        "minutes": {"type": "integer", "minimum": 1, "maximum": 1440, "default": 60},
        "reason": {"type": "string", "maxLength": 300},
    },
}
GIVEN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "customer_id": {"type": "string"},
        "minutes": {"type": "integer"},
        "released": {"type": "array", "items": {"type": "object"}},
    },
}


EXAMPLES = [
    OpenApiExample(
        "an hour",
        {"customer_id": "cust_abc", "minutes": 60, "reason": "they pay tomorrow"},
        request_only=True,
    ),
    OpenApiExample(
        "released",
        {
            "customer_id": "cus_agrbz3cz4fv6pkb3qyx2m5w7ue",
            "minutes": 60,
            "released": [{"scope": "customer", "level": "block"}],
        },
        response_only=True,
        status_codes=["200"],
    ),
]


class MarginReleaseView(Door):
    """Releases what is blocked of one customer."""

    scope = "guard"
    members = ("customer_id", "scope", "minutes", "reason")

    @extend_schema(
        operation_id="margin_release",
        tags=["guard"],
        summary="Release a margin block",
        description=SAID,
        request={"application/json": TAKEN},
        responses=correction_schema.responses(GIVEN),
        parameters=[ONCE],
        examples=EXAMPLES,
    )
    def post(self, request: Request) -> HttpResponse:
        """Release it, once for an Idempotency-Key."""

        def work(caller: Caller, given: dict[str, Any]) -> HttpResponse:
            return answer(200, _release(caller, given))

        return self.once(request, self.members, work)


def _release(caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
    """Release what a body names; return the answer's body."""
    customer = _customer(given.get("customer_id"), caller)
    minutes, reason = given.get("minutes", 60), given.get("reason")
    scope = given.get("scope", "")
    if isinstance(minutes, bool) or not isinstance(minutes, int):
        raise bad("invalid_field", "minutes is a whole number", "minutes")
    if not isinstance(scope, str):
        raise bad("invalid_field", "scope is a text", "scope")
    if not isinstance(reason, str) or not reason.strip():
        detail = "say why: it is kept with the release"
        raise AforoError("reason_required", 422, detail, field="reason")
    done = margin.release(
        customer,
        scope,
        minutes,
        reason=" ".join(reason.split())[:300],
        actor_label="service key",
    )
    return {
        "customer_id": customer.public_id,
        "minutes": minutes,
        "released": [{"scope": change.scope, "level": change.level} for change in done],
    }


def _customer(name: Any, caller: Caller) -> Customer:
    """Return a customer of the tenant by our id or theirs; foreign ones are 404."""
    if not isinstance(name, str) or not name:
        raise bad("missing_field", "customer_id is missing", "customer_id")
    rows = Customer.objects.filter(tenant_id=caller.tenant_id)
    key = ids.parse_public("cus", name)
    found = rows.filter(pk=key).first() if key else None
    found = found or rows.filter(external_id=name).first()
    if found is None:
        raise AforoError("not_found", 404, "there is no customer with this id")
    return found
