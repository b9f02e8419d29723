"""Deeds that need a second look: a page asks, a POST acts, the result is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from aforo.lib.errors import AforoError
from portal.pages import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What the page says before somebody does it."""

    title: str  # A question or a heading: "Suspend Northwind?"
    text: Sequence[str]  # What will happen, one paragraph each.
    button: str
    back: str  # Where the person came from; they return there.
    crumbs: Sequence[tuple[str, str]]  # Label and address.
    danger: bool = False


def ask(
    request: HttpRequest,
    deed: Deed,
    form: forms.BaseForm | None,
    act: Callable[[], str],
    *,
    then: str = "",
) -> HttpResponse:
    """Show the deed; when it is confirmed, act and say what `act` returns.

    A refusal (AforoError) is shown in the form with what was typed kept; without a
    form it is said on the page that the person came from.
    """
    status = 200
    if request.method == "POST":
        try:
            if form is None or form.is_valid():
                said = act()
                if said:
                    messages.success(request, said)
                return redirect(then or deed.back)
        except AforoError as error:
            if form is None:
                messages.error(request, error.detail)
                return redirect(deed.back)
            refuse(form, error)
        status = 422
    context = {"deed": deed, "form": form}
    return render(request, "portal/confirm.html", context, status=status)
