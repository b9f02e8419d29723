"""Members and their roles."""

from __future__ import annotations

import uuid

from django.contrib import auth, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from aforo.core import audit
from aforo.core.models import Invitation, Membership, Role, User
from aforo.core.roles import OWN, role_required, staff_required
from aforo.core.tenancy import SESSION_KEY
from portal import second_factor, team
from portal.context import acting_tenant
from portal.forms import InviteForm, JoinForm, staff_roles

# The sealed link of an invitation just made: shown by the next page, once.
LINK_KEY = "aforo_invitation_link"
LAST_OWNER = "There must be an owner. Make somebody else an owner first."


def _show(request: HttpRequest, form: InviteForm, status: int = 200) -> HttpResponse:
    """Render the team; a link made just now is shown and forgotten."""
    sealed = request.session.pop(LINK_KEY, "")
    members = Membership.objects.filter(tenant=acting_tenant(request))
    context = {
        "members": members.select_related("user").order_by("-is_active", "user__email"),
        "invitations": team.open_invitations(),
        "roles": staff_roles(),
        "form": form,
        "link": second_factor.unseal(sealed) if sealed else None,
        "may_change": request.membership.role in OWN,  # type: ignore[attr-defined]
    }
    return render(request, "portal/team.html", context, status=status)


@staff_required
@never_cache
@require_http_methods(["GET"])
def members(request: HttpRequest) -> HttpResponse:
    """Show who is in the team, as what, and who is invited."""
    return _show(request, InviteForm())


@role_required(*OWN)
@never_cache
@require_POST
def invite(request: HttpRequest) -> HttpResponse:
    """Make an invitation; its link is shown on the next page only."""
    form = InviteForm(request.POST)
    tenant = acting_tenant(request)
    if form.is_valid():
        email = form.cleaned_data["email"]
        known = Membership.objects.filter(tenant=tenant, is_active=True)
        if known.filter(user__email=email).exists():
            form.add_error("email", f"{email} is a member already.")
    if not form.is_valid():
        return _show(request, form, status=422)
    assert isinstance(request.user, User)
    made, token = team.invite(
        tenant=tenant,
        email=form.cleaned_data["email"],
        role=form.cleaned_data["role"],
        by=request.user,
    )
    audit.from_request(
        request,
        action="member.invited",
        target=made,
        changes={"role": [None, made.get_role_display()]},
    )
    link = request.build_absolute_uri(reverse("join", args=[token]))
    request.session[LINK_KEY] = second_factor.seal(link)
    return redirect("team")


@role_required(*OWN)
@require_POST
def withdraw(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Make an invitation's link stop working."""
    waiting = Invitation.objects.filter(accepted_at=None, revoked_at=None)
    found = get_object_or_404(waiting, tenant=acting_tenant(request), pk=pk)
    team.withdraw(found)
    audit.from_request(request, action="member.invitation_withdrawn", target=found)
    messages.success(request, f"The invitation of {found.email} was withdrawn.")
    return redirect("team")


@role_required(*OWN)
@require_POST
def change_role(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Give a member another role."""
    member = get_object_or_404(Membership, tenant=acting_tenant(request), pk=pk)
    role = request.POST.get("role", "")
    if role not in dict(staff_roles()) or member.role == Role.DEVELOPER:
        messages.error(request, "Choose one of the roles of the list.")
        return redirect("team")
    before = member.get_role_display()
    try:
        team.change_role(member, role)
    except team.LastOwner:
        messages.error(request, LAST_OWNER)
        return redirect("team")
    after = member.get_role_display()
    audit.from_request(
        request,
        action="member.role_changed",
        target=member.user,
        changes={"role": [before, after]},
    )
    messages.success(request, f"{member.user} is now {after}.")
    return redirect("team")


@role_required(*OWN)
@require_http_methods(["GET", "POST"])
def deactivate(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask, then shut a member out."""
    members = Membership.objects.filter(tenant=acting_tenant(request), is_active=True)
    member = get_object_or_404(members.select_related("user"), pk=pk)
    if request.method == "GET":
        return render(request, "portal/team_deactivate.html", {"member": member})
    try:
        team.deactivate(member)
    except team.LastOwner:
        messages.error(request, LAST_OWNER)
        return redirect("team")
    audit.from_request(
        request,
        action="member.deactivated",
        target=member.user,
        changes={"active": [True, False]},
    )
    messages.success(request, f"{member.user} can no longer sign in here.")
    return redirect("team")


@role_required(*OWN)
@require_POST
def reactivate(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Let a member in again."""
    members = Membership.objects.filter(tenant=acting_tenant(request), is_active=False)
    member = get_object_or_404(members, pk=pk)
    team.reactivate(member)
    audit.from_request(
        request,
        action="member.reactivated",
        target=member.user,
        changes={"active": [False, True]},
    )
    messages.success(request, f"{member.user} can sign in again.")
    return redirect("team")


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Accept an invitation: with a new account, or with the one of that address."""
    asker = request.user.pk if request.user.is_authenticated else None
    invitation = team.find_invitation(token, asker=asker)
    if invitation is None:
        return render(request, "portal/join_gone.html", status=410)
    account = User.objects.filter(email=invitation.email).first()
    is_me = account is not None and request.user == account
    form = None if account else JoinForm(invitation.email, request.POST or None)
    joining: User | None = account if is_me else None
    if request.method == "POST" and form is not None and form.is_valid():
        joining = User.objects.create_user(
            email=invitation.email,
            password=form.cleaned_data["password"],
            name=form.cleaned_data["name"],
        )
    if request.method == "POST" and joining is not None:
        team.join(invitation, joining)
        auth.login(
            request, joining, backend="django.contrib.auth.backends.ModelBackend"
        )
        request.session[SESSION_KEY] = str(invitation.tenant_id)
        audit.record(
            tenant=invitation.tenant_id,
            action="member.joined",
            target=joining,
            actor=joining,
            changes={"role": [None, invitation.get_role_display()]},
            ip=request.META.get("REMOTE_ADDR"),
        )
        messages.success(request, f"Welcome to {invitation.tenant}.")
        return redirect("/")
    context = {"invitation": invitation, "form": form, "is_me": is_me}
    status = 422 if form is not None and form.errors else 200
    return render(request, "portal/join.html", context, status=status)
