"""Versions as JSON files: taken out, and read into a draft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.roles import PRICING, role_required, staff_required
from aforo.lib.errors import AforoError
from catalog import publication
from catalog.models import Plan, PlanVersion
from catalog.plans import save_draft
from catalog.pricing import plan_to_json
from portal.pages import find, person, posted, refuse
from portal.plan_forms import ImportForm
from portal.views.plans import plan_url, version_of

# What an exported document says beside the terms; reading it changes nothing.
ABOUT = frozenset({"plan", "version", "state"})
TERMS = frozenset({"body", "limits", "prorate"})


@staff_required
@require_GET
def export(request: HttpRequest, public_id: str, number: int) -> HttpResponse:
    """Give a version as a JSON file that can be imported again."""
    found = find(Plan.objects.all(), "pln", public_id)
    version = version_of(found, number)
    answer = JsonResponse(
        {
            "plan": {"name": found.name, "code": found.code},
            "version": version.number,
            "state": version.state,
            "body": version.body,
            "limits": version.limits,
            "prorate": version.prorate,
        },
        json_dumps_params={"indent": 2, "ensure_ascii": False},
    )
    name = f"{found.code}-v{version.number}.json"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@role_required(*PRICING)
@require_http_methods(["GET", "POST"])
def read(request: HttpRequest, public_id: str) -> HttpResponse:
    """Read a version from JSON into the plan's draft."""
    found = find(Plan.objects.all(), "pln", public_id)
    versions = PlanVersion.objects.filter(plan=found).order_by("-number")
    draft = versions.filter(state=PlanVersion.State.DRAFT).first()
    form = ImportForm(draft, posted(request), request.FILES or None)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                made = _save(request, found, versions.first(), form)
            except AforoError as error:
                path = f"{error.field}: " if error.field else ""
                detail = f"{path}{error.detail}"
                refuse(form, AforoError(error.code, 422, detail, field="text"))
            else:
                messages.success(request, f"Draft v{made.number} says what you read.")
                return redirect(plan_url(found, made))
    context = {"plan": found, "draft": draft, "form": form, "back": plan_url(found)}
    return render(request, "portal/plan_import.html", context, status=status)


def _save(
    request: HttpRequest, found: Plan, latest: PlanVersion | None, form: ImportForm
) -> PlanVersion:
    """Keep the document as the draft; what it does not say stays as it was.

    Raises AforoError 422 with the path at fault, as publishing would.
    """
    body, limits, prorate = _terms(form.cleaned_data["document"], latest)
    parsed = publication.check(body, limits, tenant_id=found.tenant_id)
    return save_draft(
        plan=found,
        body=plan_to_json(parsed),
        limits=limits,
        prorate=prorate,
        actor=person(request),
    )


def _terms(
    document: Mapping[str, Any], latest: PlanVersion | None
) -> tuple[Mapping[str, Any], Mapping[str, Any], bool]:
    """Return body, limits and proration of a document.

    Raises AforoError 422 `unknown_key` or `wrong_type`.
    """
    limits: Any = latest.limits if latest else {}
    prorate: Any = latest.prorate if latest else False
    if "body" not in document:
        return document, limits, prorate
    for name in document:
        if name not in ABOUT | TERMS:
            detail = f"{name} is not known here."
            raise AforoError("unknown_key", 422, detail, field=name)
    body = document["body"]
    limits, prorate = document.get("limits", limits), document.get("prorate", prorate)
    for name, value, kind, words in (
        ("body", body, dict, "an object is expected"),
        ("limits", limits, dict, "an object is expected"),
        ("prorate", prorate, bool, "true or false is expected"),
    ):
        if not isinstance(value, kind):
            raise AforoError("wrong_type", 422, words, field=name)
    return body, limits, prorate
