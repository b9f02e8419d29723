"""Who may see and do what: staff roles, checked on every page."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

from aforo.core.models import Membership, Role

STAFF = (
    Role.OWNER,
    Role.PRODUCT_MANAGER,
    Role.FINANCE,
    Role.OPERATIONS,
    Role.VIEWER,
)
# The owner may do whatever another role may.
PRICING = (Role.OWNER, Role.PRODUCT_MANAGER)
# Who may open a draft: finance types the markups in it, and nothing else.
DRAFTING = (*PRICING, Role.FINANCE)
MONEY = (Role.OWNER, Role.FINANCE)
OPERATE = (Role.OWNER, Role.OPERATIONS)
# Who adds and changes customers, their teams and agents.
ACCOUNTS = (Role.OWNER, Role.FINANCE, Role.OPERATIONS)
OWN = (Role.OWNER,)
# Who decides which limits the guard enforces.
RULES = (Role.OWNER, Role.PRODUCT_MANAGER, Role.OPERATIONS)
# Who asks what prices would have earned: it shows cost and margin of every customer.
SIMULATE = (Role.OWNER, Role.PRODUCT_MANAGER, Role.FINANCE)


class RoleNeeded(PermissionDenied):
    """The page needs a role that the person does not have."""

    def __init__(self, roles: tuple[Role, ...]) -> None:
        self.roles = roles
        super().__init__(f"Needs the role {' or '.join(r.label for r in roles)}.")


def membership(request: HttpRequest) -> Membership:
    """Return the membership under which the request acts.

    Raises RoleNeeded when the person is no member of the tenant.
    """
    found: Membership | None = getattr(request, "membership", None)
    if found is None:
        raise RoleNeeded(STAFF)
    return found


def role_required(
    *roles: Role,
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Let only members with one of the roles into a view; others sign in or see 403."""

    def decorate(
        view: Callable[..., HttpResponseBase],
    ) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def wrapped(
            request: HttpRequest, *args: Any, **kwargs: Any
        ) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if membership(request).role not in roles:
                raise RoleNeeded(roles)
            return view(request, *args, **kwargs)

        return wrapped

    return decorate


staff_required = role_required(*STAFF)
