"""Saved views of the usage page: kept under a name, opened, renamed, deleted."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.models import Role
from aforo.core.roles import RoleNeeded, membership, staff_required
from aforo.lib import ids
from metering import saved_views
from metering.models import SavedView
from metering.models.saved_views import NAME_MAX
from portal import keyset
from portal.context import acting_tenant
from portal.pages import find, may, person, posted
from portal.ranges import PERIODS
from portal.selectors import saved_views as stored
from portal.selectors.analytics import DIMENSIONS
from portal.selectors.saved_views import Read
from portal.usage_words import MEASURES, METRIC, METRIC_LABEL, STEPS
from portal.views.actions import Deed, ask

PAGE = SavedView.Page.USAGE
CHOICES = {
    "period": PERIODS,
    "by": {**{key: d.label for key, d in DIMENSIONS.items()}, METRIC: METRIC_LABEL},
    "measure": MEASURES,
    "step": STEPS,
    "chart": {"stack": "Stack", "lines": "Lines"},
}
LIST = (("Usage", "/analytics/usage"), ("Saved views", "/analytics/views"))
SHARED_HELP = "Shared views are seen by everybody on your team."


class ViewForm(forms.Form):
    """What a view is called and who sees it."""

    name = forms.CharField(max_length=NAME_MAX, required=False)
    shared = forms.BooleanField(
        required=False, label="Show it to the whole team", help_text=SHARED_HELP
    )

    def __init__(self, *args: Any, may_share: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not may_share:
            box = self.fields["shared"]
            box.disabled = True
            box.help_text = f"{SHARED_HELP} Viewers keep views for themselves."


def read(query: str) -> Read:
    """Return what an address says, and what of it is true no longer."""
    return stored.read(query, CHOICES, stored.names([query]))


def opened(request: HttpRequest) -> dict[str, Any]:
    """Return what the usage page says about saved views.

    `view` is the one whose address the page has, `view_lost` what of it is left out,
    `view_changed` whether other filters were chosen since.
    """
    rows = saved_views.visible(person(request), PAGE)
    key = ids.parse_public("viw", request.GET.get("view", ""))
    current = rows.filter(pk=key).first() if key else None
    said = read(current.query) if current else None
    now = stored.clean(request.GET)
    return {
        "view": current,
        "view_lost": said.lost if said else [],
        "view_changed": said is not None and now != said.kept,
        "view_gone": bool(request.GET.get("view")) and current is None,
        "view_query": now,
        "view_count": rows.count(),
    }


@staff_required
@require_GET
def table(request: HttpRequest) -> HttpResponse:
    """List one's own views and those that are shared."""
    page = keyset.page(saved_views.visible(person(request), PAGE), request.GET)
    member = membership(request)
    names = stored.names(view.query for view in page.rows)
    rows = [
        {
            "view": view,
            "read": stored.read(view.query, CHOICES, names),
            "is_own": view.owner_id == member.user_id,
            "may_change": saved_views.may_change(view, member),
        }
        for view in page.rows
    ]
    return render(request, "portal/saved_views.html", {"rows": rows, "page": page})


@staff_required
@require_GET
def open_view(request: HttpRequest, public_id: str) -> HttpResponse:
    """Lead to the page with what the view still says."""
    view = _seen(request, public_id)
    kept = read(view.query).kept
    query = f"{kept}&" if kept else ""
    return redirect(f"{reverse('usage')}?{query}view={view.public_id}")


@staff_required
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Keep the filters of this address under a name."""
    query = stored.clean(request.GET)
    form = ViewForm(posted(request), may_share=may(request, saved_views.SHARE))
    made: list[SavedView] = []

    def act() -> str:
        view = saved_views.save(
            tenant=acting_tenant(request),
            page=PAGE,
            name=form.cleaned_data["name"],
            query=query,
            shared=form.cleaned_data["shared"],
            actor=person(request),
        )
        made.append(view)
        return f"The view {view} is saved."

    said = read(query)
    words = ", ".join(f"{label}: {value}" for label, value in said.told)
    deed = Deed(
        title="Save this view",
        text=[f"{words or 'The page as it opens by itself'}."],
        button="Save view",
        back=f"{reverse('usage')}?{query}",
        crumbs=LIST[:1],
    )
    answer = ask(request, deed, form, act)
    return redirect("usage-view", made[0].public_id) if made else answer


@staff_required
@require_http_methods(["GET", "POST"])
def rename(request: HttpRequest, public_id: str) -> HttpResponse:
    """Give a view another name, or show it to others or no longer."""
    view = _changed(request, public_id)
    initial = {"name": view.name, "shared": view.shared}
    may_share = may(request, saved_views.SHARE)
    form = ViewForm(posted(request), initial=initial, may_share=may_share)

    def act() -> str:
        given = form.cleaned_data
        saved_views.change(
            view=view,
            name=given["name"],
            shared=given["shared"],
            actor=person(request),
        )
        return f"The view is called {view} now."

    deed = Deed(
        title=f"Rename {view}",
        text=["What it shows stays as it is."],
        button="Save name",
        back=reverse("usage-views"),
        crumbs=LIST,
    )
    return ask(request, deed, form, act)


@staff_required
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, public_id: str) -> HttpResponse:
    """Delete a view."""
    view = _changed(request, public_id)

    def act() -> str:
        name = view.name
        saved_views.delete(view=view, actor=person(request))
        return f"The view {name} is deleted."

    whom = " for everybody on your team" if view.shared else ""
    deed = Deed(
        title=f"Delete {view}?",
        text=[f"The name and its filters go{whom}; no usage does."],
        button="Delete view",
        back=reverse("usage-views"),
        crumbs=LIST,
        danger=True,
    )
    return ask(request, deed, None, act)


def _seen(request: HttpRequest, public_id: str) -> SavedView:
    """Return a view that the person sees; others' are 404 like absent ones."""
    return find(saved_views.visible(person(request), PAGE), "viw", public_id)


def _changed(request: HttpRequest, public_id: str) -> SavedView:
    """Return a view that the person may change; a shared one of another is refused."""
    view = _seen(request, public_id)
    if not saved_views.may_change(view, membership(request)):
        raise RoleNeeded((Role.OWNER,))
    return view
