"""The guard's doors for servers that run Django alone, and their documentation.

No session, no CSRF, no database: the same flows as the bare doors of guard.front.
"""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from aforo.lib import http
from aforo.lib.errors import AforoError
from guard import door, wording
from guard.schema import (
    ALLOW_EXAMPLE,
    ASK_EXAMPLES,
    AUTHZ_PARAMETERS,
    DENY_EXAMPLE,
    RELEASE_EXAMPLE,
    RELEASED_EXAMPLE,
    AnswerSchema,
    AskSchema,
    ProblemSchema,
    ReleasedSchema,
    ReleaseSchema,
)
from guard.wording import Answer


class _AnyAccept(BaseContentNegotiation):
    """Answers JSON whatever the Accept header says: refusals must get through."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Leave the body alone."""
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        """Return the one renderer."""
        return renderers[0], renderers[0].media_type


def _headers(request: Request) -> dict[str, str]:
    """Return the headers by lower-case name, checked as the bare door does."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    size = sum(len(name) + len(value) for name, value in headers.items())
    http.check_headers(headers, size=size)
    return headers


def _body(request: Request, headers: dict[str, str]) -> bytes:
    """Return the body, decoded, of bounded size."""
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > http.BODY_MAX:
        raise http.too_large(http.BODY_MAX)
    raw = request._request.read(http.BODY_MAX + 1)
    return http.decode_body(raw, headers.get("content-encoding", ""))


def _render(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=answer.headers)


def _asked(request: Request) -> dict[str, str]:
    """Return what every flow takes of a request as it stands."""
    return {
        "query": request.META.get("QUERY_STRING", ""),
        "peer": request.META.get("REMOTE_ADDR", ""),
    }


def _problems(*told: tuple[int, str]) -> dict[int, OpenApiResponse]:
    return {status: OpenApiResponse(ProblemSchema, text) for status, text in told}


class _DoorView(APIView):
    """An address whose callers bring their credentials themselves."""

    authentication_classes = []
    permission_classes = []
    content_negotiation_class = _AnyAccept
    http_method_names = ["post"]

    def http_method_not_allowed(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> Any:
        """Say which method is right, in the body that every refusal has."""
        try:
            http.require_method(str(request.method), door.METHODS)
        except AforoError as error:
            return _render(wording.refusal(error))
        raise AssertionError("only wrong methods come here")


class CheckView(_DoorView):
    """May this request run?"""

    @extend_schema(
        operation_id="check",
        tags=["guard"],
        summary="May this request run?",
        description=(
            "Judges one request against credential, subscription, rates, quotas, "
            "spend caps and prepaid credit, and reserves its estimated cost under "
            "`request_id`. The usage event with the same `request_id` settles the "
            "reservation. Call it with the caller's own credential, or with a service "
            "key (scope `check`) that names the payer."
        ),
        request=AskSchema,
        responses={
            200: OpenApiResponse(AnswerSchema, "Go on.", examples=[ALLOW_EXAMPLE]),
            429: OpenApiResponse(
                ProblemSchema, "A limit is reached.", examples=[DENY_EXAMPLE]
            ),
            **_problems(
                (400, "Malformed."),
                (401, "The credentials are not valid."),
                (403, "Suspended, paused or not entitled."),
                (404, "Nothing has this id."),
                (409, "The request_id was settled, released or has expired."),
                (413, "The body is too large."),
                (415, "Not JSON."),
                (422, "Several products are possible."),
                (503, "Neither store nor record can be asked."),
            ),
        },
        examples=ASK_EXAMPLES,
    )
    def post(self, request: Request) -> HttpResponse:
        """Judge one request."""
        try:
            headers = _headers(request)
            body = _body(request, headers)
        except AforoError as error:
            return _render(wording.refusal(error))
        flow = door.flow(headers=headers, body=body, **_asked(request))
        return _render(door.blocking().run(flow))


class AuthzView(_DoorView):
    """May this request run? For gateways that forward its headers."""

    http_method_names = ["get"]

    @extend_schema(
        operation_id="authz",
        tags=["guard"],
        summary="May the request with these headers run?",
        description=(
            "The check for gateways that ask before each request: nginx auth_request, "
            "Caddy forward_auth, Traefik ForwardAuth, Envoy ext_authz (which puts the "
            "request's own path behind this one). Every method is answered, a body is "
            "not looked at. The caller's credential is in Authorization or X-API-Key; "
            "what POST /v1/check takes as members is said by headers such as "
            "X-Aforo-Tool-Name. What may go on to the backend is in the answer's "
            "headers. The gateway must remove X-Aforo-* of the client first."
        ),
        parameters=AUTHZ_PARAMETERS,
        responses={
            200: OpenApiResponse(None, "Go on; the answer has no body."),
            **_problems(
                (401, "The credentials are not valid."),
                (403, "Refused; with deny=403 also where a limit is reached."),
                (429, "A limit is reached."),
                (503, "Nothing could be judged."),
            ),
        },
    )
    def get(self, request: Request, **kwargs: Any) -> HttpResponse:
        """Judge one request by its headers."""
        return self._answer(request)

    def http_method_not_allowed(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> Any:
        """Judge a request whose gateway keeps its method."""
        return self._answer(self.request)

    def _answer(self, request: Request) -> HttpResponse:
        try:
            headers = _headers(request)
        except AforoError as error:
            return _render(wording.refusal(error))
        flow = door.authz(
            method=str(request.method),
            path=request.path,
            headers=headers,
            **_asked(request),
        )
        return _render(door.blocking().run(flow))


class _ReleaseView(_DoorView):
    """Voids a hold."""

    def _answer(self, request: Request, name: str) -> HttpResponse:
        try:
            headers = _headers(request)
            body = _body(request, headers)
        except AforoError as error:
            return _render(wording.refusal(error))
        flow = door.release(name=name, headers=headers, body=body, **_asked(request))
        return _render(door.blocking().run(flow))


_RELEASE: Final[dict[str, Any]] = {
    "tags": ["guard"],
    "request": ReleaseSchema,
    "examples": [RELEASE_EXAMPLE],
    "responses": {
        200: OpenApiResponse(
            ReleasedSchema,
            "Nothing is reserved any more.",
            examples=[RELEASED_EXAMPLE],
        ),
        **_problems(
            (400, "Malformed."),
            (401, "The credentials are not valid."),
            (403, "Not a service key with scope check."),
            (404, "Nothing has this id."),
            (409, "The hold was settled by usage, or has expired."),
            (413, "The body is too large."),
            (415, "Not JSON."),
            (503, "The store cannot be asked; the hold expires by itself."),
        ),
    },
}


class ReleaseView(_ReleaseView):
    """The call with this hold did not happen."""

    @extend_schema(
        operation_id="release_hold",
        summary="Release a hold: the call did not happen",
        description=(
            "The id is the check's `hold_id`, or its `decision_id`; a decision's needs "
            "the payer in the body, and `request_id` where the check had one. Needs a "
            "service key with scope `check`. Safe to repeat."
        ),
        **_RELEASE,
    )
    def post(self, request: Request, hold_id: str) -> HttpResponse:
        """Void one hold."""
        return self._answer(request, hold_id)


class ReleaseByRequestView(_ReleaseView):
    """The call with this request id did not happen."""

    @extend_schema(
        operation_id="release",
        summary="Release a hold by its request_id",
        description=(
            "For a caller that did not see the check's answer: `request_id` and the "
            "payer are named in the body. Needs a service key with scope `check`. Safe "
            "to repeat."
        ),
        **_RELEASE,
    )
    def post(self, request: Request) -> HttpResponse:
        """Void one hold."""
        return self._answer(request, "")
