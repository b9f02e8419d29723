"""A secret that was just made, kept sealed for the one page that shows it."""

from __future__ import annotations

from typing import TypedDict

from django.http import HttpRequest

from portal import second_factor

SESSION_KEY = "aforo_new_secret"
BACK_KEY = "aforo_secret_back"


class Kept(TypedDict):
    """What the page shows."""

    title: str
    client_id: str
    secret: str
    back: str  # Where "I stored it" leads.


def keep_secret(
    request: HttpRequest, secret: str, *, title: str, back: str, client_id: str = ""
) -> None:
    """Keep a new secret until the next page takes it."""
    request.session[SESSION_KEY] = {
        "title": title,
        "client_id": client_id,
        "secret": second_factor.seal(secret),
        "back": back,
    }


def take_secret(request: HttpRequest) -> Kept | None:
    """Return the secret and forget it; None when there is none."""
    kept: Kept | None = request.session.pop(SESSION_KEY, None)
    if kept is None:
        return None
    request.session[BACK_KEY] = kept["back"]
    opened = second_factor.unseal(kept["secret"])
    return None if opened is None else {**kept, "secret": opened}


def way_back(request: HttpRequest) -> str:
    """Return where the last secret that was shown leads back to; empty without one."""
    found: str = request.session.get(BACK_KEY, "")
    return found
