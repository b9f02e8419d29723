"""The doors of usage behind Django: for other servers, tests and the description."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from aforo.lib import http
from aforo.lib.errors import AforoError
from metering import answers, cloudevents, ingest, otlp, schema
from metering.answers import Answer
from metering.background import background


class EventsView(APIView):
    """Takes usage events, one or a batch."""

    authentication_classes = ()
    permission_classes = ()

    # Both doors send the same headers.
    default_response_headers: ClassVar[dict[str, str]] = {}

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Refuse other methods as the bare door does, OPTIONS among them."""
        try:
            http.require_method(request.method or "", ingest.METHODS)
        except AforoError as error:
            return _response(answers.refusal(error))
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Leave form, size and caller to what both doors share."""

    @extend_schema(
        operation_id="events_create",
        summary="Report usage",
        description=schema.DESCRIPTION,
        request={
            "application/json": schema.REQUEST,
            cloudevents.STRUCTURED: schema.CLOUDEVENT,
            cloudevents.BATCH: schema.CLOUDEVENTS,
        },
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                description="Sent again with the same body, the first answer returns.",
            )
        ],
        responses={
            200: OpenApiResponse(schema.RESULT, description=schema.DURABLE),
            **{
                status: OpenApiResponse(schema.PROBLEM, description=text)
                for status, text in schema.REFUSALS.items()
            },
        },
        examples=schema.EXAMPLES,
    )
    def post(self, request: Request) -> HttpResponse:
        """Store the events of the body."""
        try:
            answer = _answer(request._request)
        except AforoError as error:
            answer = answers.refusal(error)
        return _response(answer)


class TracesView(APIView):
    """Takes OTLP/HTTP exports of spans; described by the OTLP specification."""

    authentication_classes = ()
    permission_classes = ()
    default_response_headers: ClassVar[dict[str, str]] = {}

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Answer in the encoding of the request, refusals too."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            http.require_method(request.method or "", otlp.METHODS)
            body = _body(request, headers)
            query = request.META.get("QUERY_STRING", "")
            work = otlp.answer(headers=headers, query=query, body=body)
            return _response(background.run(work))
        except AforoError as error:
            return _response(otlp.refusal(error, headers))

    @extend_schema(exclude=True)
    def post(self, request: Request) -> HttpResponse:
        """Store the usage in the spans; dispatch() does, before any negotiation."""
        raise NotImplementedError


def _response(answer: Answer) -> HttpResponse:
    """Return an answer as Django sends it."""
    return HttpResponse(answer.body, status=answer.status, headers=answer.headers)


def _answer(request: HttpRequest) -> Answer:
    """Check the request's form, read its body and have it answered."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    body = _body(request, headers)
    query = request.META.get("QUERY_STRING", "")
    return background.run(ingest.answer(headers=headers, query=query, body=body))


def _body(request: HttpRequest, headers: dict[str, str]) -> bytes:
    """Return the body, decoded and within its limit.

    Raises AforoError: 400, 413, 415 or 431 for a request of the wrong form.
    """
    size = sum(len(name) + len(value) for name, value in headers.items())
    http.check_headers(headers, size=size)
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > http.BODY_MAX:
        raise http.too_large(http.BODY_MAX)
    # One byte more than the limit tells a body without a length that is too long.
    raw = request.read(http.BODY_MAX + 1)
    return http.decode_body(raw, headers.get("content-encoding", ""))
