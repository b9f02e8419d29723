"""What the views of the catalog API share: caller, refusals, writing once, paging."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from aforo.core import audit, idempotency
from aforo.core.models import ServiceKey, Tenant
from aforo.core.service_calls import (
    answer,
    answer_once,
    authenticate,
    body_of,
    headers_of,
    refusal,
)
from aforo.lib import http, ids
from aforo.lib.errors import AforoError
from aforo.lib.models import TenantModel
from catalog.api.reading import bad, no_body, object_of

Row = TypeVar("Row", bound=TenantModel)
PAGE_SIZE, PAGE_MAX = 50, 100
READ, WRITE = "catalog:read", "catalog:write"

# What a view makes: the status, and the body before it is encoded.
Made = tuple[int, dict[str, Any]]


class Caller(NamedTuple):
    """The service key that calls, and the tenant that it speaks for."""

    key: ServiceKey
    tenant: Tenant


class CatalogView(APIView):
    """A view for service keys; refusals are problems, writes happen once or not."""

    authentication_classes = ()
    permission_classes = ()
    default_response_headers: ClassVar[dict[str, str]] = {}

    caller: Caller
    given: dict[str, str]  # The headers.

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the request's form and find out who calls.

        The method's scope is checked too: `catalog:read` to read, else `catalog:write`.
        """
        method = request.method or ""
        known = [m.upper() for m in ("get", "post", "put", "patch") if hasattr(self, m)]
        http.require_method(method, known)
        self.given = headers_of(request._request)
        scope = READ if method == "GET" else WRITE
        found = authenticate(request._request, scope=scope)
        keys = ServiceKey.objects.select_related("tenant", "created_by")
        key = keys.get(pk=found.key_id)
        self.caller = Caller(key, key.tenant)

    def handle_exception(self, exc: Exception) -> HttpResponse:  # type: ignore[override]
        """Answer a refusal; a fault of ours is the site's to answer."""
        if isinstance(exc, AforoError):
            return refusal(exc)
        raise exc

    @property
    def tenant(self) -> Tenant:
        """The tenant that the key speaks for."""
        return self.caller.tenant

    def read(self, body: dict[str, Any]) -> HttpResponse:
        """Answer what was asked for."""
        return answer(200, body)

    def write(
        self,
        request: Request,
        schema: Mapping[str, Any] | None,
        act: Callable[[dict[str, Any]], Made],
    ) -> HttpResponse:
        """Do it in one transaction, or for a repeated Idempotency-Key answer as before.

        `schema` describes the body; None: there is none. A refusal leaves nothing,
        its key neither, so a corrected request may use it again.
        """
        _parameters(request._request, ())
        if schema is not None:
            http.require_json(self.given.get("content-type", ""))
        raw = body_of(request._request, self.given)
        once = idempotency.wanted(
            self.given.get("idempotency-key"),
            tenant_id=self.tenant.pk,
            endpoint=f"{request.method} {request.path}",
            body=raw,
        )
        body = {}
        if schema is None:
            no_body(raw)
        else:
            body = object_of(raw, schema)
        label = f"Service key {self.caller.key}"
        with transaction.atomic(), audit.speaking_for(label):
            return answer_once(once, lambda: answer(*act(body)))


def find(rows: QuerySet[Row], name: str) -> Row:
    """Return the row of the tenant with one of our ids, or with its own code.

    Raises AforoError 404 `not_found`, for another tenant's alike.
    """
    key = ids.parse_public(rows.model.public_prefix, name)
    asked = {"pk": key} if key is not None else {"code": name}
    # No row has a null character, and the database takes none in a question.
    found = None if "\0" in name else rows.filter(**asked).first()
    if found is None:
        kind = rows.model._meta.verbose_name
        raise AforoError("not_found", 404, f"There is no {kind} {name[:80]}.")
    return found


def page(
    request: HttpRequest,
    rows: QuerySet[Row],
    shown: Callable[[Row], dict[str, Any]],
    *,
    filters: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return `?limit=` rows after the one that `?after=` names, the newest first.

    Raises AforoError 400 `unknown_parameter` or `invalid_parameter`.
    """
    asked = _parameters(request, ("limit", "after", *filters))
    text = asked.get("limit", str(PAGE_SIZE))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= PAGE_MAX):
        raise bad("invalid_parameter", f"from 1 to {PAGE_MAX}", "limit")
    size = int(text)
    if "after" in asked:
        after = ids.parse_public(rows.model.public_prefix, asked["after"])
        if after is None:
            raise bad("invalid_parameter", "the id that `next` named", "after")
        rows = rows.filter(pk__lt=after)
    found = list(rows.order_by("-pk")[: size + 1])
    more = len(found) > size
    return {
        "items": [shown(row) for row in found[:size]],
        "next": found[size - 1].public_id if more else None,
    }


def _parameters(request: HttpRequest, known: tuple[str, ...]) -> dict[str, str]:
    """Return the parameters of the address; those that are not known are refused."""
    for name in request.GET:
        if name not in known:
            detail = f"{name[:80]} is not known here"
            raise bad("unknown_parameter", detail, name[:80])
    return {name: str(request.GET[name]) for name in request.GET}
