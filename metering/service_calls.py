"""What the addresses for a tenant's backend share: one method, one caller, one body."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.views import APIView

from aforo.core import idempotency, service_calls
from aforo.core.service_calls import answer_once, refusal
from aforo.lib import http, strict_json
from aforo.lib.errors import AforoError
from aforo.lib.strict_json import StrictJsonError
from metering.canonical import bad
from metering.directory import Caller

ONCE = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Sent again with the same body, the first answer returns.",
)


class Door(APIView):
    """An address of one method for our own callers; refusals are answers."""

    authentication_classes = ()
    permission_classes = ()
    method: ClassVar[str] = "POST"
    scope: ClassVar[str]  # What the service key must be allowed.

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Refuse other methods."""
        try:
            http.require_method(request.method or "", (self.method,))
        except AforoError as error:
            return refusal(error)
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Leave form, size and caller to the view."""

    def answered(
        self, request: Request, work: Callable[[HttpRequest, Caller], HttpResponse]
    ) -> HttpResponse:
        """Return what the work answers to the caller; refusals are answers too."""
        asked = request._request
        try:
            found = service_calls.authenticate(asked, scope=self.scope)
            caller = Caller(found.tenant_id, found.scopes, None, found.ends_at)
            return work(asked, caller)
        except AforoError as error:
            return refusal(error)

    def once(
        self,
        request: Request,
        members: Collection[str],
        work: Callable[[Caller, dict[str, Any]], HttpResponse],
    ) -> HttpResponse:
        """Do the work that a body asks for, once for an Idempotency-Key.

        `members` are those that the body may have.
        """

        def act(asked: HttpRequest, caller: Caller) -> HttpResponse:
            headers = service_calls.headers_of(asked)
            http.require_json(headers.get("content-type", ""))
            body = service_calls.body_of(asked, headers)
            once = idempotency.wanted(
                headers.get("idempotency-key"),
                tenant_id=caller.tenant_id,
                endpoint=f"{self.method} {asked.path}",
                body=body,
            )
            return answer_once(once, lambda: work(caller, members_of(body, members)))

        return self.answered(request, act)


def members_of(body: bytes, known: Collection[str]) -> dict[str, Any]:
    """Return the members of a JSON object.

    Raises AforoError 400 invalid_body, unknown_field or a code of strict_json.
    """
    if not body.strip(b" \t\r\n"):
        raise bad("invalid_body", "the body is empty")
    try:
        value = strict_json.loads(body)
    except StrictJsonError as error:
        raise bad(error.code, error.detail, error.field) from error
    if not isinstance(value, dict):
        raise bad("invalid_body", "send an object")
    for name in value:
        if name not in known:
            detail = f"{name[:80]} is not known here: {', '.join(known)}"
            raise bad("unknown_field", detail, name[:80])
    if (path := strict_json.null_character(value)) is not None:
        raise bad("invalid_field", "null characters are not allowed", path or None)
    return value
