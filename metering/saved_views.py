"""Keep, rename and delete saved views: whose they are, one of a name, audited."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from aforo.core import audit
from aforo.core.models import Membership, Role, Tenant, User
from aforo.lib.errors import AforoError
from metering.models.saved_views import NAME_MAX, QUERY_MAX, SavedView

# As many one person keeps for a page: a list that can be read.
VIEWS_MAX = 100
# Who may show a view to everybody: all staff but those who only read.
SHARE = (Role.OWNER, Role.PRODUCT_MANAGER, Role.FINANCE, Role.OPERATIONS)


def visible(user: User, page: SavedView.Page) -> QuerySet[SavedView]:
    """Return a person's own views of a page and those that are shared, by name."""
    rows = SavedView.objects.filter(Q(owner=user) | Q(shared=True), page=page)
    return rows.select_related("owner").order_by("name", "pk")


def may_change(view: SavedView, member: Membership) -> bool:
    """Tell whether somebody may rename or delete a view they can see.

    Its owner may; a shared one the tenant's owner too, so that none is left over
    when somebody leaves.
    """
    return view.owner_id == member.user_id or (
        view.shared and member.role == Role.OWNER
    )


def save(
    *,
    tenant: Tenant,
    page: SavedView.Page,
    name: str,
    query: str,
    shared: bool,
    actor: User,
) -> SavedView:
    """Keep a view under a name.

    Raises AforoError 422: `name_required`, `name_taken`, `too_many_views`,
    `view_too_long`. The unique constraint on the name holds against a second writer.
    """
    if len(query) > QUERY_MAX:
        detail = f"These filters are longer than {QUERY_MAX:,} characters: take some."
        raise AforoError("view_too_long", 422, detail, field="name")
    if SavedView.objects.filter(owner=actor, page=page).count() >= VIEWS_MAX:
        detail = f"You have {VIEWS_MAX} views: delete one first."
        raise AforoError("too_many_views", 422, detail, field="name")
    view = SavedView(
        tenant=tenant,
        owner=actor,
        page=page,
        name=_clean(name),
        query=query,
        shared=shared,
    )
    _write(view)
    audit.record(
        tenant=tenant,
        action="view.saved",
        target=view,
        actor=actor,
        changes={"filters": [None, query], "shared": [None, shared]},
    )
    return view


def change(*, view: SavedView, name: str, shared: bool, actor: User) -> SavedView:
    """Rename a view, or show it to others or no longer; errors as save()."""
    before = (view.name, view.shared)
    view.name, view.shared = _clean(name), shared
    if before == (view.name, view.shared):
        return view
    _write(view)
    audit.record(
        tenant=view.tenant_id,
        action="view.changed",
        target=view,
        actor=actor,
        changes={"name": [before[0], view.name], "shared": [before[1], view.shared]},
    )
    return view


def delete(*, view: SavedView, actor: User) -> None:
    """Delete a view; the figures it showed are untouched."""
    audit.record(
        tenant=view.tenant_id,
        action="view.deleted",
        target=view,
        actor=actor,
        changes={"filters": [view.query, None]},
    )
    view.delete()


def _clean(name: str) -> str:
    """Return a name as it is kept."""
    clean = " ".join(name.split())[:NAME_MAX]
    if not clean:
        raise AforoError("name_required", 422, "Give the view a name.", field="name")
    return clean


def _write(view: SavedView) -> None:
    """Write a view; another of its name is refused."""
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError:
        whose = "A shared view" if view.shared else "A view of yours"
        detail = f"{whose} is called {view.name} already: choose another name."
        raise AforoError("name_taken", 422, detail, field="name") from None
