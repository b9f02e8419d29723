"""What people see when something is wrong, each with what to do next."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from aforo.core.roles import RoleNeeded
from aforo.lib.errors import AforoError, problem_bytes, problem_headers

log = logging.getLogger(__name__)


def _wants_json(request: HttpRequest) -> bool:
    """Tell whether a program asked, not a person."""
    return request.path.startswith("/v1/")


def _answer(
    request: HttpRequest, status: int, code: str, detail: str, **context: Any
) -> HttpResponse:
    """Answer with a page, or with the API's error body under /v1/."""
    if _wants_json(request):
        error = AforoError(code, status, detail)
        return HttpResponse(
            problem_bytes(error), status=status, headers=problem_headers(error)
        )
    # The request's transaction may be broken: the page must not ask the database.
    request.tenant = None  # type: ignore[attr-defined]
    context = {"status": status, "detail": detail, **context}
    return render(request, f"portal/error_{status}.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400: the request itself is malformed."""
    return _answer(request, 400, "bad_request", "The request cannot be understood.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403: names the role that the page needs, and the one the person has."""
    needed = exception.roles if isinstance(exception, RoleNeeded) else ()
    membership = getattr(request, "membership", None)
    return _answer(
        request,
        403,
        "forbidden",
        str(exception) or "You may not do this.",
        needed=[role.label for role in needed],
        role=membership.get_role_display() if membership else "",
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form that was not sent from our page, or from one that is too old."""
    log.warning("form refused on %s: %s", request.path, reason)
    return _answer(
        request,
        403,
        "form_expired",
        "This form was open for too long, or you signed in again in another tab."
        " Go back, reload the page and send it once more. Nothing was changed.",
        needed=[],
        role="",
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404: a wrong address, or an object that is not there for this tenant."""
    return _answer(
        request,
        404,
        "not_found",
        "Nothing is at this address, or it belongs to another organisation.",
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """500: an incident id that stands in the log too; nothing was changed."""
    incident = secrets.token_hex(4)
    log.exception("incident %s: %s %s", incident, request.method, request.path)
    answer = _answer(
        request,
        500,
        "internal_error",
        f"Our fault: incident {incident}. Nothing was changed.",
        incident=incident,
    )
    answer["X-Incident"] = incident
    return answer
