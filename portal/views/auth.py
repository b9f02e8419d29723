"""Signing in, with a second factor where it is on, and out."""

from __future__ import annotations

from django.contrib import auth
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from aforo.core.models import User
from aforo.lib import clock
from portal import people, second_factor, setup, throttle
from portal.forms import CodeForm, SignInForm

# Who gave the right password and still owes a code: [user id, when, next].
PENDING_KEY = "aforo_pending_signin"
PENDING_LIFE_S = 5 * 60
WRONG = "The e-mail or the password is not right. Check both; capitals count."
WRONG_CODE = (
    "The code is not right or was used already. Wait for the next one and check that"
    " the clock of your device is right."
)
TOO_MANY = (
    "Too many failed attempts for this account from here."
    f" Try again in {throttle.WINDOW_S // 60} minutes."
)


def safe_next(request: HttpRequest, wanted: str) -> str:
    """Return where to go afterwards: a page of ours, or Home."""
    allowed = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if allowed else "/"


def _address(request: HttpRequest) -> str:
    """Return where the request comes from."""
    return str(request.META.get("REMOTE_ADDR", ""))


def _refuse_blocked(
    request: HttpRequest, template: str, form: SignInForm | CodeForm
) -> HttpResponse:
    """Answer 429: the form again, and when to come back."""
    form.full_clean()
    form.add_error(None, TOO_MANY)
    answer = render(request, template, {"form": form}, status=429)
    answer["Retry-After"] = str(throttle.WINDOW_S)
    return answer


def _finish(request: HttpRequest, user: User, goal: str) -> HttpResponseRedirect:
    """Sign the person in and go on."""
    throttle.forget(user.email, _address(request))
    auth.login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    people.record(request, user, "user.signed_in")
    return redirect(goal)


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for e-mail and password; the answer never tells which one was wrong."""
    goal = safe_next(request, request.POST.get("next") or request.GET.get("next", ""))
    if request.user.is_authenticated:
        return redirect(goal)
    if request.method == "GET":
        if setup.is_needed():
            return redirect("setup")
        return render(
            request, "portal/login.html", {"form": SignInForm(), "next": goal}
        )
    form = SignInForm(request.POST)
    email, ip = request.POST.get("email", ""), _address(request)
    if throttle.is_blocked(email, ip):
        return _refuse_blocked(request, "portal/login.html", form)
    if form.is_valid():
        given = form.cleaned_data
        user = auth.authenticate(
            request, username=given["email"], password=given["password"]
        )
        if isinstance(user, User):
            if not second_factor.is_on(user):
                return _finish(request, user, goal)
            now = int(clock.now().timestamp())
            request.session[PENDING_KEY] = [str(user.pk), now, goal]
            return redirect("login-code")
        throttle.note_failure(email, ip)
        form.add_error(None, WRONG)
    return render(
        request, "portal/login.html", {"form": form, "next": goal}, status=422
    )


def _pending(request: HttpRequest) -> tuple[User, str] | None:
    """Return who owes a code and where they want to go, if the wait is not over."""
    user_id, since, goal = request.session.get(PENDING_KEY, (None, 0, ""))
    if int(clock.now().timestamp()) - since > PENDING_LIFE_S:
        return None
    try:
        user = User.objects.filter(pk=user_id, is_active=True).first()
    except ValidationError:
        return None
    return (user, safe_next(request, goal)) if user else None


@never_cache
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def sign_in_code(request: HttpRequest) -> HttpResponse:
    """Ask for the code of the authenticator app."""
    found = _pending(request)
    if found is None:
        request.session.pop(PENDING_KEY, None)
        return redirect("login")
    user, goal = found
    if request.method == "GET":
        return render(request, "portal/login_code.html", {"form": CodeForm()})
    form = CodeForm(request.POST)
    ip = _address(request)
    if throttle.is_blocked(user.email, ip):
        return _refuse_blocked(request, "portal/login_code.html", form)
    if form.is_valid():
        if second_factor.accept(user, form.cleaned_data["code"]):
            del request.session[PENDING_KEY]
            return _finish(request, user, goal)
        throttle.note_failure(user.email, ip)
        form.add_error("code", WRONG_CODE)
    return render(request, "portal/login_code.html", {"form": form}, status=422)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    if isinstance(request.user, User):
        people.record(request, request.user, "user.signed_out")
    auth.logout(request)
    return redirect(f"/login?{urlencode({'out': 1})}")
