"""The first page of a new Aforo."""

from __future__ import annotations

from django.contrib import auth, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from portal import setup
from portal.forms import SetupForm


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def first_run(request: HttpRequest) -> HttpResponse:
    """Make the first tenant and its owner; once there is one, go to sign-in."""
    if not setup.is_needed():
        return redirect("login")
    form = SetupForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        start = given.pop("start")
        try:
            tenant, owner = setup.create(
                setup.FirstRun(**given), ip=request.META.get("REMOTE_ADDR")
            )
        except setup.AlreadySetUp:
            return redirect("login")
        auth.login(request, owner, backend="django.contrib.auth.backends.ModelBackend")
        messages.success(request, f"{tenant.name} is set up. Welcome.")
        if start == "demo":
            setup.load_demo(tenant)
            messages.info(
                request, "Demo data is being loaded; it appears here as it comes in."
            )
        return redirect("/")
    context = {"form": form, "has_demo": setup.has_demo()}
    status = 422 if form.errors else 200
    return render(request, "portal/setup.html", context, status=status)
