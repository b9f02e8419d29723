"""POST /v1/check for servers that run Django alone, and its documentation.

No session, no CSRF, no database: the same flow as the bare door of guard.front.
"""

from __future__ import annotations

from typing import Any

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
    DENY_EXAMPLE,
    AnswerSchema,
    AskSchema,
    ProblemSchema,
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


class CheckView(APIView):
    """May this request run?"""

    authentication_classes = []
    permission_classes = []
    content_negotiation_class = _AnyAccept
    http_method_names = ["post"]

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
            **{
                status: OpenApiResponse(ProblemSchema, text)
                for status, text in (
                    (400, "Malformed."),
                    (401, "The credentials are not valid."),
                    (403, "Suspended, paused or not entitled."),
                    (404, "Nothing has this id."),
                    (409, "The request_id was settled, released or has expired."),
                    (413, "The body is too large."),
                    (415, "Not JSON."),
                    (422, "Several products are possible."),
                    (503, "Neither store nor record can be asked."),
                )
            },
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
        flow = door.flow(
            headers=headers,
            query=request.META.get("QUERY_STRING", ""),
            body=body,
            peer=request.META.get("REMOTE_ADDR", ""),
        )
        return _render(door.blocking().run(flow))

    def http_method_not_allowed(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> Any:
        """Say which method is right, in the body that every refusal has."""
        try:
            http.require_method(str(request.method), door.METHODS)
        except AforoError as error:
            return _render(wording.refusal(error))
        raise AssertionError("only wrong methods come here")
