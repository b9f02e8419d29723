"""A person's own settings: theme, name, password, second factor."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from aforo.core.models import User
from aforo.core.roles import staff_required
from portal import people, second_factor
from portal.context import THEME_COOKIE
from portal.forms import CodeForm, PasswordForm, ProfileForm
from portal.views.auth import safe_next

# The sealed secret of a second factor that is being set up.
NEW_SECRET_KEY = "aforo_new_second_factor"  # noqa: S105 - a session key's name
YEAR_S = 365 * 24 * 3600


def _me(request: HttpRequest) -> User:
    """Return the signed-in person."""
    assert isinstance(request.user, User)
    return request.user


@staff_required
@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Show and save name and shortcuts."""
    me = _me(request)
    form = ProfileForm(request.POST or None, instance=me)
    if request.method == "POST" and form.is_valid():
        changes = {
            field: [form.initial[field], form.cleaned_data[field]]
            for field in form.changed_data
        }
        form.save()
        if changes:
            people.record(request, me, "user.changed", changes)
        messages.success(request, "Your profile was saved.")
        return redirect("profile")
    context = {"form": form, "second_factor": second_factor.is_on(me)}
    status = 422 if form.errors else 200
    return render(request, "portal/profile.html", context, status=status)


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the theme: with the person, and in the browser for the sign-in page."""
    chosen = request.POST.get("theme", "")
    if chosen not in User.Theme.values:
        return HttpResponseBadRequest("theme must be system, light or dark")
    if isinstance(request.user, User):
        request.user.theme = chosen
        request.user.save(update_fields=["theme"])
    answer = redirect(safe_next(request, request.POST.get("next", "")))
    answer.set_cookie(
        THEME_COOKIE,
        chosen,
        max_age=YEAR_S,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
    return answer


@staff_required
@never_cache
@sensitive_post_parameters("current", "password")
@require_http_methods(["GET", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """Change the password; every other session of the person ends."""
    me = _me(request)
    form = PasswordForm(me, request.POST or None)
    if request.method == "POST" and form.is_valid():
        me.set_password(form.cleaned_data["password"])
        me.save(update_fields=["password"])
        update_session_auth_hash(request, me)
        people.record(request, me, "user.password_changed")
        messages.success(
            request, "Your password was changed. You are signed out everywhere else."
        )
        return redirect("profile")
    status = 422 if form.errors else 200
    return render(
        request, "portal/profile_password.html", {"form": form}, status=status
    )


@staff_required
@never_cache
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def second_factor_on(request: HttpRequest) -> HttpResponse:
    """Show a new secret as a QR code; it counts once a code of it was typed."""
    me = _me(request)
    if second_factor.is_on(me):
        return redirect("profile")
    secret = second_factor.unseal(request.session.get(NEW_SECRET_KEY, ""))
    if secret is None:
        secret = second_factor.new_secret()
        request.session[NEW_SECRET_KEY] = second_factor.seal(secret)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if second_factor.switch_on(me, secret, form.cleaned_data["code"]):
            del request.session[NEW_SECRET_KEY]
            people.record(request, me, "user.second_factor_on")
            messages.success(request, "Two-step sign-in is on.")
            return redirect("profile")
        form.add_error(
            "code",
            "The code does not match. Scan the picture again, or check that the clock"
            " of your device is right, and type the next code.",
        )
    context = {
        "form": form,
        "qr": second_factor.qr_code(me, secret),
        "secret": " ".join(secret[i : i + 4] for i in range(0, len(secret), 4)),
    }
    status = 422 if form.errors else 200
    return render(request, "portal/profile_second_factor.html", context, status=status)


@staff_required
@never_cache
@sensitive_post_parameters("current")
@require_http_methods(["GET", "POST"])
def second_factor_off(request: HttpRequest) -> HttpResponse:
    """Switch the second factor off; the password is asked for again."""
    me = _me(request)
    if not second_factor.is_on(me):
        return redirect("profile")
    wrong = False
    if request.method == "POST":
        if me.check_password(request.POST.get("current", "")):
            second_factor.switch_off(me)
            people.record(request, me, "user.second_factor_off")
            messages.success(request, "Two-step sign-in is off.")
            return redirect("profile")
        wrong = True
    return render(
        request,
        "portal/profile_second_factor_off.html",
        {"wrong": wrong},
        status=422 if wrong else 200,
    )
