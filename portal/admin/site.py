"""The admin site: our sign-in, our roles, our frame."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from aforo.core.roles import STAFF, RoleNeeded
from aforo.lib import clock
from portal.selectors import figures, home


class BackOffice(AdminSite):
    """Every model, under the same roles as the console."""

    site_title = "Aforo"
    site_header = "Aforo"
    index_title = "Admin"
    site_url = "/"
    enable_nav_sidebar = False
    empty_value_display = "—"

    def has_permission(self, request: HttpRequest) -> bool:
        """Tell whether the person is staff of the tenant, by membership alone."""
        membership = getattr(request, "membership", None)
        return membership is not None and membership.role in STAFF

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send strangers to our sign-in, and tell others which role it takes."""
        if request.user.is_authenticated and not self.has_permission(request):
            raise RoleNeeded(STAFF)
        target = request.GET.get("next", "/admin/")
        safe = url_has_allowed_host_and_scheme(target, {request.get_host()})
        return redirect(f"/login?{urlencode({'next': target if safe else '/admin/'})}")

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Show the concerns of Home above the models."""
        span = figures.month_to_date(clock.now())
        context = {"concerns": home.concerns(span), **(extra_context or {})}
        return super().index(request, context)


site = BackOffice(name="admin")
